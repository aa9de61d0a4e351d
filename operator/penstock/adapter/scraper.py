"""Scrapes the pods of the services that somebody asks about, and of no others.

One task for each pod, on a connection that stays open. The time between two scrapes is jittered, so that a thousand
pods are not asked in the same moment.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from penstock.adapter.targets import Targets
from penstock.adapter.window import STALE_SECONDS, Window
from penstock.observed import exposition
from penstock.pod_metrics import PodMetrics
from penstock.watch.ready_pods import Pod
from penstock.watch.store import Key

SCRAPE_SECONDS: Final = 2.0
# Half a core or a little more. Beyond these pods are scraped less often: answers must not wait for scrapes. With 5,000
# pods that is every four seconds, which the window's limit for a stale pod allows for.
_MOST_SCRAPES_PER_SECOND: Final = 1250
# After the first scrape the next follows soon: until then a counter has no rate.
_FIRST_PAUSE_SECONDS: Final = 1.0
_TIMEOUT: Final = aiohttp.ClientTimeout(total=2.0)
_LONGEST_EXPOSITION: Final = 2 * 1024 * 1024
_LONG_EXPOSITION: Final = 128 * 1024
# Kubernetes' autoscaler asks every 15 s by default; one that is set to a slower pace keeps its pods scraped too.
_ASKED_FOR_SECONDS: Final = 180.0


@dataclass(slots=True)
class _Scraped:
    """A pod that is scraped."""

    pod: Pod
    metrics: PodMetrics | None = None  # the names by which the window was filled
    window: Window = field(default_factory=Window)
    # Set when it has been scraped twice, or could not be.
    is_known: asyncio.Event = field(default_factory=asyncio.Event)


class Scraper:
    """The windows of all pods that are scraped now. `on_scrape` hears of each attempt whether it succeeded."""

    def __init__(self, targets: Targets, session: aiohttp.ClientSession, on_scrape: Callable[[bool], None]) -> None:
        self._targets = targets
        self._session = session
        self._on_scrape = on_scrape
        self._asked: dict[Key, float] = {}
        self._scraped: dict[str, _Scraped] = {}  # by the pod's UID
        self._tasks: set[asyncio.Task[None]] = set()

    def window(self, pod: Pod) -> Window | None:
        scraped = self._scraped.get(pod.uid)
        return scraped.window if scraped else None

    @property
    def active(self) -> int:
        """Pods that are scraped now."""
        return len(self._scraped)

    @property
    def seconds_between_scrapes(self) -> float:
        return max(SCRAPE_SECONDS, len(self._scraped) / _MOST_SCRAPES_PER_SECOND)

    @property
    def stale_seconds(self) -> float:
        """After how long without a scrape a pod has no sample."""
        return STALE_SECONDS / SCRAPE_SECONDS * self.seconds_between_scrapes

    async def asked(self, key: Key, *, patience: float) -> None:
        """Somebody asks about the service: scrape its pods from now on.

        Wait until each has been scraped twice, or could not be, but no longer than `patience` seconds.
        """
        self._asked[key] = asyncio.get_running_loop().time()
        self.follow(key)
        known = [self._scraped[pod.uid].is_known for pod in self._targets.pods(key) if pod.uid in self._scraped]
        try:
            async with asyncio.timeout(patience):
                for event in known:
                    await event.wait()
        except TimeoutError:
            return

    def follow(self, key: Key) -> None:
        """Its pods may have changed: begin with the new ones. That of a pod that is gone ends by itself."""
        if self._targets.metrics(key) is None or not self._is_wanted(key):
            self._asked.pop(key, None)
            return
        for pod in self._targets.pods(key):
            if pod.uid not in self._scraped:
                scraped = self._scraped[pod.uid] = _Scraped(pod)
                task = asyncio.create_task(self._keep_scraping(scraped), name=f"scrape-{key}/{pod.name}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _is_wanted(self, key: Key) -> bool:
        asked = self._asked.get(key)
        return asked is not None and asyncio.get_running_loop().time() - asked < _ASKED_FOR_SECONDS

    async def _keep_scraping(self, scraped: _Scraped) -> None:
        pod, pause = scraped.pod, _FIRST_PAUSE_SECONDS
        try:
            while (metrics := self._metrics(pod)) is not None:
                succeeded = await self._scrape(scraped, metrics)
                self._on_scrape(succeeded)
                if not succeeded or pause != _FIRST_PAUSE_SECONDS:
                    scraped.is_known.set()
                # So wide that pods whose first scrapes began together are soon out of step.
                await asyncio.sleep(pause * random.uniform(0.6, 1.4))  # noqa: S311 - jitter, not a secret.
                pause = self.seconds_between_scrapes
        finally:
            del self._scraped[pod.uid]
            scraped.is_known.set()
        # The same pod may be back already, on another address.
        self.follow(pod.service)

    def _metrics(self, pod: Pod) -> PodMetrics | None:
        """What to look for; None if the pod need not be scraped any more, or the pod of that name is another one."""
        now = self._targets.pod(pod.service, pod.name)
        if now is None or (now.uid, now.ip) != (pod.uid, pod.ip) or not self._is_wanted(pod.service):
            return None
        return self._targets.metrics(pod.service)

    async def _scrape(self, scraped: _Scraped, metrics: PodMetrics) -> bool:
        try:
            body = await self._fetch(scraped.pod, metrics)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
        if metrics != scraped.metrics:
            # What was counted under other names is no base for these.
            scraped.metrics, scraped.window = metrics, Window()
        at = asyncio.get_running_loop().time()
        if len(body) > _LONG_EXPOSITION:  # It would hold up every answer; a short one takes less than a thread costs.
            found = await asyncio.to_thread(exposition.by_metric, body, metrics)
        else:
            found = exposition.by_metric(body, metrics)
        kinds = metrics.kinds
        counters = {metric: series for metric, series in found.items() if kinds[metric] == "Rate"}
        gauges = {metric: sum(series.values()) for metric, series in found.items() if metric not in counters}
        scraped.window.add(at, counters, gauges)
        return bool(found)

    async def _fetch(self, pod: Pod, metrics: PodMetrics) -> bytes:
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        url = f"http://{host}:{metrics.port or pod.port}{metrics.path}"
        async with self._session.get(url, timeout=_TIMEOUT, allow_redirects=False) as response:
            if response.status != 200:
                raise aiohttp.ClientPayloadError(f"{url} answered {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _LONGEST_EXPOSITION:
                    raise aiohttp.ClientPayloadError(f"{url} has more than {_LONGEST_EXPOSITION} bytes")
            return bytes(body)
