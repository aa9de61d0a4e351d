"""Questions that are asked outside of the passes: a pass never waits for a pod."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from penstock.observed.answers import Answers
from penstock.rollout.decision import Asks
from penstock.watch.store import Key

_LONGEST_PAUSE = 300.0  # seconds


@dataclass(frozen=True, slots=True)
class _Inquiry:
    asks: Asks
    basis: object
    task: asyncio.Task[Answers]


class Inquiries:
    """At most one inquiry of each service. Its answers are kept in memory until they are dropped.

    `wake` is called with the service's key as soon as they are there. An inquiry rests on its `basis`: once that has
    become another one, it answers nothing any more. Where asking raised, the next inquiry of that service begins
    after a pause: a second, doubled with each failure in a row up to five minutes.
    """

    def __init__(self, wake: Callable[[Key], None]) -> None:
        self._wake = wake
        self._inquiries: dict[Key, _Inquiry] = {}
        self._failures: dict[Key, int] = {}  # in a row

    def ask(self, key: Key, asks: Asks, basis: object, ask: Callable[[], Coroutine[Any, Any, Answers]]) -> None:
        """Ask in the background. What is under way is not asked again, and makes room for anything else."""
        there = self._inquiries.get(key)
        if there is not None and there.basis == basis and _covers(there.asks, asks):
            return
        self.drop(key)
        task = asyncio.create_task(self._after_pause(key, ask), name=f"inquiry-{key}")
        self._inquiries[key] = _Inquiry(asks, basis, task)
        task.add_done_callback(lambda task: None if task.cancelled() else self._wake(key))

    def answers(self, key: Key, basis: object) -> Answers | None:
        """The answers, once they are there; the same again until they are dropped. Raises what asking has raised."""
        there = self._inquiries.get(key)
        if there is None:
            return None
        if there.basis != basis:
            self.drop(key)
            return None
        if not there.task.done():
            return None
        if there.task.exception() is not None:
            self.drop(key)  # The next pass asks anew.
            self._failures[key] = self._failures.get(key, 0) + 1
        else:
            self._failures.pop(key, None)
        return there.task.result()

    def drop(self, key: Key) -> None:
        """When the answers were used, or nobody wants them any more."""
        there = self._inquiries.pop(key, None)
        if there is not None:
            there.task.cancel()

    def forget(self, key: Key) -> None:
        """When the service is gone."""
        self.drop(key)
        self._failures.pop(key, None)

    async def close(self) -> None:
        """Ask nothing any more."""
        tasks = [each.task for each in self._inquiries.values()]
        for key in tuple(self._inquiries):
            self.drop(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _after_pause(self, key: Key, ask: Callable[[], Coroutine[Any, Any, Answers]]) -> Answers:
        failures = self._failures.get(key, 0)
        if failures:
            # The exponent is bounded because 2.0 ** 1024 overflows.
            await asyncio.sleep(min(_LONGEST_PAUSE, 2.0 ** min(failures - 1, 64)))
        return await ask()


def _covers(there: Asks, asks: Asks) -> bool:
    """Whether what is asked already will do. Pods that became ready later have their turn when these have answered."""
    if there.smoke or asks.smoke:
        return bool(there.smoke) and there.smoke <= asks.smoke
    return (there.measure, there.arms, there.judge is None) == (asks.measure, asks.arms, asks.judge is None)
