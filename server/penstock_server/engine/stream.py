"""The thread-safe end of a generation: the worker puts, the event loop iterates."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from penstock_server.engine.protocol import Delta, EngineError, GenerationRequest


class TokenStream:
    """One queued or running generation (implements `protocol.Generation`).

    Made on the event loop that will iterate it. `start`, `put` and `fail` are for the worker's thread.
    """

    def __init__(self, request: GenerationRequest, *, on_cancel: Callable[["TokenStream"], None]) -> None:
        self.request = request
        self.cancelled = False
        self._on_cancel = on_cancel
        self._loop = asyncio.get_running_loop()
        self._deltas: asyncio.Queue[Delta | EngineError] = asyncio.Queue()
        self._submitted = time.monotonic()
        self._started: float | None = None

    @property
    def queue_seconds(self) -> float | None:
        """Time between submission and the first step; None while queued."""
        return None if self._started is None else self._started - self._submitted

    def cancel(self) -> None:
        """Stop as soon as the step in flight ends."""
        self.cancelled = True
        self._on_cancel(self)

    def start(self) -> None:
        """The first step begins."""
        self._started = time.monotonic()

    def put(self, delta: Delta) -> None:
        """Hand a delta to the reader."""
        self._deliver(delta)

    def fail(self, error: EngineError) -> None:
        """End the stream with an error."""
        self._deliver(error)

    async def __aiter__(self) -> AsyncIterator[Delta]:
        while True:
            item = await self._deltas.get()
            if isinstance(item, EngineError):
                raise item
            yield item
            if item.finish_reason is not None:
                return

    def _deliver(self, item: Delta | EngineError) -> None:
        # The loop is closed only after the last request has ended: no reader is left.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deltas.put_nowait, item)
