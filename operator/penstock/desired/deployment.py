"""The Deployment of a slot."""

from typing import Any

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import metadata
from penstock.kinds import DEPLOYMENT, Manifest


def deployment(
    service: InferenceService, slot: names.Slot, *, strategy: str, replicas: int, revision: str, template: Manifest
) -> Manifest:
    """Build it from the stored template of its revision, never from a fresh rendering."""
    name = service.metadata.name
    selector = metadata.slot_selector(name, slot)
    labels = {**template["metadata"].get("labels", {}), **selector}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": selector},
        "strategy": _strategy(service, strategy),
        "minReadySeconds": service.spec.predictor.min_ready_seconds,
        # The ControllerRevisions are the history; one old ReplicaSet lets the Deployment go straight back.
        "revisionHistoryLimit": 1,
        "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
    }
    extra = {names.LABEL_SLOT: slot.value, names.LABEL_REVISION: revision}
    return metadata.child(service, DEPLOYMENT, names.deployment(name, slot), {"spec": spec}, extra_labels=extra)


def _strategy(service: InferenceService, strategy: str) -> dict[str, Any]:
    if strategy == "Recreate":
        return {"type": "Recreate"}
    pace = service.spec.predictor.deployment_strategy.rolling_update
    return {"type": "RollingUpdate", "rollingUpdate": pace.to_dict()}
