"""KEDA's ScaledObject: the same metrics as the HorizontalPodAutoscaler's, asked of a Prometheus.

Each query gives the sum over the service's pods, and KEDA's own HorizontalPodAutoscaler divides it by their number.
"""

from collections.abc import Mapping
from typing import Any, Final

from penstock import names, pod_metrics, quantity
from penstock.api.autoscaling import AutoscalingMetric, SeriesKind
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import metadata
from penstock.desired.autoscaler import BEHAVIOR, POD_METRICS
from penstock.kinds import SCALED_OBJECT, Manifest

# Four scrapes at Prometheus' usual 15 seconds: a rate needs two, and one may fail.
_WINDOW: Final = "1m"


def scaled_object(service: InferenceService, prometheus: str, *, least: int) -> Manifest:
    """`prometheus` is the address to ask where the spec names none, `least` the least number of pods in force."""
    predictor, autoscaling = service.spec.predictor, service.spec.autoscaling
    address = (autoscaling.keda and autoscaling.keda.server_address) or prometheus
    of_hpa = {
        "name": names.keda_autoscaler(service.metadata.name),
        "behavior": {**BEHAVIOR, **(autoscaling.behavior or {})},
    }
    spec = {
        "scaleTargetRef": metadata.target(service),
        # The operator alone goes to zero and comes back.
        "minReplicaCount": max(least, 1),
        "maxReplicaCount": predictor.replica_limit,
        "triggers": [_trigger(service, address), *(_further(service, each, address) for each in autoscaling.metrics)],
        "advanced": {"horizontalPodAutoscalerConfig": of_hpa},
    }
    return metadata.child(service, SCALED_OBJECT, service.metadata.name, {"spec": spec})


def needs_prometheus(service: InferenceService) -> bool:
    """Whether a ScaledObject of the service asks for anything but cpu and memory."""
    predictor, autoscaling = service.spec.predictor, service.spec.autoscaling
    if autoscaling.provider != "KEDA" or not predictor.autoscales:
        return False
    return predictor.scale_metric in POD_METRICS or any(each.series for each in autoscaling.metrics)


def _trigger(service: InferenceService, address: str) -> dict[str, Any]:
    predictor = service.spec.predictor
    metric, aim = POD_METRICS.get(predictor.scale_metric), str(predictor.effective_scale_target)
    if metric is None:
        return _of_resource(predictor.scale_metric, aim)
    counted = pod_metrics.of(predictor.metrics)
    series = counted.by_metric[metric]
    query = " + ".join(
        _summed(service, each, counted.kinds[metric], may_be_absent=each in counted.absent_until_used)
        for each in series
    )
    return _of_prometheus(address, query, aim)


def _further(service: InferenceService, metric: AutoscalingMetric, address: str) -> dict[str, Any]:
    if metric.resource is not None:
        return _of_resource(metric.resource, _decimal(metric))
    assert metric.series is not None  # As the definition's rules demand.
    assert metric.kind is not None
    query = _summed(service, metric.series, metric.kind, may_be_absent=False)
    return _of_prometheus(address, query, _decimal(metric))


def _decimal(metric: AutoscalingMetric) -> str:
    """The target as KEDA reads it: it knows no 800m."""
    assert metric.target is not None
    return f"{quantity.parse(metric.target).normalize():f}"


def _summed(service: InferenceService, series: str, kind: SeriesKind, *, may_be_absent: bool) -> str:
    labels = _selector(service)
    total = f"sum(rate({series}{labels}[{_WINDOW}]))" if kind == "Rate" else f"sum({series}{labels})"
    # Zero only while the pods are scraped: what nobody measures must not look idle.
    return f"({total} or 0 * sum(up{labels}))" if may_be_absent else total


def _selector(service: InferenceService) -> str:
    """The service's pods by their names, which are what every Prometheus has on a scraped series."""
    pods = f"{service.metadata.name}-({'|'.join(names.Slot)})-[a-z0-9]+-[a-z0-9]+"
    return f'{{namespace="{service.metadata.namespace}",pod=~"{pods}"}}'


def _of_prometheus(address: str, query: str, average: str) -> dict[str, Any]:
    asked: Mapping[str, str] = {
        "serverAddress": address,
        "query": query,
        "threshold": average,
        # No answer is no measurement: the number of pods stays, as it does without KEDA.
        "ignoreNullValues": "false",
    }
    return {"type": "prometheus", "metricType": "AverageValue", "metadata": dict(asked)}


def _of_resource(name: str, percent: str) -> dict[str, Any]:
    return {"type": name, "metricType": "Utilization", "metadata": {"value": percent}}
