"""Samples of seconds, and what they come to."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Stopwatch:
    """`seconds` runs until the block it measures is left."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._ended: float | None = None

    @property
    def seconds(self) -> float:
        return (self._ended or time.perf_counter()) - self._started

    def stop(self) -> None:
        self._ended = time.perf_counter()


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    watch = Stopwatch()
    yield watch
    watch.stop()


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile (of few samples: the worst), in milliseconds."""
    ordered = sorted(samples)
    return {name: round(1000 * ordered[int(share * (len(ordered) - 1) + 0.5)], 1) for name, share in _SHARES.items()}


_SHARES = {"p50 ms": 0.5, "p99 ms": 0.99}
