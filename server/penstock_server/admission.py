"""Admission control: which requests are accepted, how many run at once, and when they are ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto

from penstock_server.errors import ApiError, DeadlineExceeded, TooBusy, Unavailable

# Bounds the memory of requests that are still read or tokenised, which no engine's queue has seen yet.
MOST_IN_FLIGHT = 1024


class AdmissionState(Enum):
    """Whether new requests are accepted, in the order of a server's life."""

    ACCEPTING = auto()
    DRAINING = auto()  # not ready, but still accepting: clients send requests until the endpoints are updated
    CLOSED = auto()


class Admission:
    """The requests in flight, and whether more are accepted.

    Args:
        concurrency: how many may run at once; 0 leaves it to the engine.
        max_queue: how many may wait for a permit to run.
        timeout: longest request, in seconds.
    """

    def __init__(self, *, concurrency: int, max_queue: int, timeout: float) -> None:
        self.state = AdmissionState.ACCEPTING
        self.waiting = 0  # requests without a permit to run
        self._permits = asyncio.Semaphore(concurrency) if concurrency else None
        self._max_queue = max_queue
        self._timeout = timeout
        self._deadlines: set[asyncio.Timeout] = set()
        self._is_cut_off = False
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def is_draining(self) -> bool:
        """Whether clients should send their requests to another pod."""
        return self.state is not AdmissionState.ACCEPTING

    @asynccontextmanager
    async def admit(self) -> AsyncIterator[None]:
        """The body of the `async with` is in flight. Raises ApiError: TooBusy, Unavailable, DeadlineExceeded."""
        if self.state is AdmissionState.CLOSED:
            raise Unavailable("the server is shutting down", code="draining")
        if len(self._deadlines) >= MOST_IN_FLIGHT:
            raise TooBusy(f"{MOST_IN_FLIGHT} requests are already in flight")
        try:
            async with asyncio.timeout(self._timeout) as deadline, self._in_flight(deadline):
                yield
        except TimeoutError:
            raise self._timeout_error() from None

    @asynccontextmanager
    async def permit(self) -> AsyncIterator[None]:
        """The body of the `async with` runs as one of `concurrency` requests. Raises TooBusy."""
        if self._permits is None:
            yield
            return
        if self._permits.locked() and self.waiting >= self._max_queue:
            raise TooBusy(f"{self.waiting} requests are already waiting")
        self.waiting += 1
        try:
            await self._permits.acquire()
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._permits.release()

    async def drained(self) -> None:
        """Wait until nothing is in flight."""
        await self._empty.wait()

    def cut_off(self) -> None:
        """End everything in flight now, each request with an error that its client can read."""
        self._is_cut_off = True
        now = asyncio.get_running_loop().time()
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(now)

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

    def _timeout_error(self) -> ApiError:
        if self._is_cut_off:
            return Unavailable("the server shut down before the request was finished", code="draining")
        return DeadlineExceeded(self._timeout)
