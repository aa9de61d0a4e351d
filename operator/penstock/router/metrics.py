"""The router's own metrics, for Prometheus."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache

from prometheus_client import Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from penstock.metrics import ProcessMetrics
from penstock.watch.store import Key

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)


class RouterMetrics(ProcessMetrics):
    """The router's. Of single services there is only what is held now: it goes with them."""

    def __init__(self) -> None:
        super().__init__()
        registry = self._registry
        requests = self._counter(
            "penstock_router_requests", "Requests answered; 499 stands for a client that went away.", ["code"]
        )
        refused = self._counter("penstock_router_refused", "Requests that the router itself refused.", ["reason"])
        wakes = self._counter("penstock_router_wakes", "Asks to wake a service.", ["result"])
        forwarded = self._counter("penstock_router_forwarded", "Requests forwarded to a pod.", [])
        given_up = self._counter("penstock_router_given_up", "Requests whose client went away while held.", [])
        held = Histogram(
            "penstock_router_held_seconds",
            "Time that forwarded requests were held before.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._ports = Gauge("penstock_router_ports", "Services that the router listens for.", registry=registry)
        self._under_way = Gauge(
            "penstock_router_requests_in_flight", "Requests held or forwarded now.", registry=registry
        )
        self._answer, self._refusal, self._wake = cache(requests.labels), cache(refused.labels), cache(wakes.labels)
        self.forwarded: Callable[[], None] = forwarded.inc
        self.given_up: Callable[[], None] = given_up.inc
        self.held: Callable[[float], None] = held.observe

    def answered(self, code: int) -> None:
        self._answer(code).inc()

    def refused(self, reason: str) -> None:
        self._refusal(reason).inc()

    def asked(self, succeeded: bool) -> None:
        self._wake("done" if succeeded else "failed").inc()

    def read_from(
        self,
        *,
        held: Callable[[], Iterable[tuple[Key, int]]],
        ports: Callable[[], int],
        under_way: Callable[[], int],
    ) -> None:
        """What is, read once per scrape."""
        self._registry.register(HeldRequests(held))
        self._ports.set_function(ports)
        self._under_way.set_function(under_way)


class HeldRequests(Collector):
    """One series for each service that has a port."""

    def __init__(self, held: Callable[[], Iterable[tuple[Key, int]]]) -> None:
        self._held = held

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = self._family()
        for key, held in self._held():
            family.add_metric([key.namespace, key.name], held)
        yield family

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(
            "penstock_router_held_requests", "Requests held for a service now.", labels=["namespace", "name"]
        )
