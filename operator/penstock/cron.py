"""Cron expressions of five fields, and time zones, as schedules name them. Pure.

cronsim reads the expressions and knows which days they mean, as Debian's cron does: `0 8 * * 1-5`, `MON#2`, `L`. What
becomes of a wall clock that is put forward or back is decided in `scaling/schedule.py`, because a start and an end must
keep their order there, and cronsim sees only one expression at a time.
"""

from calendar import monthrange
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from itertools import product
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_ANY: Final = datetime(2001, 1, 1)  # noqa: DTZ001 - a time of the wall clock, to parse an expression with
# Every date with every weekday it can have: the calendar repeats itself after 28 years, but for most centuries.
_YEARS: Final = range(2001, 2029)


@dataclass(frozen=True, slots=True, eq=False)
class Cron:
    """A parsed expression. `times` has a bit for each minute of a day, and `sim` the rules for its days."""

    times: int
    sim: CronSim

    def on(self, day: date) -> int:
        """The minutes of that day at which it fires: bit 0 is midnight, bit 1439 the last minute."""
        return self.times if day.month in self.sim.months and self.sim.match_day(day) else 0


@lru_cache(maxsize=4096)
def parse(expression: str) -> Cron:
    """Raises ValueError, which says in words what is wrong with the expression."""
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError(
            f"{expression!r} has {_fields(len(fields))}; write five: minute, hour, day of the month, month, weekday, "
            "such as 0 8 * * 1-5"
        )
    try:
        sim = CronSim(expression, _ANY)
    except CronSimError as error:
        raise ValueError(_never(expression) if _lacks_its_day(fields, error) else _words(expression, error)) from error
    found = Cron(sum(1 << (60 * hour + minute) for hour in sim.hours for minute in sim.minutes), sim)
    if not any(found.on(day) for day in _every_day(sim.months)):
        raise ValueError(_never(expression))
    return found


@lru_cache(maxsize=4096)
def are_same(one: Cron, other: Cron) -> bool:
    """Whether both fire at exactly the same minutes, however they are written."""
    days = _every_day(one.sim.months | other.sim.months)
    return one.times == other.times and (one is other or all(one.on(day) == other.on(day) for day in days))


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError) as error:  # A folder of zones, such as Europe, is an OSError.
        raise ValueError(
            f"{name!r} is no time zone; write an IANA name such as Europe/Berlin, with its capital letters"
        ) from error


def _every_day(months: Iterable[int]) -> Iterator[date]:
    for year, month in product(_YEARS, months):
        for day in range(1, monthrange(year, month)[1] + 1):
            yield date(year, month, day)


def _fields(number: int) -> str:
    return "1 field" if number == 1 else f"{number} fields"


def _never(expression: str) -> str:
    return f"{expression!r} never fires, because no month has such a day; write a day that there is"


def _lacks_its_day(fields: list[str], error: CronSimError) -> bool:
    """Whether cronsim finds fault with a day only because of the month, as in `0 0 30 2 *`."""
    if "day-of-month" not in str(error):
        return False
    try:
        CronSim(" ".join([*fields[:3], "*", fields[4]]), _ANY)
    except CronSimError:
        return False
    return True


def _words(expression: str, error: CronSimError) -> str:
    """cronsim says no more than `Bad hour`."""
    field = str(error).removeprefix("Bad ")
    allowed = {
        "minute": "0 to 59",
        "hour": "0 to 23",
        "day-of-month": "1 to 31, or L for the last",
        "month": "1 to 12, or JAN to DEC",
        "day-of-week": "0 to 7, or SUN to SAT, 0 and 7 being Sunday",
    }
    return (
        f"{expression!r} is no cron expression: its {field} must be within {allowed[field]}, written as *, a number, "
        "a range 1-5, a list 1,3 or a step */2"
    )
