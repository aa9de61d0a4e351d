"""The least number of pods by schedules: minute by minute, and over every change of the clocks."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import example, given, settings
from hypothesis import strategies as st
from penstock import cron
from penstock.scaling import schedule
from penstock.scaling.schedule import Least

from tests.builders import a_service

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NO_LEAD = timedelta()
BERLIN, NEW_YORK, ADELAIDE, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Adelaide", "Australia/Lord_Howe"
OFFICE = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": BERLIN, "minReplicas": 3}


def hours(start: str, end: str, timezone: str | None = None, *, pods: int = 3) -> dict[str, Any]:
    zone = {} if timezone is None else {"timezone": timezone}
    return {"start": start, "end": end, "minReplicas": pods, **zone}


def least(now: datetime, *schedules: dict[str, Any], lead: timedelta = NO_LEAD, **predictor: Any) -> Least:
    service = a_service(autoscaling={"schedules": list(schedules)}, **{"maxReplicas": 20, **predictor})
    return schedule.least(service.spec, now, lead)


def local(text: str, zone: str = BERLIN, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def changes(since: datetime, until: datetime, *schedules: dict[str, Any], lead: timedelta = NO_LEAD) -> list[Any]:
    """Each change in that time, and the number from then on, as one follows `until` from one to the next."""
    found, now = [], since
    while (following := least(now, *schedules, lead=lead).until) is not None and following < until:
        assert following > now
        now = following
        found.append((now, least(now, *schedules, lead=lead).pods))
    return found


def test_without_schedules_the_spec_s_own_least_counts_for_ever() -> None:
    assert least(local("2026-03-02 12:00"), minReplicas=2) == Least(2)


@pytest.mark.parametrize(
    ("now", "pods", "until"),
    [
        pytest.param("2026-03-02 07:59", 1, "2026-03-02 08:00", id="before it opens on Monday"),
        pytest.param("2026-03-02 08:00", 3, "2026-03-02 18:00", id="as it opens"),
        pytest.param("2026-03-02 17:59", 3, "2026-03-02 18:00", id="before it closes"),
        pytest.param("2026-03-02 18:00", 1, "2026-03-03 08:00", id="as it closes"),
        pytest.param("2026-03-06 18:00", 1, "2026-03-09 08:00", id="over the weekend"),
        pytest.param("2026-12-31 19:00", 1, "2027-01-01 08:00", id="over the year's end"),
    ],
)
def test_office_hours(now: str, pods: int, until: str) -> None:
    found = least(local(now), OFFICE)
    assert (found.pods, found.until, found.is_scheduled) == (pods, local(until), pods == 3)


def test_a_start_after_its_end_goes_over_midnight_and_the_year_s_end() -> None:
    night = hours("0 22 * * *", "0 6 * * *", BERLIN)
    assert least(local("2026-12-31 23:30"), night) == Least(3, local("2027-01-01 06:00"), is_scheduled=True)
    assert least(local("2027-01-01 05:59"), night) == Least(3, local("2027-01-01 06:00"), is_scheduled=True)
    assert least(local("2027-01-01 06:00"), night).pods == 1


def test_of_several_in_force_the_largest_counts_and_the_next_change_is_that_of_the_number() -> None:
    few, many = hours("0 8 * * *", "0 18 * * *", pods=2), hours("0 12 * * *", "0 20 * * *", pods=5)
    day = datetime(2026, 3, 2, tzinfo=UTC)
    assert changes(day, day + DAY, few, many) == [(day + 8 * HOUR, 2), (day + 12 * HOUR, 5), (day + 20 * HOUR, 1)]


def test_two_shifts_of_the_same_number_are_one_time() -> None:
    day = datetime(2026, 3, 2, tzinfo=UTC)
    shifts = hours("0 6 * * *", "0 14 * * *"), hours("0 14 * * *", "0 22 * * *")
    assert changes(day, day + DAY, *shifts) == [(day + 6 * HOUR, 3), (day + 22 * HOUR, 1)]


def test_a_schedule_takes_no_pods_away_and_never_asks_for_more_than_there_may_be() -> None:
    noon = local("2026-03-02 12:00")
    assert least(noon, OFFICE, minReplicas=4) == Least(4)
    assert least(noon, OFFICE, maxReplicas=2).pods == 2
    assert least(noon, hours("0 8 * * *", "0 18 * * *", pods=9), OFFICE, maxReplicas=3).until == local(
        "2026-03-02 19:00"
    )


def test_it_begins_by_the_lead_before_its_start_and_ends_as_written() -> None:
    lead = timedelta(minutes=7, seconds=30)
    since, begins = local("2026-03-02 00:00"), local("2026-03-02 07:52:30")
    assert changes(since, since + DAY, OFFICE, lead=lead) == [(begins, 3), (local("2026-03-02 18:00"), 1)]
    assert least(begins - timedelta(seconds=1), OFFICE, lead=lead) == Least(1, begins)


def test_a_break_shorter_than_the_lead_is_none() -> None:
    shifts = hours("0 8,12 * * *", "50 11,17 * * *")
    day = datetime(2026, 3, 2, tzinfo=UTC)
    found = changes(day, day + DAY, shifts, lead=timedelta(minutes=15))
    assert found == [(day + 7 * HOUR + 45 * MINUTE, 3), (day + 17 * HOUR + 50 * MINUTE, 1)]


@pytest.mark.parametrize("end", ["0 0 1 1 *", "0 18 * * *", "*/2 * * * *"])
def test_one_that_starts_every_minute_is_in_force_for_ever(end: str) -> None:
    assert least(datetime(2026, 3, 2, tzinfo=UTC), hours("* * * * *", end)) == Least(3, None, is_scheduled=True)


def test_one_that_cannot_be_read_is_left_out() -> None:
    noon = local("2026-03-02 12:00")
    broken = [hours("0 8 * *", "0 9 * * *"), hours("0 8 * * *", "0 9 30 2 *"), hours("0 8 * * *", "0 9 * * *", "Mars")]
    assert least(noon, *broken, OFFICE) == least(noon, OFFICE)


def test_the_29_february_is_found_when_it_has_come_near() -> None:
    leap = hours("0 0 29 2 *", "0 0 1 3 *")
    assert least(datetime(2026, 3, 2, tzinfo=UTC), leap) == Least(1)
    assert least(datetime(2028, 1, 1, tzinfo=UTC), leap).until == datetime(2028, 2, 29, tzinfo=UTC)
    assert least(datetime(2028, 2, 29, 12, tzinfo=UTC), leap).until == datetime(2028, 3, 1, tzinfo=UTC)


SKIPPED = [
    pytest.param(BERLIN, "2026-03-29", "02:30", "03:00", id="Berlin"),
    pytest.param(NEW_YORK, "2026-03-08", "02:30", "03:00", id="New York"),
    pytest.param(ADELAIDE, "2026-10-04", "02:30", "03:00", id="half an hour off"),
    pytest.param(LORD_HOWE, "2026-10-04", "02:15", "02:30", id="by half an hour"),
    pytest.param("America/Havana", "2026-03-08", "00:30", "01:00", id="at midnight"),
]


@pytest.mark.parametrize(("zone", "day", "skipped", "first"), SKIPPED)
def test_a_start_in_the_hour_that_is_skipped_fires_as_the_clock_is_put_forward(
    zone: str, day: str, skipped: str, first: str
) -> None:
    hour, minute = skipped.split(":")
    times = hours(f"{int(minute)} {int(hour)} * * *", "0 12 * * *", zone)
    since = local(f"{day} 00:00", zone) - HOUR
    found = changes(since, since + 20 * HOUR, times)
    assert found == [(local(f"{day} {first}", zone), 3), (local(f"{day} 12:00", zone), 1)]


@pytest.mark.parametrize(("zone", "day", "skipped", "first"), SKIPPED)
def test_an_end_in_the_hour_that_is_skipped_fires_as_the_clock_is_put_forward(
    zone: str, day: str, skipped: str, first: str
) -> None:
    hour, minute = skipped.split(":")
    times = hours("0 20 * * *", f"{int(minute)} {int(hour)} * * *", zone)
    since = local(f"{day} 00:00", zone) - HOUR
    assert changes(since, since + 12 * HOUR, times) == [(local(f"{day} {first}", zone), 1)]


def test_a_time_that_is_skipped_as_a_whole_is_none() -> None:
    times = hours("10 2 * * *", "50 2 * * *", BERLIN)
    since = local("2026-03-29 00:00")
    assert changes(since, since + DAY, times) == []
    assert least(since, times).until == local("2026-03-30 02:10")


@pytest.mark.parametrize(
    ("zone", "day", "doubled"),
    [
        pytest.param(BERLIN, "2026-10-25", "02:30", id="Berlin"),
        pytest.param(NEW_YORK, "2026-11-01", "01:30", id="New York"),
        pytest.param(ADELAIDE, "2026-04-05", "02:30", id="half an hour off"),
        pytest.param(LORD_HOWE, "2026-04-05", "01:45", id="by half an hour"),
    ],
)
def test_a_time_in_the_hour_that_comes_twice_fires_once(zone: str, day: str, doubled: str) -> None:
    hour, minute = (int(each) for each in doubled.split(":"))
    since, once = local(f"{day} 00:00", zone), local(f"{day} {doubled}", zone)
    ending = hours("0 20 * * *", f"{minute} {hour} * * *", zone)
    assert changes(since, since + 8 * HOUR, ending) == [(once, 1)]
    starting = hours(f"{minute} {hour} * * *", "0 12 * * *", zone)
    assert changes(since, since + 8 * HOUR, starting) == [(once, 3)]


# From here on: against a model that goes from minute to minute.

ZONES = [BERLIN, NEW_YORK, ADELAIDE, LORD_HOWE, "UTC", "Asia/Kathmandu"]
# Days on or beside which the clocks of these zones change, and the year.
DAYS = [
    *(date(2026, 3, 8), date(2026, 3, 28), date(2026, 4, 4), date(2026, 10, 3), date(2026, 10, 24)),
    *(date(2026, 10, 31), date(2026, 12, 31), date(2028, 2, 28)),
]


def model(start: str, end: str, zone: str, since: datetime, minutes: int) -> Iterator[tuple[datetime, bool]]:
    """Whether it is in force, minute after minute; what the clock skips is made up for, what it repeats is left out."""
    info = ZoneInfo(zone)
    shown = since.astimezone(info).replace(tzinfo=None)
    is_on = last(start, shown) >= last(end, shown)
    for number in range(minutes):
        now = since + number * MINUTE
        wall = now.astimezone(info).replace(tzinfo=None, fold=0)
        while shown < wall:
            shown += MINUTE
            is_on = fires(start, shown) or (is_on and not fires(end, shown))
        yield now, is_on


def last(expression: str, wall: datetime) -> datetime:
    """When it fired last, by cronsim."""
    return next(CronSim(expression, wall + MINUTE, reverse=True))


def fires(expression: str, wall: datetime) -> bool:
    return bool(cron.parse(expression).on(wall.date()) >> (60 * wall.hour + wall.minute) & 1)


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    one = st.integers(low, high)
    several = st.lists(one, min_size=1, max_size=3).map(lambda found: ",".join(map(str, found)))
    span = st.tuples(one, one).map(lambda found: f"{min(found)}-{max(found)}")
    return st.one_of(several, span, st.integers(2, 20).map(lambda step: f"*/{step}"), st.just("*"))


expressions = st.one_of(
    st.tuples(numbers(0, 59), numbers(0, 23), st.just("*"), st.just("*"), numbers(0, 7)),
    st.tuples(numbers(0, 59), numbers(0, 4), numbers(1, 28), st.just("*"), st.just("*")),
).map(" ".join)


@settings(deadline=None, max_examples=60)
@given(
    start=expressions,
    end=expressions,
    zone=st.sampled_from(ZONES),
    day=st.sampled_from(DAYS),
    lead=st.sampled_from([0, 1, 15, 90]).map(lambda minutes: minutes * MINUTE),
)
@example("10 2 * * *", "50 2 * * *", BERLIN, date(2026, 3, 28), 15 * MINUTE)
@example("30 2 * * *", "30 2 * * 1", BERLIN, date(2026, 10, 24), NO_LEAD)
def test_it_is_in_force_exactly_from_its_starts_to_its_ends(
    start: str, end: str, zone: str, day: date, lead: timedelta
) -> None:
    since = datetime(day.year, day.month, day.day, tzinfo=UTC)
    ahead = int(lead / MINUTE)
    found = list(model(start, end, zone, since, 2 * 1440 + ahead))
    wanted = [(now, any(on for _, on in found[index : index + ahead + 1])) for index, (now, _) in enumerate(found)]
    wanted = wanted[: 2 * 1440]
    times = hours(start, end, zone)
    # Where it follows from one change to the next, it is right in between as well, because nothing else changes it.
    for now, is_on in (
        *wanted[::97],
        *(each for pair in pairwise(wanted) if pair[0][1] != pair[1][1] for each in pair),
    ):
        assert least(now, times, lead=lead).is_scheduled is is_on, now
    assert follows(since, wanted, times, lead)


def follows(since: datetime, wanted: list[tuple[datetime, bool]], times: dict[str, Any], lead: timedelta) -> bool:
    """Whether the changes that are announced are those that there are."""
    real = [later[0] for before, later in pairwise(wanted) if before[1] != later[1]]
    announced = [now for now, _ in changes(since, wanted[-1][0] + MINUTE, times, lead=lead)]
    # Where many periods are joined by the lead, it may be asked again without a change.
    return announced == real or (bool(lead) and set(real) <= set(announced))


@settings(deadline=None, max_examples=60)
@given(
    first=st.tuples(expressions, expressions, st.integers(0, 5)),
    second=st.tuples(expressions, expressions, st.integers(0, 5)),
    zone=st.sampled_from(ZONES),
    day=st.sampled_from(DAYS),
)
def test_of_two_the_larger_counts_and_each_change_is_the_next(
    first: tuple[str, str, int], second: tuple[str, str, int], zone: str, day: date
) -> None:
    since = datetime(day.year, day.month, day.day, tzinfo=UTC)
    minutes = 1440
    models = [model(start, end, zone, since, minutes) for start, end, _ in (first, second)]
    wanted = [
        (one[0], max([1, *(pods for on, pods in ((one[1], first[2]), (two[1], second[2])) if on)]))
        for one, two in zip(*models, strict=True)
    ]
    those = [hours(start, end, zone, pods=pods) for start, end, pods in (first, second)]
    real = [later for before, later in pairwise(wanted) if before[1] != later[1]]
    assert least(since, *those).pods == wanted[0][1]
    announced = list(changes(since, since + minutes * MINUTE, *those))
    assert [each for before, each in pairwise([wanted[0], *announced]) if before[1] != each[1]] == real


@given(
    start=expressions, end=expressions, at=st.integers(0, 10**9), lead=st.integers(0, 7200), zone=st.sampled_from(ZONES)
)
def test_the_next_change_is_never_past(start: str, end: str, at: int, lead: int, zone: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=at)
    found = least(now, hours(start, end, zone), lead=timedelta(seconds=lead))
    assert found.until is None or found.until > now


@given(expression=expressions, at=st.integers(0, 10**7))
def test_it_fires_when_cronsim_says(expression: str, at: int) -> None:
    now = datetime(2026, 1, 1) + at * MINUTE  # noqa: DTZ001
    wall = next(CronSim(expression, now))
    assert fires(expression, wall)
    assert not any(
        fires(expression, now + number * MINUTE) for number in range(1, min(int((wall - now) / MINUTE), 2000))
    )


WORST = [
    ("* * * * *", "*/2 * * * *"),  # ends at no time
    ("*/2 * * * *", "1-59/2 * * * *"),  # changes every minute
    ("* * * 1-11 *", "*/2 * * * *"),
    ("0 0 29 2 */7", "0 0 29 2 */6"),  # both on a day of once in many years
    ("0 0 */30 * */7", "59 23 */31 * */6"),
    ("0 0 L * */7", "0 0 * 2 MON#5"),
    (",".join(["*"] * 60) + " * * * *", "0 0 1 1 *"),
]


@pytest.mark.parametrize(("start", "end"), WORST)
def test_no_expression_takes_long(start: str, end: str) -> None:
    """Sixteen of them at a time that nobody has asked about; processor time, for other tests run beside."""
    those = [hours(start, end, zone, pods=2 + number % 3) for number, zone in enumerate((ZONES * 3)[:16])]
    begun = time.process_time()
    least(datetime(2030, 5, 5, 5, 5, tzinfo=UTC), *those, lead=HOUR)
    assert time.process_time() - begun < 0.5
