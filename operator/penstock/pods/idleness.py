"""Whether requests come to the pods of services that may sleep: what they have counted, look by look."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from penstock.kube.pod_access import Address
from penstock.observed.load import Load
from penstock.observed.values import Activity
from penstock.pod_metrics import PodMetrics
from penstock.pods.client import PodClient
from penstock.watch.store import Key

_EVERY_SECONDS_CLOSELY: Final = 1.0


@dataclass(frozen=True, slots=True)
class Question:
    """Which pods to ask, every so many seconds; `service_ip` is to be asked for a router as well, where it is given.

    `is_close`: each answer may lead on, and wakes a pass.
    """

    pods: Sequence[Address]
    metrics: PodMetrics
    every: float
    is_close: bool = False
    service_ip: str = ""


@dataclass(slots=True)
class _Watched:
    question: Question
    task: asyncio.Task[None]
    is_due: asyncio.Event = field(default_factory=asyncio.Event)
    loads: Mapping[str, Load] = field(default_factory=dict)  # what each pod has told last
    quiet_since: datetime | None = None  # by all that has been told
    activity: Activity | None = None
    was_redirected: bool = False  # at the last look


class Idleness:
    """Each service is watched by a task of its own. In memory only: after a restart, quiet begins with the first look.

    `wake` is called with the service's key when quiet begins or ends, and after each look that is a close one.
    """

    def __init__(self, pod_client: PodClient, wake: Callable[[Key], None], clock: Callable[[], datetime]) -> None:
        self._pod_client = pod_client
        self._wake = wake
        self._clock = clock
        self._watched: dict[Key, _Watched] = {}

    def activity(self, key: Key, question: Question | None) -> Activity | None:
        """What the last look showed, None before the first; `question` is what to ask from now on, None: nothing.

        Raises what asking has raised.
        """
        if question is None:
            self.forget(key)
            return None
        if not self._pod_client.can_reach_pods:
            return Activity(self._clock(), unknown="pods are not asked how many requests they get (podAccess is None)")
        there = self._watched.get(key)
        if there is None:
            task = asyncio.create_task(self._watch(key), name=f"idleness-{key}")
            self._watched[key] = _Watched(question, task)
            return None
        if there.task.done():
            self.forget(key)  # to be asked anew
            there.task.result()
        if question.is_close and not there.question.is_close:
            there.is_due.set()
        if not question.service_ip and there.activity is not None:
            there.activity = replace(there.activity, is_router_reached=False)
        there.question = question
        return there.activity

    def forget(self, key: Key) -> None:
        """When the service sleeps, never will, or is gone."""
        there = self._watched.pop(key, None)
        if there is not None:
            there.task.cancel()

    async def close(self) -> None:
        """Ask nothing any more."""
        tasks = [each.task for each in self._watched.values()]
        for key in tuple(self._watched):
            self.forget(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, key: Key) -> None:
        there = self._watched[key]
        while True:
            before = there.activity
            there.activity = await self._look(key, there)
            if there.question.is_close or before is None or _is_news(before, there.activity):
                self._wake(key)
            await _either(there.is_due, there.question.every)
            there.is_due.clear()

    async def _look(self, key: Key, there: _Watched) -> Activity:
        asked = there.question
        found = await self._pod_client.loads(asked.pods, asked.metrics)
        now, before = self._clock(), there.activity
        unknown = next((f"pod {name} {load}" for name, load in sorted(found.items()) if isinstance(load, str)), "")
        loads = {name: load for name, load in found.items() if isinstance(load, Load)}
        if not unknown and len(loads) < len(asked.pods):
            unknown = f"{len(asked.pods) - len(loads)} of {len(asked.pods)} pods were not asked"
        # A pod that did not tell for a moment, and has counted nothing since, got nothing meanwhile either.
        is_quiet = not any(load.under_way for load in loads.values()) and _unchanged(there.loads, loads)
        # What is told first is compared with nothing; and a clock that was set back makes no time of the future.
        since = there.quiet_since if there.quiet_since and there.loads else now
        there.quiet_since = min(since, now) if is_quiet else None
        known = {pod.name: there.loads[pod.name] for pod in asked.pods if pod.name in there.loads}
        there.loads = {**known, **loads}
        reached = bool(before and before.is_router_reached) or await self._reaches_a_router(key, there)
        quiet_since = None if unknown else there.quiet_since
        return Activity(now, quiet_since, reached and bool(there.question.service_ip), unknown)

    async def _reaches_a_router(self, key: Key, there: _Watched) -> bool:
        """Not asked at the first look: a proxy that is late would bring it to a pod, which counts it as a request."""
        address, was_redirected = there.question.service_ip, there.was_redirected
        there.was_redirected = bool(address)
        if not address or not was_redirected:
            return False
        return await self._pod_client.is_router_at(address, key.namespace, key.name)


def every(after_seconds: int, *, is_close: bool) -> float:
    """Seconds between two looks: some of them within the time after which it sleeps, and few at a thousand services."""
    return _EVERY_SECONDS_CLOSELY if is_close else min(max(after_seconds / 4, 1.0), 30.0)


def _unchanged(before: Mapping[str, Load], now: Mapping[str, Load]) -> bool:
    """No pod has counted a request since; a new one none at all, or this is the first look."""
    if not before:
        return True
    return all(load.requests == (before[name].requests if name in before else 0) for name, load in now.items())


def _is_news(before: Activity, now: Activity) -> bool:
    return (before.quiet_since is None) != (now.quiet_since is None) or bool(before.unknown) != bool(now.unknown)


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, no longer than that."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
