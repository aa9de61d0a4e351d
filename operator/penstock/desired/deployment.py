"""The Deployment of a slot."""

from dataclasses import dataclass
from typing import Any

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import metadata
from penstock.kinds import DEPLOYMENT, Manifest


@dataclass(frozen=True, slots=True)
class Pods:
    """What a slot is to run. `max_surge` 1 or 0 sets the pace of a RollingUpdate; None leaves it to the spec."""

    revision: str
    replicas: int
    strategy: str
    max_surge: int | None = None
    is_paused: bool = False


def deployment(service: InferenceService, slot: names.Slot, pods: Pods, *, template: Manifest) -> Manifest:
    """Build it from the stored template of its revision, never from a fresh rendering."""
    name = service.metadata.name
    selector = metadata.selector(name, slot)
    labels = {**template["metadata"].get("labels", {}), **selector}
    spec = {
        "replicas": pods.replicas,
        "selector": {"matchLabels": selector},
        "strategy": _strategy(service, pods),
        "minReadySeconds": service.spec.predictor.min_ready_seconds,
        # The ControllerRevisions are the history; one old ReplicaSet lets the Deployment go straight back.
        "revisionHistoryLimit": 1,
        **({"paused": True} if pods.is_paused else {}),
        "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
    }
    extra = {names.LABEL_SLOT: slot.value, names.LABEL_REVISION: pods.revision}
    return metadata.child(service, DEPLOYMENT, names.deployment(name, slot), {"spec": spec}, extra_labels=extra)


def _strategy(service: InferenceService, pods: Pods) -> dict[str, Any]:
    if pods.strategy == "Recreate":
        return {"type": "Recreate"}
    if pods.max_surge is not None:
        surge = {"maxSurge": pods.max_surge, "maxUnavailable": 1 - pods.max_surge}
        return {"type": "RollingUpdate", "rollingUpdate": surge}
    pace = service.spec.predictor.deployment_strategy.rolling_update
    return {"type": "RollingUpdate", "rollingUpdate": pace.to_dict()}
