"""When a service is looked at again though nothing has happened."""

from datetime import datetime, timedelta

from penstock.controller.requeue import look_again

from tests.builders import T0, a_service, at, facts, ready_pod, rolled_out, seen, stable_at

HOUR = 3600


def again(*schedules: tuple[str, str], now: datetime = T0) -> timedelta | None:
    found = [{"start": start, "end": end, "minReplicas": 2} for start, end in schedules]
    service = a_service(maxReplicas=4, autoscaling={"schedules": found}, status=stable_at("v1"))
    return look_again(facts(seen(service, ready_pod(), deployment=rolled_out()), now=now), now)


def test_a_service_without_schedules_waits_for_events_alone() -> None:
    assert again() is None


def test_the_next_change_of_a_schedule_wakes_it() -> None:
    assert again(("0 8 * * *", "0 18 * * *")) == timedelta(hours=6)
    assert again(("0 8 * * *", "0 18 * * *"), ("30 12 * * *", "0 13 * * *"), now=at(7 * HOUR)) == timedelta(hours=13)


def test_a_far_change_is_looked_up_again_every_day() -> None:
    assert again(("0 8 1 6 *", "0 18 1 6 *")) == timedelta(days=1)
    assert again(("* * * * *", "0 18 * * *")) == timedelta(days=1)
