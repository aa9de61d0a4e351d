"""Prometheus metrics. Bucket bounds are fixed: canary analysis and dashboards compare counts between versions.

REQUEST_BUCKETS  inference_request_duration_seconds, model_request_duration_seconds, request_queue_time_seconds
TOKEN_BUCKETS    time_to_first_token_seconds, inter_token_latency_seconds
SIZE_BUCKETS     batch_size
"""

from collections.abc import Callable
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from penstock_server.engine.protocol import EngineStats, ModelInfo

# The time at which each series was created is of no use, and doubles the counters in a scrape.
disable_created_metrics()  # type: ignore[no-untyped-call]

REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)  # seconds
TOKEN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # seconds
SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)  # sequences


class Metrics:
    """All series of one server, in a registry of their own. Labels are resolved once."""

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()
        self._model = model
        self._requests = self._counter("inference_requests", "Finished inference requests", "route", "code")
        self._model_requests = self._counter("model_requests", "Alias of inference_requests_total", "route", "code")
        self._durations = self._histogram(
            "inference_request_duration_seconds", "From first byte to last", REQUEST_BUCKETS, "route", "code_class"
        )
        self._model_durations = self._histogram(
            "model_request_duration_seconds",
            "Alias of inference_request_duration_seconds",
            REQUEST_BUCKETS,
            "route",
            "code_class",
        )
        self.in_flight = self._gauge(
            "inference_requests_in_flight", "Inference requests being answered, waiting ones included"
        ).labels(model)
        self.queue_depth = self._gauge("inference_queue_depth", "Inference requests waiting for the engine").labels(
            model
        )
        self.first_token = self._histogram(
            "time_to_first_token_seconds", "From request to first text", TOKEN_BUCKETS
        ).labels(model)
        self.inter_token = self._histogram(
            "inter_token_latency_seconds", "Between two tokens of one request", TOKEN_BUCKETS
        ).labels(model)
        self.queue_time = self._histogram(
            "request_queue_time_seconds", "From submission to the engine's first step", REQUEST_BUCKETS
        ).labels(model)
        self.prompt_tokens = self._counter("prompt_tokens", "Tokens of prompts and encoded texts").labels(model)
        self.generation_tokens = self._counter("generation_tokens", "Tokens generated").labels(model)
        self.batch_size = self._histogram("batch_size", "Sequences in one step of the engine", SIZE_BUCKETS).labels(
            model
        )
        self.load_duration = self._gauge(
            "model_load_duration_seconds", "From files on disk to the first inference"
        ).labels(model)
        self.download_bytes = self._gauge("model_download_bytes", "Bytes of the model that are on disk").labels(model)
        self._info = self._gauge(
            "model_info", "1; what is served, as labels", "task", "architecture", "dtype", "device"
        )
        self.finished = cache(self._finished)

    def watch(self, stats: Callable[[], EngineStats], waiting: Callable[[], int]) -> None:
        """Read the queue's depth at each scrape: requests that wait for admission, and those in the engine's queue."""
        self.queue_depth.set_function(lambda: stats().waiting + waiting())

    def describe(self, info: ModelInfo) -> None:
        """Say what was loaded."""
        self._info.labels(self._model, info.task, info.architecture, info.dtype, info.device).set(1)

    def expose(self) -> bytes:
        """The text format."""
        return generate_latest(self.registry)

    def _finished(self, route: str, code: int) -> Callable[[float], None]:
        """What to call with the duration, in seconds, of a request on `route` that ended with `code`."""
        counters = [counter.labels(self._model, route, str(code)) for counter in (self._requests, self._model_requests)]
        # A class, not the code itself: each series has a bucket for every bound.
        labels = self._model, route, f"{code // 100}xx"
        histograms = [histogram.labels(*labels) for histogram in (self._durations, self._model_durations)]

        def observe(seconds: float) -> None:
            for counter in counters:
                counter.inc()
            for histogram in histograms:
                histogram.observe(seconds)

        return observe

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, ("model", *labels), registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, ("model", *labels), registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, ("model", *labels), buckets=buckets, registry=self.registry)
