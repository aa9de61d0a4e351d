"""What a service's pods count, by which names, and under which metric the metrics API serves it. Pure."""

from dataclasses import dataclass, replace
from typing import Final

from penstock import names
from penstock.api.autoscaling import SeriesKind
from penstock.api.pod_metrics import PodMetricsSpec, Preset
from penstock.api.v1alpha1 import InferenceServiceSpec
from penstock.desired.autoscaler import POD_METRICS

METRICS: Final[dict[str, SeriesKind]] = {
    names.METRIC_RPS: "Rate",
    names.METRIC_CONCURRENCY: "Value",
    names.METRIC_QUEUE_DEPTH: "Value",
}
_TRITON_PORT: Final = 8002


@dataclass(frozen=True, slots=True)
class PodMetrics:
    """Where a pod's exposition is, and its names; each is summed over its series. The defaults are our own server's."""

    requests: tuple[str, ...] = ("inference_requests_total",)
    in_flight: tuple[str, ...] = ("inference_requests_in_flight",)
    queue_depth: tuple[str, ...] = ("inference_queue_depth",)
    port: int | None = None  # None: the port that serves
    path: str = "/metrics"
    further: tuple[tuple[str, SeriesKind], ...] = ()  # series that are metrics by their own names

    @property
    def by_metric(self) -> dict[str, tuple[str, ...]]:
        """The series behind each metric of the API; none where the server has nothing of the kind."""
        return {name: (name,) for name, _ in self.further} | {
            names.METRIC_RPS: self.requests,
            names.METRIC_CONCURRENCY: self.in_flight,
            names.METRIC_QUEUE_DEPTH: self.queue_depth,
        }

    @property
    def kinds(self) -> dict[str, SeriesKind]:
        """Of each metric: whether the rate of its series or their value is meant."""
        return {**dict(self.further), **METRICS}


# docs/reference/pod-metrics.md says where each name was read.
PRESETS: Final[dict[Preset, PodMetrics]] = {
    "vLLM": PodMetrics(
        ("vllm:request_success_total",),
        ("vllm:num_requests_running", "vllm:num_requests_waiting"),
        ("vllm:num_requests_waiting",),
    ),
    "SGLang": PodMetrics(
        ("sglang:num_requests_total",),
        ("sglang:num_running_reqs", "sglang:num_queue_reqs"),
        ("sglang:num_queue_reqs",),
    ),
    "TGI": PodMetrics(
        # Not tgi_request_count: chat and completions raise it twice.
        ("tgi_request_success", "tgi_request_failure"),
        ("tgi_batch_current_size", "tgi_queue_size"),
        ("tgi_queue_size",),
    ),
    "Triton": PodMetrics(
        ("nv_inference_request_success", "nv_inference_request_failure"),
        (),
        ("nv_inference_pending_request_count",),
        port=_TRITON_PORT,
    ),
    "TEI": PodMetrics(
        # Not te_request_success: a single prediction never raises it.
        ("te_request_duration_count", "te_request_failure"),
        (),
        ("te_queue_size",),
    ),
}


def of_service(spec: InferenceServiceSpec) -> PodMetrics | None:
    """What autoscaling asks the service's pods; None if it asks them nothing."""
    series = [metric for metric in spec.autoscaling.metrics if metric.series]
    if not spec.predictor.autoscales or not (spec.predictor.scale_metric in POD_METRICS or series):
        return None
    further = tuple((metric.series, metric.kind) for metric in series if metric.series and metric.kind)
    return replace(of(spec.predictor.metrics), further=further)


def of(spec: PodMetricsSpec | None) -> PodMetrics:
    """What the spec says: its preset's names, and its own over these."""
    if spec is None:
        return PodMetrics()
    base = PRESETS[spec.preset] if spec.preset else PodMetrics()
    return replace(
        base,
        requests=_own(spec.requests) or base.requests,
        in_flight=_own(spec.in_flight) or base.in_flight,
        queue_depth=_own(spec.queue_depth) or base.queue_depth,
        port=spec.port or base.port,
        path=spec.path or base.path,
    )


def _own(series: str | None) -> tuple[str, ...]:
    return (series,) if series else ()
