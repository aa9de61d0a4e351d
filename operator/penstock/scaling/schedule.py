"""The least number of pods that `autoscaling.schedules` ask for, and when that changes next. Pure.

A schedule is in force from each of its starts until the next of its ends, and begins `lead` before its start, so that
its pods have loaded by then. Where both fire in one minute, the start wins: the end was of the time before.

Starts and ends are times of the wall clock in the schedule's zone. Where that is put forward, those that it skips fire
at once, in their order. Where it is put back, it stands still here until it has caught up, so that nothing fires twice.

All is done a day at a time, on integers that have a bit for each minute: it costs no more to evaluate `* * * * *`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from penstock import cron
from penstock.api.autoscaling import Schedule
from penstock.api.v1alpha1 import InferenceServiceSpec
from penstock.cron import Cron

_MINUTE: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)
# How far ahead a change is looked for. A rarer one is found when it has come nearer.
_DAYS_AHEAD: Final = 400
# How far back the last start or end is looked for: a 29 February on a given weekday may come after 40 years.
_DAYS_BACK: Final = 41 * 366
# Periods that are joined to one: more of them only if a schedule starts and ends all the time.
_MOST_JOINED: Final = 32
_FAR: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Least:
    """`pods` are the fewest there may be.

    `until` is when that changes next; None if not within 400 days. Of a schedule that starts again within the lead many
    times in a row, it is the time until which it is known not to change.
    """

    pods: int
    until: datetime | None = None
    is_scheduled: bool = False  # by a schedule, and not by minReplicas


@dataclass(frozen=True, slots=True)
class _Span:
    """Whether a schedule is in force, and when that ends: at the end of one period, though another may follow."""

    is_on: bool
    ends: datetime


@dataclass(frozen=True, slots=True)
class _Times:
    """A schedule as it is evaluated."""

    start: Cron
    end: Cron
    zone: ZoneInfo
    pods: int
    lead: timedelta

    def at(self, now: datetime) -> _Span:
        wall = _wall(now, self.zone)
        if _is_on(self.start, self.end, wall):
            return _Span(True, self._instant(_next_end(self.start, self.end, wall)))
        begins, ends = self._next_period(wall)
        if begins == _FAR or begins - self.lead > now:
            return _Span(False, begins if begins == _FAR else begins - self.lead)
        return _Span(True, ends)

    def _next_period(self, wall: datetime) -> tuple[datetime, datetime]:
        """The next one that is not all within what the wall clock skips."""
        while True:
            start = _next_start(self.start, wall)
            end = start and _next_end(self.start, self.end, start)
            begins, ends = self._instant(start), self._instant(end)
            if start is None or end is None or begins < ends:
                return begins, ends
            wall = end

    def _instant(self, wall: datetime | None) -> datetime:
        return _FAR if wall is None else _instant(wall, self.zone)


def least(spec: InferenceServiceSpec, now: datetime, lead: timedelta) -> Least:
    """The fewest pods at `now`; never above maxReplicas. A schedule that cannot be read is left out."""
    usual, limit = spec.predictor.min_replicas, spec.predictor.replica_limit
    found = (_read(each, limit, lead) for each in spec.autoscaling.schedules)
    higher = [each for each in found if each is not None and each.pods > usual]
    pods = max((each.pods for each in higher if each.at(now).is_on), default=usual)
    # Whatever asks for fewer pods changes nothing while this lasts.
    rises = (each.at(now).ends for each in higher if each.pods > pods)
    falls = _ends_together([each for each in higher if each.pods == pods], now) if pods > usual else _FAR
    until = min([falls, *rises])
    return Least(pods, None if until == _FAR else until, is_scheduled=pods > usual)


def _ends_together(those: Iterable[_Times], now: datetime) -> datetime:
    """When none of them is in force any more, one of which is now."""
    them, ends = list(those), now
    for _ in range(_MOST_JOINED):
        spans = [span.ends for each in them if (span := each.at(ends)).is_on]
        if not spans:
            break
        ends = max(spans)
        if ends == _FAR:
            break
    return ends


def _read(schedule: Schedule, limit: int, lead: timedelta) -> _Times | None:
    """None for one that the validation refuses: what runs goes on, and so do the other schedules."""
    try:
        start, end, zone = cron.parse(schedule.start), cron.parse(schedule.end), cron.zone(schedule.zone)
    except ValueError:
        return None
    return _Times(start, end, zone, min(schedule.min_replicas, limit), lead)


def _wall(now: datetime, zone: ZoneInfo) -> datetime:
    """What the wall clock shows, to the minute, if it is never put back: it rather stands still for that hour."""
    local = now.astimezone(zone)
    wall = local.replace(second=0, microsecond=0, tzinfo=None, fold=0)
    if not local.fold:
        return wall
    while _is_repeated(wall, zone):
        wall += _MINUTE
    return wall - _MINUTE


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the wall clock shows that for the first time, or is put forward beyond it."""
    while _is_skipped(wall, zone):
        wall += _MINUTE
    return wall.replace(tzinfo=zone).astimezone(UTC)


def _is_repeated(wall: datetime, zone: ZoneInfo) -> bool:
    first, second = (wall.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    return first != second and not _is_skipped(wall, zone)


def _is_skipped(wall: datetime, zone: ZoneInfo) -> bool:
    return wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) != wall


def _minute(wall: datetime) -> int:
    return 60 * wall.hour + wall.minute


def _is_on(start: Cron, end: Cron, wall: datetime) -> bool:
    """Whether the last of all starts and ends is a start."""
    day, so_far = wall.date(), (1 << (_minute(wall) + 1)) - 1
    today = _is_last_a_start(start.on(day) & so_far, end.on(day) & so_far)
    return _was_on(start, end, day) if today is None else today


def _is_last_a_start(starts: int, ends: int) -> bool | None:
    """Of these minutes of a day; None if there are none."""
    return starts.bit_length() >= ends.bit_length() if starts | ends else None


@lru_cache(maxsize=4096)
def _was_on(start: Cron, end: Cron, day: date) -> bool:
    """Whether it is in force when that day begins."""
    for _ in range(_DAYS_BACK):
        day -= _DAY
        found = _is_last_a_start(start.on(day), end.on(day))
        if found is not None:
            return found
    return False


@lru_cache(maxsize=4096)
def _next_start(start: Cron, wall: datetime) -> datetime | None:
    return _first_after(wall, start, None)


@lru_cache(maxsize=4096)
def _next_end(start: Cron, end: Cron, wall: datetime) -> datetime | None:
    return _first_after(wall, end, start)


def _first_after(wall: datetime, which: Cron, unless: Cron | None) -> datetime | None:
    """The first minute at which `which` fires, and `unless` does not."""
    day, after = wall.date(), _minute(wall) + 1
    for _ in range(_DAYS_AHEAD):
        fires = which.on(day)
        if fires and unless is not None:
            fires &= ~unless.on(day)
        fires = fires >> after << after
        if fires:
            first = (fires & -fires).bit_length() - 1
            return datetime.combine(day, time()) + first * _MINUTE
        day, after = day + _DAY, 0
    return None
