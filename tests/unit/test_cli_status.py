"""What `penstock status` shows of a service."""

from datetime import datetime
from typing import Any

import pytest
from penstock import names
from penstock.api.meta import Condition
from penstock.api.status import (
    AnalysisStatus,
    AutoscalingStatus,
    Blocker,
    InferenceServiceStatus,
    LastAction,
    RolloutStatus,
    SleepState,
    SleepStatus,
    SmokeTestStatus,
)
from penstock.cli import objects, status
from penstock.cli.layout import coloured, columns, relative, span
from penstock.cli.objects import SlotPods
from penstock.cli.status import Shown
from penstock.names import Slot

from tests.builders import T0, a_service, at, rolled_back, stable_at, under_way

ABORT = LastAction(verb="abort", id="a1", result="Refused", message="nothing was in flight", time=T0)


def condition(kind: str, status: Any, reason: str, message: str = "", since: datetime = T0) -> Condition:
    return Condition(type=kind, status=status, reason=reason, message=message, last_transition_time=since)


def shown(
    rollout: RolloutStatus | None = None,
    slots: dict[Slot, SlotPods] | None = None,
    *,
    observed: int = 3,
    action: str | None = None,
    **status: Any,
) -> Shown:
    told = InferenceServiceStatus(observed_generation=observed, rollout=rollout, **status)
    asked = {names.ANNOTATION_ACTION: action} if action else {}
    return Shown(objects.service(a_service(status=told, annotations=asked).to_dict()), slots or {})


def waiting(**rest: Any) -> RolloutStatus:
    """A tested revision at the gate."""
    words = {"phase": "Waiting", "strategy": "BlueGreen", "active_slot": "blue", "preview_slot": "green"}
    return under_way(**{**words, "message": "revision v2 is tested", **rest})


def lines(about: Shown, now: datetime = T0) -> list[str]:
    return status.lines(about, now)


def test_the_whole_view_of_a_revision_that_waits_at_its_gate() -> None:
    about = shown(
        waiting(
            plan="BlueGreen: 3 more pods fit, a second set needs 2",
            gate_opens_at=at(180),
            smoke_test=SmokeTestStatus(passed=["green-0"]),
            analysis=AnalysisStatus(successes=3, inconclusive=1, last_sample_at=at(55)),
            last_action=LastAction(verb="pause", id="b2", result="Done", message="it stands still", time=at(10)),
        ),
        {Slot.BLUE: SlotPods("v1", 2, 2), Slot.GREEN: SlotPods("v2", 1, 1)},
        phase="Progressing",
        conditions=[
            condition("Ready", "True", "Ready", "the model answers"),
            condition("Progressing", "True", "RolloutInProgress"),
        ],
    )
    assert lines(about, at(60)) == [
        "ml/chat  Progressing",
        "Ready        True for 1m: the model answers",
        "Rollout      Waiting by BlueGreen, begun 1m ago",
        "             revision v2 is tested",
        "Plan         BlueGreen: 3 more pods fit, a second set needs 2",
        "Revisions    stable v1, wanted v2",
        "Slots        blue   active   v1  2/2 ready",
        "             green  preview  v2  1/1 ready",
        "Smoke test   1 pod passed",
        "Analysis     3 measurements passed, 0 failed, 1 saw too little; last measurement 5s ago",
        "Gate         opens in 2m",
        "Deadline     in 9m",
        "Conditions   Ready        True  Ready",
        "             Progressing  True  RolloutInProgress",
        "Last action  pause Done 50s ago: it stands still",
    ]


def test_a_service_that_nobody_has_looked_at_says_so() -> None:
    assert lines(Shown(objects.service(a_service().to_dict()), {})) == [
        "ml/chat  no operator has reported on it yet",
        "Slots  no Deployment yet",
    ]


@pytest.mark.parametrize(
    ("about", "line"),
    [
        pytest.param(
            shown(conditions=[condition("Ready", "False", "OOMKilled", "Pod/chat-0: too little memory")]),
            "False OOMKilled for 0s: Pod/chat-0: too little memory",
            id="what is not ready says why",
        ),
        pytest.param(
            shown(conditions=[condition("Stalled", "True", "InvalidSpec", "spec.predictor.affinity: no")]),
            "True InvalidSpec for 0s: spec.predictor.affinity: no",
            id="what is stalled says why",
        ),
        pytest.param(
            shown(blocked_by=[Blocker(reason="OOMKilled", object="Pod/a", message="137", since=at(-70))]),
            "OOMKilled on Pod/a for 1m10s: 137",
            id="what blocks it is told with its age",
        ),
        pytest.param(
            shown(waiting(smoke_test=SmokeTestStatus(failures=2, message="green-0: 500"))),
            "0 pods passed, 2 failed attempts: green-0: 500",
            id="a smoke test that fails",
        ),
        pytest.param(
            shown(waiting(analysis=AnalysisStatus(failures=1, message="7 % errors"))), "7 % errors", id="a failed look"
        ),
        pytest.param(shown(waiting(hold_ends_at=at(90))), "ends in 1m30s", id="the hold has an end"),
        pytest.param(shown(waiting(paused_at=at(-30))), "stands still for 30s", id="a deadline that stands still"),
        pytest.param(shown(waiting(deadline_at=at(-5))), "5s ago", id="a deadline that is over"),
        pytest.param(
            shown(rolled_back()), "stable v1, wanted v2, failed v2", id="the revision that was given up is named"
        ),
        pytest.param(
            shown(stable_at("v1", last_action=ABORT)), "abort Refused 0s ago: nothing was in flight", id="a refusal"
        ),
        pytest.param(
            shown(stable_at("v1"), action="retry:c3"), "retry:c3 waits for the operator", id="an unanswered action"
        ),
        pytest.param(
            shown(
                stable_at("v2", active_slot="green"),
                {Slot.BLUE: SlotPods("v1", 0, 0), Slot.GREEN: SlotPods("v2", 1, 1)},
            ),
            "blue   idle    v1  0/0 ready",
            id="a slot that serves nobody is idle",
        ),
    ],
)
def test_it_tells_that(about: Shown, line: str) -> None:
    # The label, or the place where it would stand, takes up no more than thirteen columns.
    assert line in [each[13:].strip() for each in lines(about)] + [
        each.partition("  ")[2].strip() for each in lines(about)
    ]


@pytest.mark.parametrize("word", ["Gate", "Hold", "Deadline"])
def test_a_time_that_is_over_counts_down_to_nothing(word: str) -> None:
    about = shown(stable_at("v1", gate_opens_at=at(-9), hold_ends_at=at(-3), deadline_at=at(60)))
    assert not [line for line in lines(about) if line.startswith(word)]


def test_a_message_of_several_lines_stays_in_its_column() -> None:
    crash = Blocker(reason="CrashLooping", object="Pod/a", message="exit code 1:\nValueError: no")
    found = lines(shown(blocked_by=[crash]))
    assert found[-2:] == ["Blocked by  CrashLooping on Pod/a: exit code 1:", "            ValueError: no"]


@pytest.mark.parametrize(
    ("about", "line"),
    [
        pytest.param(shown(), "no rollout yet", id="nothing is known"),
        pytest.param(
            shown(waiting(), {Slot.BLUE: SlotPods("v1", 2, 2), Slot.GREEN: SlotPods("v2", 0, 2)}),
            "Waiting  revision v2 is tested  [blue active 2/2, green preview 0/2]",
            id="two slots",
        ),
        pytest.param(shown(stable_at("v1")), "Stable", id="no message and no slot"),
        pytest.param(shown(waiting(message="one\ntwo")), "Waiting  one two", id="a message of several lines"),
    ],
)
def test_its_summary_is_one_line(about: Shown, line: str) -> None:
    assert status.summary(about) == line


@pytest.mark.parametrize(
    ("about", "at_rest", "succeeded"),
    [
        pytest.param(shown(stable_at("v1")), True, True, id="stable"),
        pytest.param(shown(rolled_back()), True, False, id="rolled back"),
        pytest.param(shown(under_way()), False, False, id="under way"),
        pytest.param(shown(waiting(phase="RolloutPaused")), False, False, id="paused"),
        pytest.param(shown(), False, False, id="nothing reported"),
        pytest.param(shown(stable_at("v1"), observed=2), False, False, id="stable, but the spec has changed since"),
        pytest.param(shown(rolled_back(), action="retry:c3"), False, False, id="rolled back, but a retry is asked for"),
        pytest.param(shown(stable_at("v1", last_action=ABORT), action="abort:a1"), True, True, id="it is answered"),
    ],
)
def test_a_watch_ends_when_it_is(about: Shown, at_rest: bool, succeeded: bool) -> None:
    assert status.is_at_rest(about.service) is at_rest
    assert status.has_succeeded(about.service) is succeeded


def test_programs_get_the_status_and_the_slots() -> None:
    about = shown(stable_at("v1", active_slot="blue"), {Slot.BLUE: SlotPods("v1", 2, 2)})
    assert status.document(about) == {
        "namespace": "ml",
        "name": "chat",
        "generation": 3,
        "status": about.service.source["status"],
        "slots": {"blue": {"role": "active", "revision": "v1", "ready": 2, "wanted": 2}},
    }


def test_what_is_wrong_is_red_and_what_is_well_is_green() -> None:
    failed = shown(rolled_back(), phase="Degraded", conditions=[condition("Ready", "True", "Ready", "it answers")])
    found = status.lines(failed, T0, coloured)
    assert found[0] == "ml/chat  \x1b[31mDegraded\x1b[0m"
    assert found[1] == "Ready       \x1b[32mTrue for 0s: it answers\x1b[0m"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m"), (190, "3m10s"), (3600, "1h"), (86400 * 4 + 7205, "4d2h"), (-3, "0s")],
)
def test_a_span_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_time_is_told_from_now() -> None:
    assert relative(at(60), T0) == "in 1m"
    assert relative(at(-5), T0) == "5s ago"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert columns([("a", "bcd", ""), ("ab", "c", "d")]) == ["a   bcd", "ab  c    d"]


BUSY = AutoscalingStatus(metric="rps", current="31.5", target=10, desired=4, ready=2, last_scale_time=T0)


def autoscaling(about: Shown) -> list[str]:
    """The line of the autoscaler, and what continues it."""
    found = lines(about, at(60))
    first = next(index for index, line in enumerate(found) if line.startswith("Autoscaling"))
    return [
        line.split(maxsplit=1)[1] if index == 0 else line.strip() for index, line in enumerate(found[first : first + 2])
    ]


def test_the_autoscaler_s_view_is_one_line() -> None:
    about = shown(autoscaling=BUSY, conditions=[condition("AutoscalingActive", "True", "Ready")])
    assert autoscaling(about)[0] == "rps 31.5 of 10 per pod, wants 4, 2 ready; last changed 1m ago"


def test_what_keeps_it_from_more_pods_is_named() -> None:
    about = shown(autoscaling=BUSY.model_copy(update={"limited_by": "InsufficientGPU"}))
    assert "2 ready, limited by InsufficientGPU;" in autoscaling(about)[0]


def sleeping(state: SleepState, message: str, **fields: Any) -> AutoscalingStatus:
    sleep = SleepStatus(state=state, since=T0, message=message, wake_seconds=12, **fields)
    return AutoscalingStatus(metric="rps", target=100, sleep=sleep)


def test_a_service_that_sleeps_says_since_when_and_what_wakes_it() -> None:
    asleep = sleeping("Asleep", "the next request wakes it", quiet_since=T0)
    about = shown(autoscaling=asleep, conditions=[condition("AutoscalingActive", "False", "Asleep", "no pods")])
    found = lines(about, at(60))
    (sleep,) = [line.split(maxsplit=1)[1] for line in found if line.startswith("Sleep")]
    told = "Asleep, since 1m ago: the next request wakes it; quiet since 1m ago; the last wake took 12 s"
    assert sleep == told
    assert not any(line.startswith("Autoscaling ") for line in found)


def test_a_metric_that_is_missing_is_told_in_the_autoscaler_s_own_words() -> None:
    unknown = AutoscalingStatus(metric="rps", target=10, limited_by="MetricMissing")
    about = shown(
        autoscaling=unknown,
        conditions=[
            condition("AutoscalingActive", "False", "MetricMissing", "the HPA was unable to compute: no metrics")
        ],
    )
    assert autoscaling(about) == [
        "rps unknown of 10 per pod, wants nothing yet, 0 ready, limited by MetricMissing",
        "the HPA was unable to compute: no metrics",
    ]
