"""What a question about a metric is answered with: the readings of pods, or their sum for a service."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final

from penstock import names
from penstock.adapter.answers import Value
from penstock.adapter.scraper import Scraper
from penstock.adapter.targets import Targets
from penstock.adapter.window import Reading
from penstock.observed.label_selector import LabelSelector
from penstock.pod_metrics import METRICS
from penstock.watch.ready_pods import Pod
from penstock.watch.store import Key

EVERY: Final = "*"
# A first question waits for two scrapes. Kubernetes' autoscaler asks about few services at a time.
_PATIENCE_SECONDS: Final = 3.0


class Values:
    """Answers from the scraper's windows. Asking is what makes the pods be scraped."""

    def __init__(self, targets: Targets, scraper: Scraper) -> None:
        self._targets = targets
        self._scraper = scraper

    async def of_pods(self, namespace: str, name: str, metric: str, selector: LabelSelector) -> list[Value]:
        """Of each ready pod of that name (or "*") that the selector matches and that has a reading."""
        service = selector.only(names.LABEL_SERVICE)
        keys = [key for key in self._targets.services(namespace) if service in (None, key.name)]
        asked = [(key, pods) for key in keys if (pods := list(self._matching(key, name, selector)))]
        await self._ask(key for key, _ in asked)
        return [
            Value("Pod", "v1", namespace, pod.name, reading)
            for key, pods in asked
            for pod in pods
            if (reading := self._reading(pod, metric)) is not None
        ]

    async def of_services(self, namespace: str, name: str, metric: str) -> list[Value]:
        """The sum over the ready pods of each service of that name (or "*"); one without a reading is left out."""
        keys = [key for key in self._targets.services(namespace) if name in (EVERY, key.name)]
        await self._ask(keys)
        sums = [(key, self._sum(key, metric)) for key in keys]
        return [
            Value(names.KIND, names.API_VERSION, namespace, key.name, reading)
            for key, reading in sums
            if reading is not None
        ]

    def knows(self, namespace: str, metric: str) -> bool:
        """Whether the metric is one that every service has, or that some service of the namespace names."""
        services = (self._targets.metrics(key) for key in self._targets.services(namespace))
        return metric in METRICS or any(metrics and metric in metrics.kinds for metrics in services)

    async def _ask(self, keys: Iterable[Key]) -> None:
        await asyncio.gather(*(self._scraper.asked(key, patience=_PATIENCE_SECONDS) for key in keys))

    def _matching(self, key: Key, name: str, selector: LabelSelector) -> Iterator[Pod]:
        return (pod for pod in self._targets.pods(key) if name in (EVERY, pod.name) and selector.matches(pod.labels))

    def _sum(self, key: Key, metric: str) -> Reading | None:
        readings = [self._reading(pod, metric) for pod in self._targets.pods(key)]
        known = [reading for reading in readings if reading is not None]
        if not known:
            return None
        return Reading(sum(each.value for each in known), max(each.seconds for each in known))

    def _reading(self, pod: Pod, metric: str) -> Reading | None:
        window, now = self._scraper.window(pod), asyncio.get_running_loop().time()
        stale = self._scraper.stale_seconds
        # A metric is counters in one service, perhaps, and gauges in another: a window has it as one of the two.
        return (window.rate(metric, now, stale=stale) or window.mean(metric, now, stale=stale)) if window else None
