"""Which requests are let in, and how they end: admission, deadline and drain."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum

from penstock_server.errors import ApiError, DeadlineExceeded, TooBusy, Unavailable

# Bounds the memory of requests that are still read or tokenised, which no engine's queue has seen yet.
MOST_IN_FLIGHT = 1024


class Door(StrEnum):
    """Whether new work is let in."""

    OPEN = "open"
    CLOSING = "closing"  # no longer ready, still accepting: endpoints take a while to hear of it
    CLOSED = "closed"


class Flights:
    """The requests in flight.

    Args:
        concurrency: how many may run at once; 0 leaves it to the engine.
        max_queue: how many may wait for a place.
        timeout: longest request, in seconds.
    """

    def __init__(self, *, concurrency: int, max_queue: int, timeout: float) -> None:
        self.door = Door.OPEN
        self._places = asyncio.Semaphore(concurrency) if concurrency else None
        self._max_queue = max_queue
        self._timeout = timeout
        self._deadlines: set[asyncio.Timeout] = set()
        self._cut = False
        self.waiting = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def admit(self) -> AsyncIterator[None]:
        """The body of the `async with` is in flight. Raises ApiError: TooBusy, Unavailable, DeadlineExceeded."""
        if self.door is Door.CLOSED:
            raise Unavailable("the server is shutting down", code="draining")
        if len(self._deadlines) >= MOST_IN_FLIGHT:
            raise TooBusy(f"{MOST_IN_FLIGHT} requests are already in flight")
        try:
            async with asyncio.timeout(self._timeout) as deadline, self._in_flight(deadline):
                yield
        except TimeoutError:
            raise self._why_cut() from None

    async def drained(self) -> None:
        """Wait until nothing is in flight."""
        await self._empty.wait()

    def cut_off(self) -> None:
        """End everything in flight now, each with an error its client can read."""
        self._cut = True
        now = asyncio.get_running_loop().time()
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(now)

    def _why_cut(self) -> ApiError:
        if self._cut:
            return Unavailable("the server shut down before the request was finished", code="draining")
        return DeadlineExceeded(self._timeout)

    @asynccontextmanager
    async def _in_flight(self, deadline: asyncio.Timeout) -> AsyncIterator[None]:
        self._deadlines.add(deadline)
        self._empty.clear()
        try:
            yield
        finally:
            self._deadlines.discard(deadline)
            if not self._deadlines:
                self._empty.set()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one of the places of `concurrency` for the body of the `async with`. Raises TooBusy."""
        if self._places is None:
            yield
            return
        if self._places.locked() and self.waiting >= self._max_queue:
            raise TooBusy(f"{self.waiting} requests are already waiting")
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._places.release()
