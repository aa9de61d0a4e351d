"""docs/reference/metrics.md, from the registries of the operator, its companions and the model server."""

from collections.abc import Iterable, Iterator

from penstock.adapter.metrics import AdapterMetrics
from penstock.metrics import Metrics as OperatorMetrics
from penstock.metrics import Snapshot
from penstock.router.metrics import RouterMetrics
from penstock_server.metrics import Metrics as ServerMetrics
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase

from tests.generated.tables import code, table

PAGE = """\
<!-- Generated from the metrics modules of penstock, adapter, router and penstock_server; run `make generate`. -->
# Metrics

All are in Prometheus' text format, at `/metrics`. A histogram `NAME` is the series `NAME_bucket`, `NAME_sum` and
`NAME_count`. [`monitoring.serviceMonitor` and `monitoring.podMonitor`](chart.md) make the Prometheus operator scrape
them.

## Operator

On port 8080 (`http-metrics`) of the operator's pods. `penstock_leader` is 1 in the replica that acts; the others have
watches and a warm store, so their `penstock_store_objects` and `penstock_services` count too: take those of the leader.

{operator}
`result` of a pass is `done`, `again` (the cluster changed meanwhile) or `error`. `code` of a request is the HTTP
status, 0 for no answer. `reason` is a word of the [conditions](../concepts/status.md). `type` of an event is `ADDED`,
`MODIFIED` or `DELETED`, and `LISTED` for an object of a first list. The client library adds its `process_*` metrics.

## Metrics adapter

On port 8080 (`http-metrics`) of the [adapter's](metrics-adapter.md) pods. Each replica counts for itself.

{adapter}
## Router

On port 8080 (`http-metrics`) of the [router's](router.md) pods. Each replica counts for itself. `reason` is the `code`
in the body of a refusal, `code` the HTTP status. `result` is `done` or `failed`.

{router}
## Model server

On the port that serves requests (8080). The buckets of the histograms are fixed, so that two versions can be compared:
an [analysis](rollouts.md#analysis) and an [A/B test](rollouts-ab-test.md) read `inference_requests_total` and
`inference_request_duration_seconds`.

{server}
`model` is the name that requests use, `route` the [path](server.md#routes), `code` the HTTP status and `code_class` its
class, such as `2xx`; 499 stands for a client that went away. For a stream it is how the stream ended. Requests to other
paths are not counted.

| histogram | buckets |
|---|---|
{buckets}"""


def render() -> str:
    """The page, byte for byte."""
    operator = OperatorMetrics(
        lambda: Snapshot(is_leader=False, queue_depth=0, services_by_phase={}, objects_by_kind={})
    )
    server = ServerMetrics("model").registry
    heads = ("metric", "type", "labels", "meaning")
    return PAGE.format(
        operator=table(heads, _rows(operator._registry)),
        adapter=table(heads, _rows(AdapterMetrics()._registry)),
        router=table(heads, _rows(_router()._registry)),
        server=table(heads, _rows(server)),
        buckets="".join(f"| `{name}` | {bounds} |\n" for name, bounds in _buckets(server)),
    )


def _router() -> RouterMetrics:
    metrics = RouterMetrics()
    metrics.read_from(held=tuple, ports=int, under_way=int)
    return metrics


def exposed(registry: CollectorRegistry) -> set[str]:
    """The name of every metric in a registry, as a scrape shows it."""
    return {_name(metric) for metric in _metrics(registry)}


def _rows(registry: CollectorRegistry) -> Iterator[tuple[str, str, str, str]]:
    labels = {name: labels for collector in _collectors(registry) for name, labels in _labels(collector)}
    for metric in _metrics(registry):
        text = metric.documentation.rstrip(".") + "."
        yield code(_name(metric)), metric.type, ", ".join(map(code, labels.get(metric.name, ()))), text


def _metrics(registry: CollectorRegistry) -> Iterable[Metric]:
    # Those of the process are the client library's, and only Linux has all of them.
    own = (metric for metric in registry.collect() if not metric.name.startswith("process_"))
    return sorted(own, key=lambda metric: metric.name)


def _name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def _collectors(registry: CollectorRegistry) -> list[object]:
    return list(registry._collector_to_names)


def _labels(collector: object) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The labels of a metric, and of each family of a collector that makes them at every scrape."""
    if isinstance(collector, MetricWrapperBase):
        yield collector._name, tuple(collector._labelnames)
        return
    for family in getattr(collector, "describe", list)():
        yield family.name, tuple(family._labelnames)


def _buckets(registry: CollectorRegistry) -> Iterator[tuple[str, str]]:
    for collector in _collectors(registry):
        bounds = getattr(collector, "_kwargs", {}).get("buckets") if isinstance(collector, MetricWrapperBase) else None
        if bounds:
            yield collector._name, " ".join(f"{bound:g}" for bound in bounds)  # type: ignore[attr-defined]
