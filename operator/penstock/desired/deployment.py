"""The Deployment of a slot."""

from typing import Any

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import metadata
from penstock.kinds import DEPLOYMENT, Manifest
from penstock.slot_plan import SlotPlan


def deployment(service: InferenceService, slot: names.Slot, plan: SlotPlan, *, template: Manifest) -> Manifest:
    """Build it from the stored template of its revision, never from a fresh rendering."""
    name = service.metadata.name
    selector = metadata.selector(name, slot)
    labels = {**template["metadata"].get("labels", {}), **selector}
    spec = {
        "replicas": plan.replicas,
        "selector": {"matchLabels": selector},
        "strategy": _strategy(service, plan),
        "minReadySeconds": service.spec.predictor.min_ready_seconds,
        # The ControllerRevisions are the history; one old ReplicaSet lets the Deployment go straight back.
        "revisionHistoryLimit": 1,
        **({"paused": True} if plan.is_paused else {}),
        "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
    }
    extra = {names.LABEL_SLOT: slot.value, names.LABEL_REVISION: plan.revision}
    return metadata.child(service, DEPLOYMENT, names.deployment(name, slot), {"spec": spec}, extra_labels=extra)


def _strategy(service: InferenceService, plan: SlotPlan) -> dict[str, Any]:
    if plan.way == "Recreate":
        return {"type": "Recreate"}
    if plan.max_surge is not None:
        surge = {"maxSurge": plan.max_surge, "maxUnavailable": 1 - plan.max_surge}
        return {"type": "RollingUpdate", "rollingUpdate": surge}
    pace = service.spec.predictor.deployment_strategy.rolling_update
    return {"type": "RollingUpdate", "rollingUpdate": pace.to_dict()}
