"""The adapter's own metrics, for Prometheus."""

from collections.abc import Callable
from functools import cache

from prometheus_client import Gauge, Histogram

from penstock.metrics import ProcessMetrics

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class AdapterMetrics(ProcessMetrics):
    """The adapter's."""

    def __init__(self) -> None:
        super().__init__()
        registry = self._registry
        scrapes = self._counter("penstock_adapter_scrapes", "Pods asked for their counters.", ["result"])
        queries = Histogram(
            "penstock_adapter_query_duration_seconds",
            "Time that an answer to the metrics API took, by its status code; a first question waits for two scrapes.",
            ["code"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._registered = Gauge(
            "penstock_adapter_registered",
            "1 if custom.metrics.k8s.io is served here; 0 if somebody else serves it, or before that is known.",
            registry=registry,
        )
        self._expiry = Gauge(
            "penstock_adapter_certificate_expiry_timestamp_seconds",
            "When the serving certificate ends; it is renewed four months before.",
            registry=registry,
        )
        self._services = Gauge(
            "penstock_adapter_services", "Services that scale on what their pods count.", registry=registry
        )
        self._pods = Gauge("penstock_adapter_pods", "Ready pods of these services.", registry=registry)
        self._active = Gauge("penstock_adapter_scraped_pods", "Pods that are scraped now.", registry=registry)
        self._scrape, self._query = cache(scrapes.labels), cache(queries.labels)

    def scraped(self, succeeded: bool) -> None:
        self._scrape("done" if succeeded else "failed").inc()

    def answered(self, code: int, seconds: float) -> None:
        self._query(code).observe(seconds)

    def registered(self, *, is_ours: bool) -> None:
        self._registered.set(is_ours)

    def certificate_expires(self, timestamp: float) -> None:
        self._expiry.set(timestamp)

    def read_from(self, numbers: Callable[[], tuple[int, int, int]]) -> None:
        """Services, their ready pods, and those that are scraped, read once per scrape."""
        self._services.set_function(lambda: numbers()[0])
        self._pods.set_function(lambda: numbers()[1])
        self._active.set_function(lambda: numbers()[2])
