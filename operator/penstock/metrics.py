"""The operator's own metrics, for Prometheus. Names follow https://prometheus.io/docs/practices/naming/.

What happened is counted as it happens; what *is* (phases, depth, leadership) is read once per scrape from a snapshot,
so that it can never drift from the truth.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
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
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a scrape reads of the running operator."""

    is_leader: bool
    queue_depth: int
    services_by_phase: Mapping[str, int]
    objects_by_kind: Mapping[str, int]  # in the store


class ProcessMetrics:
    """What each process of ours counts, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        build = Gauge("penstock_build_info", "Version of Penstock; always 1.", ["version"], registry=self._registry)
        build.labels(version=version("penstock")).set(1)
        requests = self._counter("penstock_api_requests", "Requests to the API server.", ["verb", "resource", "code"])
        events = self._counter("penstock_watch_events", "Watch events received.", ["kind", "type"])
        # Resolving labels takes a lock and a lookup by strings: each combination once is enough.
        self._request = cache(requests.labels)
        self._event = cache(events.labels)

    def api_request(self, verb: str, resource: str, code: int) -> None:
        """Count one answer of the API server; code 0 stands for no answer."""
        self._request(verb, resource, code).inc()

    def event_seen(self, kind: str, event_type: str) -> None:
        """Count one watch event: ADDED, MODIFIED or DELETED; LISTED for an object of the first list."""
        self._event(kind, event_type).inc()

    def render(self) -> tuple[bytes, str]:
        """Return the exposition and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(name, text, labels, registry=self._registry)


class Metrics(ProcessMetrics):
    """The operator's."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        super().__init__()
        self._registry.register(_SnapshotCollector(snapshot))
        reconcile = Histogram(
            "penstock_reconcile_duration_seconds",
            "Time one pass over one service took, by what came of it.",
            ["result"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        wait = Histogram(
            "penstock_queue_wait_seconds",
            "Time a key was ready before a worker took it.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        errors = self._counter(
            "penstock_errors", "Failed passes, by reason; InternalError is the operator's own failure.", ["reason"]
        )
        self._reconcile = cache(reconcile.labels)
        self._error = cache(errors.labels)
        self.queue_waited: Callable[[float], None] = wait.observe

    def reconciled(self, seconds: float, *, result: str) -> None:
        """Count one pass; result is `done`, `again` (the cluster moved on meanwhile) or `error`."""
        self._reconcile(result).observe(seconds)

    def failed(self, reason: str) -> None:
        """Count one error by its reason in the common vocabulary (names.Reason)."""
        self._error(reason).inc()


class _SnapshotCollector(Collector):
    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Answer registration without a snapshot, which the operator cannot give before it runs."""
        yield from _families(Snapshot(is_leader=False, queue_depth=0, services_by_phase={}, objects_by_kind={}))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from _families(self._snapshot())


def _families(seen: Snapshot) -> Iterator[GaugeMetricFamily]:
    yield GaugeMetricFamily("penstock_leader", "1 in the replica that holds the lease.", value=float(seen.is_leader))
    yield GaugeMetricFamily("penstock_queue_depth", "Keys that wait for a worker.", value=seen.queue_depth)
    yield _by("penstock_services", "InferenceServices, by phase.", "phase", seen.services_by_phase)
    yield _by("penstock_store_objects", "Objects known from watches, by kind.", "kind", seen.objects_by_kind)


def _by(name: str, text: str, label: str, numbers: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in numbers.items():
        family.add_metric([value], number)
    return family
