"""What one pod has counted in the last seconds: counters become rates, gauges become means. Pure.

Times are those of a monotonic clock, in seconds, so that a step of the wall clock changes nothing.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

WINDOW_SECONDS: Final = 15.0
# Three and a half times the usual pause between two scrapes: one that is lost takes no pod out of the answers.
STALE_SECONDS: Final = 7.0

# A counter's values by its series.
Counts: TypeAlias = Mapping[Any, float]


@dataclass(frozen=True, slots=True)
class Reading:
    """A value of one pod, and the time in seconds that it was taken over: 0 for a single look."""

    value: float
    seconds: float


@dataclass(slots=True)
class _Counter:
    """Its scrapes as if it had never been reset, and what each series was at the last one that had it."""

    points: deque[tuple[float, float]] = field(default_factory=deque)
    last: dict[Any, float] = field(default_factory=dict)

    def add(self, at: float, counts: Counts) -> None:
        before = self.points[-1][1] if self.points else None
        increase = sum(_increase(self.last.get(series, 0.0), count) for series, count in counts.items())
        self.points.append((at, 0.0 if before is None else before + increase))
        # A series that is away for a scrape must not count as new when it is back.
        self.last.update(counts)


class Window:
    """The last scrapes of one pod. A rate needs two of them; a gauge is the mean over all.

    A series that fell was reset: the pod's server was restarted, and has counted all of its value since; one that is
    new has counted from zero. That is Prometheus' rule, too
    (https://prometheus.io/docs/prometheus/latest/querying/functions/#rate). Nothing is extrapolated beyond the scrapes:
    the increase between the first and the last is divided by the time between them.
    """

    __slots__ = ("_counters", "_gauges", "_scraped")

    def __init__(self) -> None:
        self._counters: dict[str, _Counter] = {}
        self._gauges: dict[str, deque[tuple[float, float]]] = {}
        self._scraped: float | None = None

    def add(self, at: float, counters: Mapping[str, Counts], gauges: Mapping[str, float]) -> None:
        """Take what a scrape at that time has found. One that is not later than the last is left out."""
        if self._scraped is not None and at <= self._scraped:
            return
        self._scraped = at
        for name, counts in counters.items():
            counter = self._counters.setdefault(name, _Counter())
            counter.add(at, counts)
            _forget(counter.points, at)
        for name, value in gauges.items():
            values = self._gauges.setdefault(name, deque())
            values.append((at, value))
            _forget(values, at)

    def rate(self, name: str, now: float, *, stale: float = STALE_SECONDS) -> Reading | None:
        """Its increase per second; None before the second scrape, and when the last one is too long ago."""
        points = self._counters[name].points if name in self._counters else None
        if not points or len(points) < 2 or now - points[-1][0] > stale:
            return None
        (began, first), (ended, last) = points[0], points[-1]
        return Reading((last - first) / (ended - began), ended - began)

    def mean(self, name: str, now: float, *, stale: float = STALE_SECONDS) -> Reading | None:
        """The mean of its scrapes; None when the last one is too long ago."""
        values = self._gauges.get(name)
        if not values or now - values[-1][0] > stale:
            return None
        return Reading(sum(value for _, value in values) / len(values), values[-1][0] - values[0][0])


def _increase(before: float, now: float) -> float:
    return now - before if now >= before else now


def _forget(points: deque[tuple[float, float]], at: float) -> None:
    while points[0][0] < at - WINDOW_SECONDS:
        points.popleft()
