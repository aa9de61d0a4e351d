"""`penstock explain`: why, what for, and what would unblock it."""

import re
import typing
from string import Formatter
from typing import Any

import pytest
from penstock import names
from penstock.api.meta import Condition
from penstock.api.status import (
    AnalysisStatus,
    AutoscalingStatus,
    Blocker,
    CanaryStatus,
    InferenceServiceStatus,
    LastAction,
    RolloutPhase,
    RolloutStatus,
    SleepStatus,
)
from penstock.cli import objects
from penstock.cli.explain import Explanation, Finding, explain
from penstock.cli.main import _parser
from penstock.cli.phases import PHASE_ENDS, Case
from penstock.cli.ways_out import NEED_NOTHING, WAYS_OUT
from penstock.kinds import Manifest
from penstock.names import Reason

from tests.builders import T0, a_service, at, rolled_back, stable_at, under_way

PHASES: tuple[RolloutPhase, ...] = typing.get_args(RolloutPhase)
READY = Condition(type="Ready", status="True", reason="Ready", message="the model answers", last_transition_time=T0)


def condition(kind: str, status: Any, reason: str, message: str = "so it is") -> Condition:
    return Condition(type=kind, status=status, reason=reason, message=message, last_transition_time=T0)


def explained(
    rollout: RolloutStatus | None = None,
    *conditions: Condition,
    observed: int = 3,
    action: str | None = None,
    **status: Any,
) -> Explanation:
    """At one minute past T0; Ready unless a condition says otherwise."""
    told = InferenceServiceStatus(
        observed_generation=observed, conditions=list(conditions or [READY]), rollout=rollout, **status
    )
    asked = {names.ANNOTATION_ACTION: action} if action else {}
    return explain(objects.service(a_service(status=told, annotations=asked).to_dict()), at(60))


def ending(phase: RolloutPhase, **rest: Any) -> str:
    """What ends a rollout in that phase."""
    found = explained(under_way(**{"phase": phase, **rest}))
    return found.findings[-1].way_out


def test_every_reason_has_a_way_out_or_needs_none() -> None:
    assert set(WAYS_OUT) | NEED_NOTHING == set(Reason)
    assert not set(WAYS_OUT) & NEED_NOTHING


def test_every_phase_says_what_ends_it() -> None:
    assert set(PHASE_ENDS) == set(PHASES)


@pytest.mark.parametrize("reason", WAYS_OUT)
@pytest.mark.parametrize("kind", ["Ready", "Stalled"])
def test_a_condition_with_that_reason_comes_with_its_way_out(reason: Reason, kind: str) -> None:
    found = explained(None, condition(kind, "False" if kind == "Ready" else "True", reason))
    (finding,) = found.findings
    assert finding.what == f"{reason} for 1m: so it is"
    assert_is_a_sentence(finding.way_out)


@pytest.mark.parametrize("reason", WAYS_OUT)
def test_a_blocker_with_that_reason_comes_with_its_way_out(reason: Reason) -> None:
    blocker = Blocker(reason=reason, object="Pod/a", message="so it is", since=at(30))
    (finding,) = explained(blocked_by=[blocker]).findings
    assert finding.what == f"{reason} on Pod/a for 30s: so it is"
    assert_is_a_sentence(finding.way_out)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("stable", ["v1", None])
def test_a_rollout_in_that_phase_comes_with_its_ending(phase: RolloutPhase, stable: str | None) -> None:
    assert_is_a_sentence(ending(phase, stable=stable))
    assert_is_a_sentence(ending(phase, stable=stable, deadline_at=None, failed_revision="v2"))


def assert_is_a_sentence(text: str) -> None:
    assert re.fullmatch(r"[A-Z`].*\.", text), text
    assert "{" not in text
    assert "None" not in text
    assert "  " not in text


@pytest.mark.parametrize(
    "sentence", [*WAYS_OUT.values(), *(end(Case(objects.Rollout(), T0)) for end in PHASE_ENDS.values())]
)
def test_every_command_that_a_sentence_names_can_be_given(sentence: str) -> None:
    kubectl = {"logs", "scale_up", "unpause"}
    for _, word, _, _ in Formatter().parse(sentence):
        if word and word not in kubectl:
            assert _parser().parse_args([word.replace("_", "-"), "chat", "-n", "ml"]).command == word


@pytest.mark.parametrize(
    ("reason", "command"),
    [
        (Reason.SMOKE_TEST_FAILED, "`penstock retry chat -n ml`"),
        (Reason.ROLLOUT_PAUSED, "`penstock resume chat -n ml`"),
        (Reason.PAUSED_BY_USER, "`kubectl annotate isvc chat penstock.dev/paused- -n ml`"),
        (Reason.SCALED_TO_ZERO_BY_USER, "`kubectl scale isvc chat --replicas=1 -n ml`"),
        (Reason.CRASH_LOOPING, "`kubectl logs -l serving.penstock.dev/inferenceservice=chat --prefix -n ml`"),
    ],
)
def test_a_command_is_written_out_so_that_it_can_be_copied(reason: Reason, command: str) -> None:
    (finding,) = explained(None, condition("Ready", "False", reason)).findings
    assert command in finding.way_out


@pytest.mark.parametrize(
    ("phase", "recorded", "words"),
    [
        (
            "Waiting",
            {"gate_opens_at": at(240)},
            "by itself at 12:04:00 UTC (in 3m), or now with `penstock promote chat",
        ),
        ("Waiting", {}, "It goes on with `penstock promote chat -n ml`: spec.rollout"),
        ("Waiting", {"canary": CanaryStatus()}, "`penstock promote chat -n ml`: this step has pause: true"),
        ("Waiting", {"canary": CanaryStatus(), "gate_opens_at": T0}, "The step's time is over, and the analysis"),
        ("Scaling", {"canary": CanaryStatus()}, "when the step's pods answer"),
        ("Holding", {"hold_ends_at": at(90)}, "go at 12:01:30 UTC (in 30s), or now with `penstock promote chat"),
        (
            "Holding",
            {"hold_ends_at": T0, "analysis": AnalysisStatus(inconclusive=6)},
            "the analysis has not passed yet",
        ),
        ("Progressing", {"deadline_at": at(600)}, "Without progress it is given up at 12:10:00 UTC (in 9m)."),
        ("Progressing", {"paused_at": T0}, "Its deadline stands still."),
        ("Preparing", {}, "`penstock abort chat -n ml` goes back to revision v1 now."),
        ("Testing", {}, "passed spec.rollout.smokeTest"),
        ("Scaling", {"latched_replicas": 3}, "when 3 pods of the new revision are available"),
        ("Switching", {}, "when all traffic reaches the new revision"),
        ("Aborting", {}, "when revision v1 answers all requests again"),
        ("RolledBack", {"failed_revision": "v2"}, "`penstock retry chat -n ml` tries revision v2 again"),
        ("RolloutPaused", {}, "until `penstock resume chat -n ml`"),
        ("Deploying", {"stable": None}, "no earlier revision to go back to"),
        ("Stable", {}, "`penstock restart chat -n ml`"),
    ],
)
def test_what_ends_the_phase(phase: RolloutPhase, recorded: dict[str, Any], words: str) -> None:
    assert words in ending(phase, **recorded)


def test_a_revision_that_stopped_serving_need_not_have_been_switched_to() -> None:
    """A canary has a share of the traffic without any switch."""
    (finding,) = explained(None, condition("Stalled", "True", Reason.STOPPED_SERVING)).findings
    assert finding.way_out.startswith("Once it had traffic, or a canary's share of it, no pod")
    assert "switch" not in finding.way_out


def test_a_service_that_is_well_is_said_to_be() -> None:
    found = explained(stable_at("v1", message="revision v1 serves"))
    assert found.lines() == [
        "ml/chat is Ready, for 1m: the model answers.",
        "- the rollout is Stable: revision v1 serves",
        "  -> Nothing is on its way. A changed spec begins the next one, and so does `penstock restart chat -n ml`.",
    ]


def test_a_service_that_is_not_ready_is_said_not_to_be() -> None:
    assert explained(None, condition("Ready", "False", "OOMKilled")).verdict == "ml/chat is not Ready, for 1m."


def test_one_that_serves_while_its_update_failed_is_both() -> None:
    failed = condition("Stalled", "True", "SmokeTestFailed", "revision v2 failed its smoke test: 500")
    found = explained(rolled_back(), READY, failed)
    assert found.verdict == "ml/chat is Ready, for 1m: the model answers."
    assert [finding.what.partition(":")[0] for finding in found.findings] == [
        "SmokeTestFailed for 1m",
        "the rollout is RolledBack",
    ]


def test_a_cause_is_told_once_and_from_where_its_object_is_named() -> None:
    blocker = Blocker(reason="OOMKilled", object="Pod/a", message="137")
    found = explained(None, condition("Ready", "False", "OOMKilled"), blocked_by=[blocker])
    assert [finding.what for finding in found.findings] == ["OOMKilled on Pod/a: 137"]


def test_hands_off_is_told_although_it_serves() -> None:
    found = explained(None, READY, condition("Reconciling", "False", "PausedByUser", "hands off"))
    assert [finding.what for finding in found.findings] == ["PausedByUser for 1m: hands off"]


def test_a_service_at_its_bound_is_told_which_field_that_is() -> None:
    busy = AutoscalingStatus(metric="rps", current="31.5", target=10, desired=4, ready=4, limited_by="maxReplicas")
    found = explained(None, READY, condition("AutoscalingActive", "True", "Ready"), autoscaling=busy)
    assert found.findings == (
        Finding(
            "autoscaling: rps 31.5 of 10 per pod, wants 4, 4 ready, limited by maxReplicas",
            "Raise spec.predictor.maxReplicas if it is to have more pods.",
        ),
    )


def test_a_service_that_sleeps_is_told_what_would_wake_it() -> None:
    sleep = SleepStatus(state="Asleep", since=T0, message="the next request wakes it", wake_seconds=12)
    asleep = AutoscalingStatus(metric="rps", target=100, sleep=sleep)
    ready, scaling = condition("Ready", "True", "Asleep"), condition("AutoscalingActive", "False", "Asleep")
    assert explained(None, ready, scaling, autoscaling=asleep).findings == (
        Finding(
            "sleep: Asleep, since 1m ago: the next request wakes it; the last wake took 12 s",
            "Any request to its URL wakes it, and is held until a pod answers. kubectl port-forward needs a pod: it "
            "cannot.",
        ),
    )


def test_one_that_nothing_wakes_is_not_told_that_a_request_would() -> None:
    sleep = SleepStatus(state="Asleep", since=T0, message="no router is ready")
    asleep = AutoscalingStatus(metric="rps", target=100, sleep=sleep)
    found = explained(None, condition("Ready", "False", "NoRouter"), autoscaling=asleep)
    assert [finding.way_out for finding in found.findings if finding.what.startswith("sleep")] == [""]


VERTICAL = {
    "status": {
        "recommendation": {
            "containerRecommendations": [{"containerName": "model", "target": {"memory": "3Gi", "cpu": "900m"}}]
        }
    }
}


def of_vertical(mode: str, vertical: Manifest | None, **requests: str) -> list[str]:
    service = a_service(
        model={"resources": {"requests": requests}},
        autoscaling={"vertical": {"mode": mode}},
        status=InferenceServiceStatus(observed_generation=3, conditions=[READY]),
    )
    found = explain(objects.service(service.to_dict()), at(60), vertical).findings
    return [finding.what for finding in found if finding.what.startswith("vertical")]


def test_what_a_vertical_autoscaler_recommends_stands_beside_what_is_requested() -> None:
    (found,) = of_vertical("Off", VERTICAL, cpu="2", memory="8Gi")
    assert found == (
        "vertical autoscaler: recommends cpu 900m, memory 3Gi for container model, which requests cpu 2, memory 8Gi "
        "(mode Off: changes nothing)"
    )
    (found,) = of_vertical("Initial", VERTICAL)
    assert found.endswith("which requests nothing (mode Initial: sets it in new pods)")
    (found,) = of_vertical("Recreate", VERTICAL)
    assert found.endswith("(mode Recreate: sets it)")


def test_a_vertical_autoscaler_that_says_nothing_yet_is_told() -> None:
    said = "vertical autoscaler: no recommendation yet (mode Off: changes nothing)"
    assert of_vertical("Off", {}) == of_vertical("Off", {"status": {"recommendation": None}}) == [said]
    assert of_vertical("Off", None) == []


@pytest.mark.parametrize(("status", "reason"), [("False", "MetricMissing"), ("Unknown", "WaitingForAutoscaler")])
def test_an_autoscaler_that_does_not_work_is_told(status: str, reason: str) -> None:
    found = explained(None, READY, condition("AutoscalingActive", status, reason))
    assert [finding.what for finding in found.findings] == [f"{reason} for 1m: so it is"]


def test_a_reason_of_a_newer_version_is_told_without_a_way_out() -> None:
    (finding,) = explained(None, condition("Ready", "False", "StruckByLightning")).findings
    assert (finding.what, finding.way_out) == ("StruckByLightning for 1m: so it is", "")


def test_without_a_status_it_asks_for_the_operator() -> None:
    assert explain(objects.service(a_service().to_dict()), T0).lines() == [
        "ml/chat has no status yet.",
        "- no operator has looked at it",
        "  -> Is the operator running, and does it serve this namespace?",
    ]


def test_a_status_of_an_earlier_spec_is_called_so() -> None:
    found = explained(observed=2)
    assert found.findings[0].what == "the spec was changed after this status was written"


def test_an_action_that_nobody_has_answered_is_told() -> None:
    assert explained(action="promote:a1").findings[0].what == "the action promote:a1 has not been answered"


@pytest.mark.parametrize(("result", "is_told"), [("Refused", True), ("Done", False)])
def test_of_answered_actions_the_refused_one_is_told(result: Any, is_told: bool) -> None:
    last = LastAction(verb="promote", id="a1", result=result, message="nothing waits", time=T0)
    found = explained(stable_at("v1", last_action=last), action="promote:a1")
    told = [finding.what for finding in found.findings if "action" in finding.what]
    assert told == (["the last action: promote Refused 1m ago: nothing waits"] if is_told else [])


def test_programs_get_the_same_sentences() -> None:
    found = explained(None, condition("Ready", "False", "NameConflict", "Service chat is not ours"))
    (finding,) = found.findings
    assert found.document() == {
        "verdict": "ml/chat is not Ready, for 1m.",
        "findings": [{"what": "NameConflict for 1m: Service chat is not ours", "wayOut": finding.way_out}],
    }


def test_last_words_of_several_lines_stay_in_their_item() -> None:
    crash = Blocker(reason="CrashLooping", object="Pod/a", message="exit code 1:\nValueError: no")
    found = explained(blocked_by=[crash]).lines()
    assert found[1:3] == ["- CrashLooping on Pod/a: exit code 1:", "  ValueError: no"]
