"""What a service's pods are asked for their metrics: the names of its server, and where they are."""

from dataclasses import replace

from penstock import names, pod_metrics
from penstock.api.predictor import Predictor
from penstock.api.v1alpha1 import InferenceServiceSpec
from penstock.desired import container
from penstock.desired.autoscaler import POD_METRICS
from penstock.pod_metrics import PodMetrics


def of_service(spec: InferenceServiceSpec) -> PodMetrics | None:
    """What autoscaling asks the service's pods; None if it asks them nothing."""
    series = [metric for metric in spec.autoscaling.metrics if metric.series]
    if not spec.predictor.autoscales or not (spec.predictor.scale_metric in POD_METRICS or series):
        return None
    further = tuple((metric.series, metric.kind) for metric in series if metric.series and metric.kind)
    return replace(pod_metrics.of(spec.predictor.metrics), further=further)


def of_predictor(predictor: Predictor) -> PodMetrics:
    """The same for somebody who does not look at the pod to find its port."""
    found = pod_metrics.of(predictor.metrics)
    serves = container.port_number(predictor.containers[0]) if predictor.containers else names.CONTAINER_PORT
    return replace(found, port=found.port or serves)
