"""What a service's pods count, by which names, and under which metric the metrics API serves it. Pure."""

from dataclasses import dataclass, replace
from typing import Final

from penstock import names
from penstock.api.autoscaling import SeriesKind
from penstock.api.pod_metrics import PodMetricsSpec, Preset

METRICS: Final[dict[str, SeriesKind]] = {
    names.METRIC_RPS: "Rate",
    names.METRIC_CONCURRENCY: "Value",
    names.METRIC_QUEUE_DEPTH: "Value",
}
_TRITON_PORT: Final = 8002


@dataclass(frozen=True, slots=True)
class Outcomes:
    """A counter of finished requests whose `label` tells how they ended, by patterns of its whole value.

    What matches neither was answered; without a label all were. Overload is an error, for it is the server's size.
    """

    series: str
    label: str = ""
    errors: str = ""
    refused: str = ""
    only: tuple[str, str] | None = None  # a further label, and the pattern of the requests that count


@dataclass(frozen=True, slots=True)
class Durations:
    """A histogram of how long requests took."""

    series: str
    per_second: float = 1  # of its unit
    only: tuple[str, str] | None = None  # a label that it may have, and its value where the requests succeeded


@dataclass(frozen=True, slots=True)
class PodMetrics:
    """Where a pod's exposition is, and its names; each is summed over its series. The defaults are our own server's."""

    requests: tuple[str, ...] = ("inference_requests_total",)
    in_flight: tuple[str, ...] = ("inference_requests_in_flight",)
    queue_depth: tuple[str, ...] = ("inference_queue_depth",)
    port: int | None = None  # None: the port that serves
    path: str = "/metrics"
    further: tuple[tuple[str, SeriesKind], ...] = ()  # series that are metrics by their own names
    has_all_from_the_start: bool = True  # False: a series is there only once it has been counted up
    # What a rollout's analysis compares.
    outcomes: tuple[Outcomes, ...] = (Outcomes("inference_requests_total", "code", r"5..|429", r"4.."),)
    durations: Durations | None = Durations("inference_request_duration_seconds", only=("code_class", "2xx"))

    @property
    def by_metric(self) -> dict[str, tuple[str, ...]]:
        """The series behind each metric of the API; none where the server has nothing of the kind."""
        return {name: (name,) for name, _ in self.further} | {
            names.METRIC_RPS: self.requests,
            names.METRIC_CONCURRENCY: self.in_flight,
            names.METRIC_QUEUE_DEPTH: self.queue_depth,
        }

    @property
    def absent_until_used(self) -> frozenset[str]:
        """Series that count as 0 where the exposition does not have them."""
        own = {*self.requests, *self.in_flight, *self.queue_depth}
        return frozenset() if self.has_all_from_the_start else frozenset(own)

    @property
    def kinds(self) -> dict[str, SeriesKind]:
        """Of each metric: whether the rate of its series or their value is meant."""
        return {**dict(self.further), **METRICS}


# docs/reference/metrics-adapter.md says where each name was read.
PRESETS: Final[dict[Preset, PodMetrics]] = {
    "vLLM": PodMetrics(
        ("vllm:request_success_total",),
        ("vllm:num_requests_running", "vllm:num_requests_waiting"),
        ("vllm:num_requests_waiting",),
        # Of its own counter of requests nobody can tell those that were refused.
        outcomes=(Outcomes("http_requests_total", "status", r"5.*", r"4.*"),),
        durations=Durations("vllm:e2e_request_latency_seconds"),
    ),
    "SGLang": PodMetrics(
        ("sglang:num_requests_total",),
        ("sglang:num_running_reqs", "sglang:num_queue_reqs"),
        ("sglang:num_queue_reqs",),
        has_all_from_the_start=False,
        # It counts the requests to /metrics and /health as well.
        outcomes=(
            Outcomes(
                "sglang:http_responses_total", "status_code", r"5..|429", r"4..", only=("endpoint", r"/v1/.*|/generate")
            ),
        ),
        durations=Durations("sglang:e2e_request_latency_seconds"),
    ),
    "TGI": PodMetrics(
        # Not tgi_request_count: chat and completions raise it twice.
        ("tgi_request_success", "tgi_request_failure"),
        ("tgi_batch_current_size", "tgi_queue_size"),
        ("tgi_queue_size",),
        has_all_from_the_start=False,
        outcomes=(
            Outcomes("tgi_request_success"),
            Outcomes("tgi_request_failure", "err", r"overloaded|incomplete|generation|dropped", r"validation|template"),
        ),
        durations=Durations("tgi_request_duration"),
    ),
    "Triton": PodMetrics(
        ("nv_inference_request_success", "nv_inference_request_failure"),
        (),
        ("nv_inference_pending_request_count",),
        port=_TRITON_PORT,
        outcomes=(
            Outcomes("nv_inference_request_success"),
            Outcomes("nv_inference_request_failure", "reason", r"REJECTED|BACKEND|OTHER"),
        ),
        # Only with --metrics-config histogram_latencies=true.
        durations=Durations("nv_inference_first_response_histogram_ms", per_second=1000),
    ),
    "TEI": PodMetrics(
        # Not te_request_success: a single prediction never raises it.
        ("te_request_duration_count", "te_request_failure"),
        (),
        ("te_queue_size",),
        has_all_from_the_start=False,
        outcomes=(
            Outcomes("te_request_duration_count"),
            Outcomes(
                "te_request_failure",
                "err",
                r"overloaded|inference|dropped",
                r"validation|tokenization|batch_size|model_type|missing_values",
            ),
        ),
        durations=Durations("te_request_duration"),
    ),
}


def of(spec: PodMetricsSpec | None) -> PodMetrics:
    """What the spec says: its preset's names, and its own over these."""
    if spec is None:
        return PodMetrics()
    base = PRESETS[spec.preset] if spec.preset else PodMetrics()
    if spec.requests and not spec.preset:
        # How requests end in a server that nobody knows, nobody knows.
        base = replace(base, outcomes=(), durations=None)
    names_some = any((spec.requests, spec.in_flight, spec.queue_depth))
    return replace(
        base,
        # A series that somebody has named and that is not there is a mistake to be told.
        has_all_from_the_start=base.has_all_from_the_start or names_some,
        requests=_own(spec.requests) or base.requests,
        in_flight=_own(spec.in_flight) or base.in_flight,
        queue_depth=_own(spec.queue_depth) or base.queue_depth,
        port=spec.port or base.port,
        path=spec.path or base.path,
    )


def _own(series: str | None) -> tuple[str, ...]:
    return (series,) if series else ()
