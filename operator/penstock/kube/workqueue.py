"""A de-duplicating work queue with per-key back-off, and a token bucket for writes.

The semantics are those of the Kubernetes controllers' queue (client-go's `util/workqueue`), on one event loop:
a key waits at most once, is in work at most once, and a key added while in work runs once more afterwards.
Time is the running loop's own, so that a test drives it by driving the loop.
"""

import asyncio
import random
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

import structlog

K = TypeVar("K", bound=Hashable)

log = structlog.get_logger(__name__)


def _never(_key: Hashable) -> bool:
    return False


def _ignore_wait(_seconds: float) -> None:
    return


def _log_error(key: Hashable, error: Exception) -> None:
    log.error("reconcile failed", key=str(key), error=str(error), exc_info=error)


# Urgent keys that are handed out in a row while another one waits: they may not starve it.
_MOST_IN_A_ROW: Final = 4


class WorkQueue(Generic[K]):
    """Hands out keys first come, first served, urgent ones before the others; failing keys wait out of the way.

    `is_urgent` is asked when a key is queued; of the others no more than `most_others` are in work at a time, so that a
    flood of them leaves room for what is urgent, here and at the API server. `on_wait` receives the seconds each key
    spent ready before a worker took it; `on_error` the errors `run` caught. Not thread-safe: use it from one event
    loop.
    """

    def __init__(
        self,
        *,
        backoff_base: float = 0.05,
        backoff_cap: float = 300.0,
        chance: Callable[[], float] = random.random,
        is_urgent: Callable[[K], bool] = _never,
        most_others: int = sys.maxsize,
        on_wait: Callable[[float], None] = _ignore_wait,
        on_error: Callable[[K, Exception], None] = _log_error,
    ) -> None:
        self._base = backoff_base
        self._cap = backoff_cap
        self._chance = chance
        self._is_urgent = is_urgent
        self._most_others = most_others
        self._on_wait = on_wait
        self._on_error = on_error
        self._ready: deque[K] = deque()
        self._urgent: deque[K] = deque()
        self._in_a_row = 0
        self._since: dict[K, float] = {}  # loop time of the add; keys that are ready, or in work and wanted again
        self._working: set[K] = set()
        self._others: set[K] = set()  # of those in work
        self._timers: dict[K, asyncio.TimerHandle] = {}  # a key is never both here and in `_since`
        self._failures: dict[K, int] = {}
        self._getters: deque[asyncio.Future[None]] = deque()

    @property
    def depth(self) -> int:
        """Keys that wait for a worker now; those waiting for their time are not counted."""
        return len(self._since)

    def add(self, key: K) -> None:
        """Queue the key now. A pending `add_after` of it is dropped: the coming pass decides anew."""
        self._disarm(key)
        if key in self._since:
            return
        self._since[key] = asyncio.get_running_loop().time()
        if key not in self._working:
            self._offer(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Queue the key in `seconds`. The earliest of several times wins; a key already waiting needs none."""
        if seconds <= 0:
            self.add(key)
            return
        if key in self._since:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= due:
            return
        self._disarm(key)
        self._timers[key] = loop.call_at(due, self.add, key)

    def retry(self, key: K) -> float:
        """Queue the key after its back-off, and return that in seconds: doubling per failure, then 50-100 % of it."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # The exponent is bounded because 2.0 ** 1024 overflows, and a poison key may fail for weeks.
        limit = min(self._cap, self._base * 2.0 ** min(failures, 64))
        delay = limit * (0.5 + 0.5 * self._chance())
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Start the key's back-off afresh; call it when the key succeeded or is gone."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for a key and take it into work; `done` must follow."""
        while not self._urgent and not self._has_room_for_others():
            await self._wait_for_offer()
        key = self._next()
        self._on_wait(asyncio.get_running_loop().time() - self._since.pop(key))
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        """Give the key back; if it was added meanwhile it queues again, behind the others."""
        self._working.remove(key)
        if key in self._others:
            self._others.remove(key)
            self._wake_one()
        if key in self._since:
            self._offer(key)

    async def run(self, worker: Callable[[K], Awaitable[None]], workers: int) -> None:
        """Work with that many workers until cancelled (which interrupts those in work).

        An error from the worker is a `retry`; a return without its own call to `retry` is a success and a `forget`.
        """
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(self._work(worker), name=f"worker-{number}")

    async def _work(self, worker: Callable[[K], Awaitable[None]]) -> None:
        while True:
            key = await self.get()
            try:
                await self._attempt(worker, key)
            finally:
                self.done(key)

    async def _attempt(self, worker: Callable[[K], Awaitable[None]], key: K) -> None:
        before = self._failures.get(key, 0)
        try:
            await worker(key)
        except Exception as error:  # noqa: BLE001 - whatever one key throws, the others go on.
            self._on_error(key, error)
            self.retry(key)
            return
        if self._failures.get(key, 0) == before:
            self.forget(key)

    def _disarm(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _has_room_for_others(self) -> bool:
        return bool(self._ready) and len(self._others) < self._most_others

    def _next(self) -> K:
        if self._urgent and (not self._has_room_for_others() or self._in_a_row < _MOST_IN_A_ROW):
            self._in_a_row += 1
            return self._urgent.popleft()
        self._in_a_row = 0
        key = self._ready.popleft()
        self._others.add(key)
        return key

    def _offer(self, key: K) -> None:
        (self._urgent if self._is_urgent(key) else self._ready).append(key)
        self._wake_one()

    def _wake_one(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    async def _wait_for_offer(self) -> None:
        getter = asyncio.get_running_loop().create_future()
        self._getters.append(getter)
        try:
            await getter
        except asyncio.CancelledError:
            # A getter cancelled in the moment it was woken hands the wake-up on, or its key would lie unseen.
            if getter.done() and not getter.cancelled():
                self._wake_one()
            raise
