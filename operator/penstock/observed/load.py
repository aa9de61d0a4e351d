"""What a pod's exposition says of its requests: how many it has counted, and how many are under way. Pure."""

from dataclasses import dataclass

from penstock import names
from penstock.observed import exposition
from penstock.pod_metrics import PodMetrics


@dataclass(frozen=True, slots=True)
class Load:
    """`requests` have been counted since the server began; `under_way` are being answered, or wait for it."""

    requests: float
    under_way: float


def load(body: bytes, metrics: PodMetrics) -> Load | None:
    """None where the exposition has no counter of requests."""
    found = exposition.by_metric(body, metrics)
    if names.METRIC_RPS not in found:
        return None
    gauges = (found.get(name, {}) for name in (names.METRIC_CONCURRENCY, names.METRIC_QUEUE_DEPTH))
    under_way = sum(value for series in gauges for value in series.values())
    return Load(sum(found[names.METRIC_RPS].values()), under_way)
