"""The decision whether a service that may sleep does."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.api.autoscaling import ScaleToZero
from penstock.api.status import SleepState, SleepStatus
from penstock.desired import gateway
from penstock.desired.gateway import Routes
from penstock.observed.values import Activity
from penstock.scaling.sleep import Circumstances, Routers, Sleep, decide, remembered

from tests.builders import T0, a_service

AFTER = 60
BOTH = Routers(ready=2, wanted=2)


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def activity(looked: float, quiet_since: float | None, *, reached: bool = False, unknown: str = "") -> Activity:
    return Activity(later(looked), None if quiet_since is None else later(quiet_since), reached, unknown)


def circumstances(now: float, state: SleepState = "Awake", since: float = 0, **fields: Any) -> Circumstances:
    recorded = SleepStatus(state=state, since=later(since))
    usual = Circumstances(
        now=later(now),
        recorded=recorded,
        scale_to_zero=ScaleToZero(after_seconds=AFTER),
        answering=1,
        has_endpoints=state == "Awake",
        routers=BOTH,
    )
    return replace(usual, **fields)


def state(sleep: Sleep) -> str:
    return sleep.status.state


def test_a_service_that_nobody_has_asked_for_so_long_is_led_to_the_router_and_keeps_its_pods() -> None:
    early = decide(circumstances(69, activity=activity(69, 10)))
    assert (state(early), early.requeue_at, early.status.quiet_since) == ("Awake", later(70), later(10))
    due = decide(circumstances(70, activity=activity(69, 10)))
    assert (state(due), due.is_redirected, due.is_asleep) == ("Redirecting", True, False)


def test_one_that_has_just_woken_is_given_its_whole_time() -> None:
    assert state(decide(circumstances(70, since=20, activity=activity(69, 10)))) == "Awake"
    assert state(decide(circumstances(80, since=20, activity=activity(79, 10)))) == "Redirecting"


@pytest.mark.parametrize(
    ("why", "fields"),
    [
        ("requests come", {"activity": activity(69, None)}),
        ("pod chat-0 does not tell", {"activity": activity(69, None, unknown="pod chat-0 does not tell")}),
        ("1 of 2 routers are ready", {"routers": Routers(1, 2)}),
        ("no router is installed", {"routers": Routers()}),
        ("a rollout is under way", {"kept_awake_by": "a rollout is under way"}),
    ],
)
def test_it_stays_awake_and_says_why(why: str, fields: dict[str, Any]) -> None:
    found = decide(circumstances(100, **{"activity": activity(99, 10), **fields}))
    assert (state(found), found.is_redirected) == ("Awake", False)
    assert why in found.status.message


def test_the_pods_stay_until_requests_are_seen_to_go_to_the_router() -> None:
    there = circumstances(75, "Redirecting", 70, activity=activity(75, 10, reached=True), has_endpoints=True)
    assert state(decide(there)) == "Redirecting"
    assert state(decide(replace(there, has_endpoints=False, activity=activity(75, 10)))) == "Redirecting"
    assert state(decide(replace(there, has_endpoints=False))) == "Draining"


def test_they_go_when_ten_seconds_later_nothing_has_come_to_them() -> None:
    early = decide(circumstances(84, "Draining", 75, activity=activity(84, 10, reached=True)))
    assert (state(early), early.is_redirected) == ("Draining", True)
    stale = decide(circumstances(90, "Draining", 75, activity=activity(84, 10, reached=True)))
    assert state(stale) == "Draining"  # the last look is not late enough
    settled = decide(circumstances(86, "Draining", 75, activity=activity(85, 10, reached=True)))
    assert (state(settled), settled.is_asleep, settled.is_redirected) == ("Asleep", True, True)


@pytest.mark.parametrize("in_state", ["Redirecting", "Draining"])
@pytest.mark.parametrize(
    "fields",
    [
        {"asked_at": later(76)},
        {"activity": activity(76, None)},
        {"kept_awake_by": "a new revision"},
        {"routers": Routers(1, 2)},
        {"scale_to_zero": None},
    ],
)
def test_on_the_way_to_sleep_a_request_or_anything_else_that_needs_pods_leads_straight_back(
    in_state: SleepState, fields: dict[str, Any]
) -> None:
    found = decide(circumstances(77, in_state, 75, **{"activity": activity(76, 10), **fields}))
    assert (state(found), found.is_redirected) == ("Awake", False)
    without = decide(circumstances(77, in_state, 75, **{"activity": activity(76, 10), "answering": 0, **fields}))
    assert (state(without), without.is_redirected) == ("Waking", True)


@pytest.mark.parametrize("in_state", ["Redirecting", "Draining"])
def test_what_does_not_get_on_within_a_minute_is_given_up_and_tried_again_after_the_whole_time(
    in_state: SleepState,
) -> None:
    # A pod that does not answer: nobody knows whether requests come.
    waits = circumstances(134, in_state, 75, activity=activity(134, None, unknown="pod chat-0 does not tell"))
    assert state(decide(waits)) == in_state
    given_up = decide(replace(waits, now=later(135)))
    assert (state(given_up), given_up.status.since) == ("Awake", later(135))


@pytest.mark.parametrize(
    ("in_state", "fields"),
    [
        ("Redirecting", {"activity": None}),
        ("Draining", {"activity": None}),
        ("Draining", {"activity": activity(134, 130, reached=True)}),
    ],
)
def test_an_operator_that_was_away_blames_neither_routers_nor_pods(
    in_state: SleepState, fields: dict[str, Any]
) -> None:
    found = decide(circumstances(135, in_state, 75, **fields))
    assert (state(found), found.status.last_failure) == ("Awake", "")


@pytest.mark.parametrize("in_state", ["Redirecting", "Draining"])
def test_why_it_could_not_sleep_is_told_until_it_can_and_the_next_attempt_is_five_minutes_away(
    in_state: SleepState,
) -> None:
    failed = decide(circumstances(135, in_state, 75, activity=activity(134, None, unknown="pod a does not tell")))
    assert state(failed) == "Awake"
    why = failed.status.last_failure
    assert why

    def at(now: float, quiet_since: float = 10) -> Sleep:
        quiet = activity(now, quiet_since)
        return decide(replace(circumstances(now, activity=quiet), recorded=failed.status))

    # Once that is long ago, the last request counts again.
    much_later = at(10_000 + AFTER - 1, 10_000)
    assert (much_later.requeue_at, much_later.status.message) == (
        later(10_000 + AFTER),
        "sleeps 60 s after the last request",
    )

    waiting = at(135 + AFTER)
    assert (state(waiting), waiting.requeue_at) == ("Awake", later(435))
    assert waiting.status.message == f"sleeps 300 s after the last attempt, which failed: {why}"
    again = at(435)
    assert (state(again), again.status.last_failure) == ("Redirecting", why)
    drained = again.status.model_copy(update={"state": "Draining"})
    asleep = decide(replace(circumstances(500, has_pods=False), recorded=drained))
    assert (state(asleep), asleep.status.last_failure) == ("Asleep", "")


def test_a_clock_that_was_set_back_during_a_wake_makes_it_no_shorter_than_nothing() -> None:
    waking = SleepStatus(state="Waking", since=later(500))
    recorded = remembered(waking, later(470), is_redirected=True, has_pods=True)
    assert decide(replace(circumstances(470), recorded=recorded)).status.wake_seconds == 0


def test_a_request_wakes_it_and_the_first_pod_that_answers_takes_over() -> None:
    assert state(decide(circumstances(500, "Asleep", 86, answering=0))) == "Asleep"
    waking = decide(circumstances(500, "Asleep", 86, answering=0, asked_at=later(499)))
    assert (state(waking), waking.is_asleep, waking.is_redirected) == ("Waking", False, True)
    assert waking.status.answered_wake == later(499)
    started = replace(circumstances(507, answering=1, asked_at=later(499)), recorded=waking.status)
    awake = decide(started)
    assert (state(awake), awake.is_redirected, awake.status.wake_seconds) == ("Awake", False, 7)


def test_a_router_whose_clock_is_slow_wakes_it_just_the_same() -> None:
    assert state(decide(circumstances(500, "Asleep", 86, answering=0, asked_at=later(-3600)))) == "Waking"


def test_what_a_router_asked_before_it_slept_does_not_wake_it() -> None:
    asleep = circumstances(500, "Asleep", 86, answering=0, asked_at=later(5))
    answered = replace(asleep, recorded=asleep.recorded.model_copy(update={"answered_wake": later(5)}))
    assert state(decide(answered)) == "Asleep"


@pytest.mark.parametrize("fields", [{"kept_awake_by": "a new revision"}, {"scale_to_zero": None}])
def test_what_needs_pods_wakes_it_without_a_request(fields: dict[str, Any]) -> None:
    assert state(decide(circumstances(500, "Asleep", 86, answering=0, **fields))) == "Waking"


def test_routers_that_are_away_for_a_moment_do_not_wake_it() -> None:
    assert state(decide(circumstances(500, "Asleep", 86, answering=0, routers=Routers(0, 2)))) == "Asleep"


def test_a_suspended_service_leads_to_the_router_and_nothing_wakes_it() -> None:
    for in_state in ("Awake", "Redirecting", "Draining", "Asleep", "Waking"):
        off = decide(circumstances(500, in_state, 86, is_off=True, asked_at=later(499)))
        assert (state(off), off.is_redirected) == ("Asleep" if in_state == "Asleep" else "Awake", True)
        # Its status says no more afterwards, so that nothing is written again and again.
        again = replace(circumstances(501, is_off=True, asked_at=later(499)), recorded=off.status)
        assert decide(again).status == off.status


def test_a_status_that_was_lost_is_rebuilt_from_the_service() -> None:
    assert remembered(None, T0, is_redirected=False, has_pods=True).state == "Awake"
    assert remembered(None, T0, is_redirected=True, has_pods=True).state == "Waking"
    assert remembered(None, T0, is_redirected=True, has_pods=False).state == "Waking"
    slept = SleepStatus(state="Asleep", since=T0)
    # The selector was put back, and the status was not written any more.
    assert remembered(slept, later(9), is_redirected=False, has_pods=True).state == "Awake"
    awake = SleepStatus(state="Awake", since=T0)
    assert remembered(awake, later(9), is_redirected=True, has_pods=True).state == "Redirecting"
    # It was suspended, and is not any more.
    assert remembered(awake, later(9), is_redirected=True, has_pods=False).state == "Waking"


def test_pods_that_were_told_to_go_just_before_the_operator_ended_are_gone_for_good() -> None:
    found = decide(circumstances(90, "Draining", 75, has_pods=False, answering=0))
    assert state(found) == "Asleep"


looks = st.one_of(
    st.none(), st.builds(activity, st.floats(0, 500), st.one_of(st.none(), st.floats(0, 500)), reached=st.booleans())
)


@given(
    in_state=st.sampled_from(["Awake", "Redirecting", "Draining", "Waking"]),
    look=looks,
    asked=st.booleans(),
    has_endpoints=st.booleans(),
    answering=st.integers(0, 2),
    routers=st.builds(Routers, st.integers(0, 3), st.just(2)),
    elapsed=st.integers(0, 400),
)
def test_pods_never_go_unless_requests_went_to_the_router_and_none_was_seen_for_ten_seconds(
    *,
    in_state: SleepState,
    look: Activity | None,
    asked: bool,
    has_endpoints: bool,
    answering: int,
    routers: Routers,
    elapsed: int,
) -> None:
    c = circumstances(
        100 + elapsed,
        in_state,
        100,
        activity=look,
        asked_at=T0 if asked else None,
        has_endpoints=has_endpoints,
        answering=answering,
        routers=routers,
    )
    found = decide(c)
    if found.is_asleep:
        assert in_state == "Draining"
        assert not asked
        assert routers.ready >= 2
        assert look is not None
        assert look.quiet_since is not None
        assert look.looked_at - max(look.quiet_since, later(100)) >= timedelta(seconds=10)
    # Whoever is led to the router finds one that can hold the request, or pods that it forwards to.
    assert found.is_redirected is (state(found) != "Awake")
    # The same again says the same: a pass that was cut off after its writes goes on as if it had not been.
    if state(found) == in_state and not asked:
        assert decide(replace(c, recorded=found.status)).status == found.status


def test_a_gateway_waits_for_an_answer_as_long_as_a_wake_may_take_too() -> None:
    def limit(**fields: Any) -> str:
        service = a_service(is_behind_a_gateway=True, timeout=40, **fields)
        assert service.spec.gateway is not None
        (rule,) = gateway.http_route(service, service.spec.gateway, Routes())["spec"]["rules"]
        return str(rule["timeouts"]["request"])

    assert limit() == "40s"
    assert limit(minReplicas=0, autoscaling={"scaleToZero": {"wakeTimeoutSeconds": 90}}) == "130s"
