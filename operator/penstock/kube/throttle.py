"""A token bucket for writes, on the running loop's own time."""

import asyncio


class TokenBucket:
    """At most `burst` at once and `rate` per second in the long run, first come, first served."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst  # below zero: the tokens already promised to those who wait
        self._updated: float | None = None

    async def acquire(self) -> None:
        """Wait for one token and take it."""
        now = asyncio.get_running_loop().time()
        earned = 0.0 if self._updated is None else (now - self._updated) * self._rate
        self._updated = now
        self._tokens = min(self._burst, self._tokens + earned) - 1
        if self._tokens >= 0:
            return
        try:
            await asyncio.sleep(-self._tokens / self._rate)
        except asyncio.CancelledError:
            self._tokens += 1
            raise
