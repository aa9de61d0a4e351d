"""Questions that are asked outside of the passes: a pass never waits for a pod."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from penstock.observed.answers import Answers
from penstock.rollout.decision import Asks
from penstock.watch.store import Key


@dataclass(frozen=True, slots=True)
class _Inquiry:
    asks: Asks
    basis: object
    task: asyncio.Task[Answers]


class Inquiries:
    """At most one inquiry of each service. Its answers are kept in memory until they are dropped.

    `wake` is called with the service's key as soon as they are there. An inquiry rests on its `basis`: once that has
    become another one, it answers nothing any more.
    """

    def __init__(self, wake: Callable[[Key], None]) -> None:
        self._wake = wake
        self._inquiries: dict[Key, _Inquiry] = {}

    def ask(self, key: Key, asks: Asks, basis: object, ask: Callable[[], Coroutine[Any, Any, Answers]]) -> None:
        """Ask in the background. What is under way is not asked again, and makes room for anything else."""
        there = self._inquiries.get(key)
        if there is not None and there.basis == basis and _covers(there.asks, asks):
            return
        self.drop(key)
        task = asyncio.create_task(ask(), name=f"inquiry-{key}")
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
        return there.task.result()

    def drop(self, key: Key) -> None:
        """When the answers were used, or nobody wants them any more."""
        there = self._inquiries.pop(key, None)
        if there is not None:
            there.task.cancel()

    async def close(self) -> None:
        """Ask nothing any more."""
        tasks = [each.task for each in self._inquiries.values()]
        for key in tuple(self._inquiries):
            self.drop(key)
        await asyncio.gather(*tasks, return_exceptions=True)


def _covers(there: Asks, asks: Asks) -> bool:
    """Whether what is asked already will do. Pods that became ready later have their turn when these have answered."""
    if there.smoke or asks.smoke:
        return bool(there.smoke) and there.smoke <= asks.smoke
    return (there.measure, there.arms, there.judge is None) == (asks.measure, asks.arms, asks.judge is None)
