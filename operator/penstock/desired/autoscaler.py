"""The HorizontalPodAutoscaler: it scales the InferenceService's own `/scale`, so it survives every change of slots."""

from typing import Any, Final

from penstock import names, quantity
from penstock.api.autoscaling import AutoscalingMetric
from penstock.api.predictor import Predictor
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import metadata
from penstock.kinds import AUTOSCALER, Manifest

POD_METRICS: Final = {
    "rps": names.METRIC_RPS,
    "concurrency": names.METRIC_CONCURRENCY,
    "queueDepth": names.METRIC_QUEUE_DEPTH,
}
# Up at once, because requests are waiting; down late, because a model that was just loaded was dear to load.
BEHAVIOR: Final[dict[str, Any]] = {
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


def autoscaler(service: InferenceService, *, least: int) -> Manifest:
    """`least` is the least number of pods in force; below 1 an autoscaler cannot go."""
    predictor = service.spec.predictor
    spec = {
        "scaleTargetRef": metadata.target(service),
        "minReplicas": max(least, 1),
        "maxReplicas": predictor.replica_limit,
        "metrics": [_metric(predictor), *(_further(each) for each in service.spec.autoscaling.metrics)],
        "behavior": {**BEHAVIOR, **(service.spec.autoscaling.behavior or {})},
    }
    return metadata.child(service, AUTOSCALER, service.metadata.name, {"spec": spec})


def _metric(predictor: Predictor) -> dict[str, Any]:
    aim = predictor.effective_scale_target
    name = POD_METRICS.get(predictor.scale_metric)
    return _of_resource(predictor.scale_metric, aim) if name is None else _of_pods(name, str(aim))


def _further(metric: AutoscalingMetric) -> dict[str, Any]:
    if metric.object is not None:
        return {"type": "Object", "object": metric.object}
    assert metric.target is not None  # As the definition's rules demand.
    if metric.resource is not None:
        return _of_resource(metric.resource, int(quantity.parse(metric.target)))
    return _of_pods(metric.series or "", str(metric.target))


def _of_resource(name: str, percent: int) -> dict[str, Any]:
    utilization = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": name, "target": utilization}}


def _of_pods(name: str, average: str) -> dict[str, Any]:
    return {
        "type": "Pods",
        "pods": {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": average}},
    }
