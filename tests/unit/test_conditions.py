"""The six conditions: Ready is honest, and the others say why."""

from dataclasses import replace
from typing import Any

import pytest
from penstock.names import Reason
from penstock.observed.values import Endpoints, Seen, SeenAutoscaler
from penstock.status.conditions import Facts, Problem, by_type, conditions

from tests.builders import (
    DEADLINE,
    T0,
    a_service,
    at,
    crash_looping,
    during,
    facts,
    leaving,
    loading,
    out_of_memory,
    ready_pod,
    rolled_back,
    rolled_out,
    rolling,
    seen,
    stable_at,
    starting,
    under_way,
    unready,
    with_status,
)

LATE = T0 + DEADLINE
CONFLICT = Problem(Reason.NAME_CONFLICT, "Service chat exists and is not ours")


def told(given: Facts, condition: str) -> tuple[str, str]:
    found = by_type(conditions(given, T0))[condition]
    return found.status, found.reason


def test_all_six_are_set_on_the_first_pass() -> None:
    found = conditions(facts(seen()), T0)
    assert [condition.type for condition in found] == [
        "Ready", "PredictorReady", "Progressing", "AutoscalingActive", "Reconciling", "Stalled",
    ]  # fmt: skip
    assert {condition.observed_generation for condition in found} == {3}


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        pytest.param(facts(seen()), ("False", "WaitingForPods"), id="nothing is there yet"),
        pytest.param(
            facts(seen(None, ready_pod(), deployment=rolled_out())), ("True", "Ready"), id="a ready pod is behind it"
        ),
        pytest.param(
            facts(seen(None, ready_pod(), deployment=rolled_out(), endpoints=Endpoints())),
            ("False", "WaitingForPods"),
            id="a ready pod that no client reaches",
        ),
        pytest.param(
            facts(seen(None, unready(), deployment=starting(), endpoints=Endpoints(frozenset({"chat-0"})))),
            ("False", "WaitingForPods"),
            id="an endpoint that is out of date",
        ),
        pytest.param(
            facts(seen(None, leaving(ready_pod()), deployment=rolled_out())),
            ("False", "WaitingForPods"),
            id="the only pod is leaving",
        ),
        pytest.param(
            facts(seen(None, crash_looping(), deployment=starting())), ("False", "CrashLooping"), id="a crash loop"
        ),
        pytest.param(
            facts(during(stable_at("v1"), starting(), crash_looping())),
            ("False", "CrashLooping"),
            id="a crash loop of what once worked",
        ),
        pytest.param(
            facts(during(under_way(), rolling(), ready_pod("old"), crash_looping("new", "v2")), "v2"),
            ("True", "Ready"),
            id="an update crashes and the old pod serves",
        ),
        pytest.param(
            facts(during(under_way(), rolling(), out_of_memory("old"), crash_looping("new", "v2")), "v2"),
            ("False", "CrashLooping"),
            id="both fail and the one wanted is named",
        ),
        pytest.param(
            facts(during(rolled_back(), rolled_out(), ready_pod()), "v2"), ("True", "Ready"), id="a rollback serves"
        ),
        pytest.param(facts(seen(), problem=CONFLICT), ("False", "NameConflict"), id="a name is taken, nothing serves"),
        pytest.param(
            facts(seen(None, ready_pod(), deployment=rolled_out()), problem=CONFLICT),
            ("True", "Ready"),
            id="a name is taken, but the model serves",
        ),
        pytest.param(facts(seen(a_service(suspend=True))), ("False", "Suspended"), id="suspended"),
        pytest.param(facts(seen(a_service(replicas=0))), ("False", "ScaledToZeroByUser"), id="scaled to zero"),
        pytest.param(
            facts(seen(None, ready_pod(), deployment=rolled_out()), paused="hands off"),
            ("True", "Ready"),
            id="paused services go on serving",
        ),
    ],
)
def test_ready_is_honest_when(given: Facts, verdict: tuple[str, str]) -> None:
    assert told(given, "Ready") == told(given, "PredictorReady") == verdict


@pytest.mark.parametrize(
    ("given", "progressing", "stalled", "reconciling"),
    [
        pytest.param(
            facts(seen()),
            ("True", "RolloutInProgress"),
            ("False", "Reconciled"),
            ("True", "RolloutInProgress"),
            id="a first deployment",
        ),
        pytest.param(
            facts(during(stable_at("v1"), rolled_out(), ready_pod())),
            ("False", "Stable"),
            ("False", "Reconciled"),
            ("False", "Reconciled"),
            id="all is well",
        ),
        pytest.param(
            facts(during(under_way(to="v1", stable=None), starting(), crash_looping()), now=LATE),
            ("False", "ProgressDeadlineExceeded"),
            ("True", "ProgressDeadlineExceeded"),
            ("False", "ProgressDeadlineExceeded"),
            id="a first deployment that is overdue",
        ),
        pytest.param(
            facts(during(under_way(), rolling(), ready_pod()), "v2", LATE),
            ("False", "ProgressDeadlineExceeded"),
            ("True", "ProgressDeadlineExceeded"),
            ("False", "ProgressDeadlineExceeded"),
            id="an update that failed",
        ),
        pytest.param(
            facts(during(rolled_back(), rolled_out(), ready_pod()), "v2"),
            ("False", "ProgressDeadlineExceeded"),
            ("True", "ProgressDeadlineExceeded"),
            ("False", "ProgressDeadlineExceeded"),
            id="rolled back",
        ),
        pytest.param(
            facts(during(under_way(), rolling(), ready_pod()), "v2", problem=CONFLICT),
            ("False", "NameConflict"),
            ("True", "NameConflict"),
            ("False", "NameConflict"),
            id="an update that cannot be written",
        ),
        pytest.param(
            facts(during(under_way(), rolling(), ready_pod()), "v2", paused=""),
            ("False", "PausedByUser"),
            ("False", "Reconciled"),
            ("False", "PausedByUser"),
            id="paused in mid-flight",
        ),
        pytest.param(
            facts(seen(a_service(suspend=True, status=under_way()), deployment=rolled_out("v2", 0)), "v2"),
            ("False", "Suspended"),
            ("False", "Reconciled"),
            ("False", "Reconciled"),
            id="suspended in mid-flight",
        ),
    ],
)
def test_what_is_going_on(
    given: Facts, progressing: tuple[str, str], stalled: tuple[str, str], reconciling: tuple[str, str]
) -> None:
    assert told(given, "Progressing") == progressing
    assert told(given, "Stalled") == stalled
    assert told(given, "Reconciling") == reconciling


@pytest.mark.parametrize(
    ("scaler", "verdict"),
    [
        pytest.param(None, ("Unknown", "WaitingForAutoscaler"), id="no autoscaler yet"),
        pytest.param(SeenAutoscaler(None, None, None), ("Unknown", "WaitingForAutoscaler"), id="it has not acted yet"),
        pytest.param(
            SeenAutoscaler(2, "50", None, {"ScalingActive": ("True", "ValidMetricFound", "")}),
            ("True", "Ready"),
            id="it scales",
        ),
        pytest.param(
            SeenAutoscaler(None, None, None, {"ScalingActive": ("False", "FailedGetPodsMetric", "no such metric")}),
            ("False", "MetricMissing"),
            id="its metric is missing",
        ),
    ],
)
def test_autoscaling_is_active_only_when_the_autoscaler_says_so(
    scaler: SeenAutoscaler | None, verdict: tuple[str, str]
) -> None:
    assert told(facts(seen(a_service(maxReplicas=3), autoscaler=scaler)), "AutoscalingActive") == verdict


def test_a_schedule_in_force_is_told_with_the_time_until_which_it_is() -> None:
    times = {"start": "0 8 * * *", "end": "0 18 * * *", "minReplicas": 3}
    service = a_service(maxReplicas=4, autoscaling={"schedules": [times]})
    about = seen(service, ready_pod(), autoscaler=SeenAutoscaler(1, None, None, {"ScalingActive": ("True", "", "")}))
    found = by_type(conditions(facts(about), T0))["AutoscalingActive"]
    assert found.message == "scaling on rps; at least 3 pods by schedule until 2026-01-01T18:00:00Z"
    evening = by_type(conditions(facts(about, now=at(6 * 3600)), T0))["AutoscalingActive"]
    assert evening.message == "scaling on rps"


@pytest.mark.parametrize(
    ("words", "reason"),
    [({}, "FixedSize"), ({"maxReplicas": 3, "replicas": 0}, "ScaledToZeroByUser"), ({"suspend": True}, "Suspended")],
)
def test_autoscaling_is_inactive_by_the_users_own_choice(words: dict[str, Any], reason: str) -> None:
    assert told(facts(seen(a_service(**words))), "AutoscalingActive") == ("False", reason)


@pytest.mark.parametrize(
    ("container", "proof"),
    [
        (None, "the model answers"),
        ({"image": "vllm"}, "its port accepts connections"),
        ({"image": "vllm", "readinessProbe": {"httpGet": {"path": "/"}}}, "its readiness probe passes"),
    ],
)
def test_ready_says_what_it_rests_on(container: dict[str, Any] | None, proof: str) -> None:
    service = a_service(containers=[container]) if container else a_service()
    ready = by_type(conditions(facts(seen(service, ready_pod(), deployment=rolled_out())), T0))["Ready"]
    assert ready.message == proof


def test_a_condition_that_did_not_change_keeps_its_time() -> None:
    before = facts(seen(None, loading(), deployment=starting()))
    status = with_status(a_service(), a_service().status.model_copy(update={"conditions": conditions(before, T0)}))
    after = by_type(conditions(facts(seen(status, ready_pod(), deployment=starting())), at(60)))
    assert after["Ready"].last_transition_time == at(60)
    assert after["Progressing"].last_transition_time == T0


def test_the_users_reason_for_a_pause_is_repeated() -> None:
    found = by_type(conditions(facts(seen(), paused="audit until Friday"), T0))["Reconciling"]
    assert found.message.endswith("keeps Penstock's hands off: audit until Friday")


def test_two_pods_of_which_one_crashes_still_serve() -> None:
    about: Seen = seen(None, ready_pod("a"), crash_looping("b"), deployment=starting("v1", 2, 2, 1))
    assert told(facts(about), "Ready") == ("True", "Ready")
    assert told(facts(replace(about, pods=(crash_looping("a"), crash_looping("b")))), "Ready")[0] == "False"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param({"minReplicas": 3}, "3 pods by minReplicas: spec.replicas is not set", id="by the least"),
        pytest.param(
            {"minReplicas": 10, "replicas": 3},
            "10 pods by minReplicas: spec.replicas is 3, which is below it",
            id="above what an autoscaler left",
        ),
        pytest.param({"replicas": 5}, "5 pods by spec.replicas, which is above minReplicas (1)", id="by hand"),
        pytest.param({"minReplicas": 2, "replicas": 2}, "2 pods by spec.replicas, as minReplicas asks", id="by both"),
    ],
)
def test_a_fixed_size_says_which_number_rules_and_why(words: dict[str, Any], message: str) -> None:
    found = by_type(conditions(facts(seen(a_service(**words))), T0))["AutoscalingActive"]
    assert (found.status, found.reason) == ("False", "FixedSize")
    assert found.message == f"{message}; autoscaling is off because maxReplicas is not above minReplicas"
