"""What one pod has counted in the last seconds: counters become rates, gauges become means. Pure.

Times are those of a monotonic clock, in seconds, so that a step of the wall clock changes nothing.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

WINDOW_SECONDS: Final = 15.0
# Two scrapes may be missed before a pod counts as one without a sample.
STALE_SECONDS: Final = 7.0


@dataclass(frozen=True, slots=True)
class Reading:
    """A value of one pod, and the time in seconds that it was taken over: 0 for a single look."""

    value: float
    seconds: float


@dataclass(slots=True)
class _Point:
    at: float
    count: float  # as if the counter had never been reset
    seen: float  # what the pod itself said


class Window:
    """The last scrapes of one pod. A rate needs two of them; a gauge is the mean over all.

    A counter that fell was reset: the pod's server was restarted, and has counted all of its value since. That is
    Prometheus' rule too (https://prometheus.io/docs/prometheus/latest/querying/functions/#rate). Nothing is
    extrapolated beyond the scrapes: the increase between the first and the last is divided by the time between them.
    """

    __slots__ = ("_counters", "_gauges", "_scraped")

    def __init__(self) -> None:
        self._counters: dict[str, deque[_Point]] = {}
        self._gauges: dict[str, deque[tuple[float, float]]] = {}
        self._scraped: float | None = None

    def add(self, at: float, counters: Mapping[str, float], gauges: Mapping[str, float]) -> None:
        """Take what a scrape at that time has found. One that is not later than the last is left out."""
        if self._scraped is not None and at <= self._scraped:
            return
        self._scraped = at
        for name, seen in counters.items():
            points = self._counters.setdefault(name, deque())
            points.append(_next(points[-1] if points else None, at, seen))
            while points[0].at < at - WINDOW_SECONDS:
                points.popleft()
        for name, value in gauges.items():
            values = self._gauges.setdefault(name, deque())
            values.append((at, value))
            while values[0][0] < at - WINDOW_SECONDS:
                values.popleft()

    def rate(self, name: str, now: float) -> Reading | None:
        """Its increase per second; None before the second scrape, and when the last one is too long ago."""
        points = self._counters.get(name)
        if not points or len(points) < 2 or now - points[-1].at > STALE_SECONDS:
            return None
        first, last = points[0], points[-1]
        seconds = last.at - first.at
        return Reading((last.count - first.count) / seconds, seconds)

    def mean(self, name: str, now: float) -> Reading | None:
        """The mean of its scrapes; None when the last one is too long ago."""
        values = self._gauges.get(name)
        if not values or now - values[-1][0] > STALE_SECONDS:
            return None
        return Reading(sum(value for _, value in values) / len(values), values[-1][0] - values[0][0])


def _next(last: _Point | None, at: float, seen: float) -> _Point:
    if last is None:
        return _Point(at, 0.0, seen)
    increase = seen - last.seen if seen >= last.seen else seen
    return _Point(at, last.count + increase, seen)
