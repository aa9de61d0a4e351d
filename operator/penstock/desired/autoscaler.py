"""The HorizontalPodAutoscaler: it scales the InferenceService's own `/scale`, so it survives every change of slots."""

from typing import Any, Final

from penstock import names
from penstock.api.predictor import Predictor
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import metadata
from penstock.kinds import AUTOSCALER, Manifest

# The metrics that the pods themselves export, by the name that the metrics API serves them under.
POD_METRICS: Final = {
    "rps": "inference_requests_per_second",
    "concurrency": "inference_requests_in_flight",
    "queueDepth": "inference_queue_depth",
}
# Up at once, because requests are waiting; down late, because a model that was just loaded was dear to load.
_BEHAVIOR: Final[dict[str, Any]] = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Percent", "value": 100, "periodSeconds": 15},
            {"type": "Pods", "value": 4, "periodSeconds": 15},
        ],
    },
    "scaleDown": {"stabilizationWindowSeconds": 120},
}


def autoscaler(service: InferenceService) -> Manifest:
    predictor = service.spec.predictor
    target = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": service.metadata.name}
    spec = {
        "scaleTargetRef": target,
        "minReplicas": max(predictor.min_replicas, 1),
        "maxReplicas": predictor.replica_limit,
        "metrics": [_metric(predictor)],
        "behavior": _BEHAVIOR,
    }
    return metadata.child(service, AUTOSCALER, service.metadata.name, {"spec": spec})


def _metric(predictor: Predictor) -> dict[str, Any]:
    aim = predictor.effective_scale_target
    name = POD_METRICS.get(predictor.scale_metric)
    if name is None:
        utilization = {"type": "Utilization", "averageUtilization": aim}
        return {"type": "Resource", "resource": {"name": predictor.scale_metric, "target": utilization}}
    return {
        "type": "Pods",
        "pods": {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": str(aim)}},
    }
