"""The adapter's own metrics, for Prometheus."""

from collections.abc import Callable
from functools import cache
from importlib.metadata import version

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class AdapterMetrics:
    """One process's metrics in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        build = Gauge("penstock_build_info", "Version of the adapter; always 1.", ["version"], registry=registry)
        build.labels(version=version("penstock")).set(1)
        scrapes = Counter("penstock_adapter_scrapes", "Pods asked for their counters.", ["result"], registry=registry)
        queries = Histogram(
            "penstock_adapter_query_duration_seconds",
            "Time that an answer to the metrics API took, by its status code; a first question waits for two scrapes.",
            ["code"],
            buckets=_SECONDS,
            registry=registry,
        )
        requests = Counter(
            "penstock_api_requests", "Requests to the API server.", ["verb", "resource", "code"], registry=registry
        )
        events = Counter("penstock_watch_events", "Watch events received.", ["kind", "type"], registry=registry)
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
        self._request, self._event = cache(requests.labels), cache(events.labels)

    def scraped(self, succeeded: bool) -> None:
        self._scrape("done" if succeeded else "failed").inc()

    def answered(self, code: int, seconds: float) -> None:
        self._query(code).observe(seconds)

    def api_request(self, verb: str, resource: str, code: int) -> None:
        """Count one answer of the API server; code 0 stands for no answer."""
        self._request(verb, resource, code).inc()

    def event_seen(self, kind: str, event_type: str) -> None:
        """Count one watch event: ADDED, MODIFIED or DELETED; LISTED for an object of the first list."""
        self._event(kind, event_type).inc()

    def registered(self, *, is_ours: bool) -> None:
        self._registered.set(is_ours)

    def certificate_expires(self, timestamp: float) -> None:
        self._expiry.set(timestamp)

    def read_from(self, numbers: Callable[[], tuple[int, int, int]]) -> None:
        """Services, their ready pods, and those that are scraped, read once per scrape."""
        self._services.set_function(lambda: numbers()[0])
        self._pods.set_function(lambda: numbers()[1])
        self._active.set_function(lambda: numbers()[2])

    def render(self) -> tuple[bytes, str]:
        """Return the exposition and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
