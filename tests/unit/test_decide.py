"""The rollout's policy: what the active slot is to run, from what was seen and the time."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from penstock import names
from penstock.api.status import InferenceServiceStatus, LastAction, RolloutStatus
from penstock.names import Reason, Slot
from penstock.observed.causes import Cause
from penstock.observed.values import Seen, SeenDeployment, SeenPod
from penstock.rollout import memory
from penstock.rollout.decide import needs_room
from penstock.slot_plan import SlotPlan

from tests.builders import (
    DEADLINE,
    REMEMBERED,
    T0,
    WIPED,
    a_service,
    crash_looping,
    decided,
    during,
    pending,
    ready_pod,
    rolled_back,
    rolled_out,
    rolling,
    seen,
    stable_at,
    starting,
    under_way,
    unobserved,
    with_status,
)

JUST_BEFORE, AT, LATER = (T0 + DEADLINE - timedelta(seconds=1), T0 + DEADLINE, T0 + 3 * DEADLINE)


@pytest.mark.parametrize(
    ("about", "current", "now", "outcome"),
    [
        pytest.param(seen(), "v1", T0, ("Deploying", "v1", None, None), id="the first deployment starts"),
        pytest.param(
            during(under_way(to="v1", stable=None), starting("v1", 2, 2, 1)),
            "v1",
            T0,
            ("Deploying", "v1", None, None),
            id="the first deployment is not done before every pod is available",
        ),
        pytest.param(
            during(under_way(to="v1", stable=None), rolled_out("v1", 2)),
            "v1",
            T0,
            ("Stable", "v1", "v1", None),
            id="the first deployment is done and becomes the stable revision",
        ),
        pytest.param(
            during(under_way(to="v1", stable=None), starting("v1")),
            "v1",
            LATER,
            ("Deploying", "v1", None, None),
            id="a first deployment has nothing to go back to and keeps trying",
        ),
        pytest.param(
            during(stable_at("v1"), rolled_out("v1")),
            "v1",
            LATER,
            ("Stable", "v1", "v1", None),
            id="a stable revision has no deadline",
        ),
        pytest.param(
            during(stable_at("v1"), starting("v1", 3, 3, 0)),
            "v1",
            LATER,
            ("Stable", "v1", "v1", None),
            id="a stable revision whose pods all fail stays the stable one",
        ),
        pytest.param(
            during(stable_at("v1"), rolled_out("v1")),
            "v2",
            T0,
            ("Progressing", "v2", "v1", None),
            id="an edited spec starts an update",
        ),
        pytest.param(
            during(under_way(), unobserved("v2")),
            "v2",
            T0,
            ("Progressing", "v2", "v1", None),
            id="what the Deployment said of the template before proves nothing of the new one",
        ),
        pytest.param(
            during(under_way(), rolling(new_available=1)),
            "v2",
            T0,
            ("Progressing", "v2", "v1", None),
            id="an update is not done while an old pod is there",
        ),
        pytest.param(
            during(under_way(), rolled_out("v2", 2)),
            "v2",
            T0,
            ("Stable", "v2", "v2", None),
            id="an update is done when every pod is new and available",
        ),
        pytest.param(
            during(under_way(), rolled_out("v2")),
            "v2",
            LATER,
            ("Stable", "v2", "v2", None),
            id="an update that is complete by its deadline's pass has not failed",
        ),
        pytest.param(
            during(under_way(), rolling()),
            "v2",
            JUST_BEFORE,
            ("Progressing", "v2", "v1", None),
            id="a second before the deadline an update goes on",
        ),
        pytest.param(
            during(under_way(), rolling()),
            "v2",
            AT,
            ("Aborting", "v1", "v1", "v2"),
            id="at the deadline the stable revision is restored",
        ),
        pytest.param(
            during(rolled_back(), rolling("v1")),
            "v2",
            LATER,
            ("RolledBack", "v1", "v1", "v2"),
            id="rolled back stays rolled back",
        ),
        pytest.param(
            during(rolled_back(), rolled_out("v1")),
            "v2",
            LATER,
            ("RolledBack", "v1", "v1", "v2"),
            id="a restored revision that is complete changes nothing",
        ),
        pytest.param(
            during(rolled_back(), rolled_out("v1")),
            "v3",
            LATER,
            ("Progressing", "v3", "v1", None),
            id="another spec, or a restart, is tried afresh",
        ),
        pytest.param(
            during(rolled_back(), rolled_out("v1")),
            "v1",
            LATER,
            ("Stable", "v1", "v1", None),
            id="a spec put back to the stable one ends the matter",
        ),
        pytest.param(
            during(stable_at("v1"), rolled_out("v1")),
            "v1-again",
            T0,
            ("Progressing", "v1-again", "v1", None),
            id="a restart token is an ordinary new revision",
        ),
        pytest.param(
            during(under_way(), rolling()),
            "v3",
            T0,
            ("Progressing", "v3", "v1", None),
            id="v3 in the midst of v2 goes back to v1 if need be",
        ),
        pytest.param(
            during(under_way(to="v3"), rolling("v3")),
            "v3",
            AT,
            ("Aborting", "v1", "v1", "v3"),
            id="v3 failing goes back to v1, never to v2",
        ),
        pytest.param(
            during(under_way(), rolling()),
            "v3",
            LATER,
            ("Progressing", "v3", "v1", None),
            id="v3 does not inherit the overdue clock of v2",
        ),
        pytest.param(
            during(under_way(), rolling()),
            "v1",
            LATER,
            ("Aborting", "v1", "v1", None),
            id="reverting to the stable revision in mid-flight is not done before its pods are back",
        ),
        pytest.param(
            during(None, rolled_out("v1")),
            "v1",
            T0,
            ("Stable", "v1", "v1", None),
            id="a wiped status is found again from a complete Deployment",
        ),
        pytest.param(
            during(None, rolled_out("v1")),
            "v2",
            T0,
            ("Progressing", "v2", "v1", None),
            id="a status wiped before any update still knows where to go back to",
        ),
        pytest.param(
            during(None, rolling(), annotations=REMEMBERED),
            "v2",
            T0,
            ("Progressing", "v2", "v1", None),
            id="a status wiped in mid-flight is rebuilt from the Service",
        ),
        pytest.param(
            during(None, rolled_out("v1"), annotations=REMEMBERED | {names.ANNOTATION_FAILED: "v2"}),
            "v2",
            T0,
            ("RolledBack", "v1", "v1", "v2"),
            id="a status wiped after a rollback does not try the failed revision again",
        ),
        pytest.param(
            during(None, starting("v1")),
            "v2",
            T0,
            ("Deploying", "v2", None, None),
            id="a revision that never was complete is nothing to go back to",
        ),
        pytest.param(
            during(under_way(), rolling(), annotations={names.ANNOTATION_STABLE: "nonsense"}),
            "v2",
            AT,
            ("Aborting", "v1", "v1", "v2"),
            id="an annotation that somebody edited to what never was counts for nothing",
        ),
    ],
)
def test_what_runs_next(
    about: Seen, current: str, now: datetime, outcome: tuple[str, str, str | None, str | None]
) -> None:
    decision = decided(about, current, now)
    assert (decision.phase, decision.target, decision.stable, decision.failed) == outcome
    assert decision.current == current


@pytest.mark.parametrize(
    ("status", "deployment", "pods", "is_done"),
    [
        pytest.param(
            under_way(),
            SeenDeployment("v2", 3, 3, 3, ready=1, available=1, is_observed=True),
            [ready_pod("a", "v2"), pending("b", "v2"), pending("c", "v2")],
            True,
            id="surplus pods that find no node do not hold a rollout",
        ),
        pytest.param(
            under_way(),
            SeenDeployment("v2", 3, 3, 3, ready=1, available=1, is_observed=True),
            [ready_pod("a", "v2"), pending("b", "v2"), crash_looping("c", "v2")],
            False,
            id="a pod that crashes does",
        ),
        pytest.param(
            under_way(),
            SeenDeployment("v2", 2, 2, 2, is_observed=True),
            [pending("a", "v2"), pending("b", "v2")],
            False,
            id="no pod at all proves nothing",
        ),
        pytest.param(
            under_way(),
            SeenDeployment("v2", 1, 2, 1, ready=1, available=1, is_observed=True),
            [ready_pod("a"), pending("b", "v2")],
            False,
            id="a new pod without a node beside the old one is no end",
        ),
        pytest.param(
            under_way(to="v1", stable=None),
            SeenDeployment("v1", 0, is_observed=True),
            [],
            False,
            id="no pods wanted yet is no success",
        ),
        pytest.param(
            under_way(),
            SeenDeployment("v2", 3, 2, 2, ready=2, available=2, is_observed=True),
            [],
            False,
            id="pods that are still to be created are waited for",
        ),
        pytest.param(
            under_way(to="v1", stable=None),
            SeenDeployment("v1", 3, 2, 2, ready=2, available=2, is_observed=True, creation_failure="exceeded quota"),
            [ready_pod("a"), ready_pod("b")],
            True,
            id="pods that a quota keeps from being created do not hold a rollout",
        ),
    ],
)
def test_when_a_rollout_is_complete(status: Any, deployment: SeenDeployment, pods: list[Any], is_done: bool) -> None:
    decision = decided(during(status, deployment, *pods), deployment.revision)
    assert (decision.phase == "Stable") is is_done


def test_a_late_progress_revives_an_overdue_first_deployment() -> None:
    about = during(under_way(to="v1", stable=None), starting("v1", 2, 2, 1))
    decision = decided(about, "v1", LATER)
    assert (decision.is_overdue, decision.rollout.deadline_at) == (False, LATER + DEADLINE)


def test_an_overdue_first_deployment_says_so_and_asks_for_no_more_looks() -> None:
    decision = decided(during(under_way(to="v1", stable=None), starting("v1")), "v1", AT)
    assert decision.is_overdue
    assert decision.requeue_at is None


def test_a_way_back_in_place_asks_for_no_more_pods_than_have_a_node() -> None:
    # While one waits for a node, the Deployment controller ends none of the failed ones that wait for one, too.
    failed = under_way(phase="Aborting", failed_revision="v2")
    service = a_service(status=failed, minReplicas=2)
    waiting = [pending("old-1"), pending("new-0", "v2")]
    first = decided(seen(service, ready_pod("old-0"), *waiting, deployment=rolling("v1", wanted=2, new=2, old=0)))
    assert first.slots[Slot.BLUE].replicas == 1
    # Nor does it ask for them again before it is at rest.
    about = seen(service, ready_pod("old-0"), deployment=rolling("v1", wanted=1, new=1, old=1))
    assert (decided(about).phase, decided(about).slots[Slot.BLUE].replicas) == ("Aborting", 1)
    done = decided(seen(service, ready_pod("old-0"), deployment=rolled_out("v1")))
    assert (done.phase, done.slots[Slot.BLUE].replicas) == ("RolledBack", 2)


def test_a_way_back_in_place_stops_no_pod_that_answers_for_one_that_finds_no_node() -> None:
    failed = under_way(phase="Aborting", failed_revision="v2", failure="it failed")
    service = a_service(status=failed, minReplicas=2)
    pods = [ready_pod("old-0"), ready_pod("old-1"), pending("new-0", "v2")]
    decision = decided(seen(service, *pods, deployment=rolling("v1", wanted=2, new=2, new_available=2, old=1)))
    assert decision.slots[Slot.BLUE].replicas == 2
    assert decision.message == "it failed; going back to v1; waiting: there is no room for 1 of the pods"


def test_pods_beside_those_that_serve_go_though_their_deployment_was_deleted_from_above_them() -> None:
    left = replace(ready_pod("left", "v3"), slot=Slot.GREEN)
    decision = decided(during(stable_at("v1"), rolled_out("v1"), ready_pod(), left), "v1")
    assert (decision.slots[Slot.GREEN].revision, decision.slots[Slot.GREEN].replicas) == ("v3", 0)


def test_a_failure_names_its_cause() -> None:
    cause = Cause(Reason.CRASH_LOOPING, "Pod/chat-1", "exit code 3: no such model", "v2")
    decision = decided(during(under_way(), rolling()), now=AT, causes=[cause])
    assert decision.message == (
        "revision v2 made no progress for 600 s: CrashLooping: exit code 3: no such model; going back to v1"
    )


def test_the_failure_is_still_told_as_long_as_it_is_rolled_back() -> None:
    failed = during(rolled_back(failure="it crashed"), rolled_out("v1"))
    assert decided(failed, now=LATER).message == "it crashed; v1 was restored"


def test_a_rollout_ends_by_the_strategy_it_began_with() -> None:
    edited = a_service(rollout={"strategy": "Recreate"}, status=under_way(strategy="RollingUpdate"))
    assert decided(seen(edited, deployment=rolling())).rollout.strategy == "RollingUpdate"


def test_the_next_rollout_goes_by_the_strategy_of_its_own_spec() -> None:
    edited = a_service(rollout={"strategy": "Recreate"}, status=under_way(strategy="RollingUpdate"))
    assert decided(seen(edited, deployment=rolling()), "v3").rollout.strategy == "Recreate"


def test_a_longer_deadline_holds_at_once() -> None:
    patient = a_service(rollout={"progressDeadlineSeconds": 10_000}, status=under_way())
    assert decided(seen(patient, deployment=rolling()), now=LATER).phase == "Progressing"


@pytest.mark.parametrize(
    ("deployment", "words"),
    [
        pytest.param(None, "revision v2 is being started", id="nothing there yet"),
        pytest.param(unobserved("v2"), "revision v2 is being started", id="written, not acted upon"),
        pytest.param(
            rolling(wanted=3, new=2, new_available=1, old=2),
            "1 of 3 pods of revision v2 are available, 2 of v1 still there",
            id="half way",
        ),
        pytest.param(
            rolling(wanted=3, new=3, new_available=2, old=0),
            "2 of 3 pods of revision v2 are available",
            id="the old ones are gone",
        ),
    ],
)
def test_the_message_says_where_the_rollout_stands(deployment: SeenDeployment | None, words: str) -> None:
    assert decided(during(under_way(), deployment)).message == words


def test_a_retry_is_planned_by_what_there_is_room_for() -> None:
    asked = {names.ANNOTATION_ACTION: "retry:1"}
    service = a_service(status=rolled_back(), rollout={"strategy": "Auto"}, annotations=asked)
    assert needs_room(seen(service, deployment=rolled_out("v1"), current="v2"), T0, wanted=1)


@pytest.mark.parametrize("verb", ["promote", "promote-full"])
def test_what_was_promoted_stays_promoted_when_the_status_is_wiped(verb: str) -> None:
    noted = memory.notes(under_way(last_action=LastAction(number=1, verb=verb, id="a", result="Done")))
    service = a_service(rollout={"strategy": "BlueGreen"})
    about = seen(service, ready_pod(), deployment=rolled_out("v1"), annotations=noted)
    rollout = decided(about).rollout
    assert (rollout.is_promoted, rollout.is_fully_promoted or False) == (True, verb == "promote-full")


BROKEN_FIRST = under_way(to="v1", stable=None, strategy=None)
STRATEGIES = ("Auto", "RollingUpdate", "Recreate", "BlueGreen", "Canary")


def a_first_of(strategy: str, status: RolloutStatus | InferenceServiceStatus, *pods: SeenPod, wanted: int = 1) -> Seen:
    """A service whose first revision, v1, has these pods."""
    service = a_service(status=status, rollout={"strategy": strategy}, minReplicas=wanted)
    ready = sum(pod.is_ready for pod in pods)
    return seen(service, *pods, deployment=starting("v1", wanted, len(pods), ready), selected=None)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_pods_of_a_first_revision_that_never_worked_go_before_the_fix_comes(strategy: str) -> None:
    decision = decided(a_first_of(strategy, BROKEN_FIRST, crash_looping()), "v2")
    assert (decision.stable, decision.phase) == (None, "Deploying")
    assert decision.slots == {Slot.BLUE: SlotPlan("v2", 1, "Recreate")}
    assert decision.rollout.plan == (
        "Recreate: no revision was ever rolled out, and no pod answers, so there is nothing to protect: "
        "the old pods stop before their successors start"
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_operator_that_finds_the_fix_waiting_behind_a_broken_first_revision_lets_that_go(strategy: str) -> None:
    # As an operator before this rule, or a status that was wiped in between, has left it.
    for status in (under_way(stable=None, strategy=None), WIPED):
        service = a_service(status=status, rollout={"strategy": strategy})
        about = seen(service, crash_looping(), pending("chat-1", "v2"), deployment=rolling(to="v2"), selected=None)
        assert decided(about, "v2").slots == {Slot.BLUE: SlotPlan("v2", 1, "Recreate")}


def test_the_fix_of_a_fix_comes_the_same_way() -> None:
    first = decided(a_first_of("Auto", BROKEN_FIRST, crash_looping()), "v2").rollout
    about = during(first, starting("v2"), crash_looping("chat-1", "v2"), selected=None)
    assert decided(about, "v3").slots == {Slot.BLUE: SlotPlan("v3", 1, "Recreate")}


def test_a_first_revision_that_is_fixed_is_rolled_out_as_any_other() -> None:
    fixing = decided(a_first_of("Auto", BROKEN_FIRST, crash_looping()), "v2").rollout
    decision = decided(during(fixing, rolled_out("v2"), ready_pod("chat-1", "v2"), selected=None), "v2")
    assert (decision.phase, decision.stable) == ("Stable", "v2")


@pytest.mark.parametrize("status", [BROKEN_FIRST, WIPED])
def test_a_first_revision_of_which_some_pods_answer_is_protected(
    status: RolloutStatus | InferenceServiceStatus,
) -> None:
    about = a_first_of("Auto", status, ready_pod(), crash_looping("chat-1"), crash_looping("chat-2"), wanted=3)
    assert needs_room(replace(about, current="v2"), T0, wanted=3)
    decision = decided(about, "v2")
    assert (decision.stable, decision.phase) == ("v1", "Progressing")
    assert decision.slots[Slot.BLUE].way == "RollingUpdate"
    # The one that answers serves still when the new revision has had its time.
    late = decided(
        replace(about, service=with_status(about.service, InferenceServiceStatus(rollout=decision.rollout))), "v2", AT
    )
    assert late.slots[Slot.BLUE].revision == "v1"


def test_pods_that_answer_are_not_taken_for_a_first_revision_because_the_status_was_wiped() -> None:
    about = seen(a_service(status=WIPED), ready_pod(), deployment=rolled_out("v1"), selected=None)
    assert decided(about, "v2").stable == "v1"


def test_the_next_revision_does_not_wait_behind_one_that_replaces_the_only_pod() -> None:
    # One GPU: v1 had to go for v2, which crashes; v3 needs the place of that.
    replacing = under_way(strategy="Recreate", plan="Recreate: 0 of 1 nvidia.com/gpu free")
    decision = decided(during(replacing, starting("v2"), crash_looping("chat-1", "v2")), "v3")
    assert decision.slots == {Slot.BLUE: SlotPlan("v3", 1, "Recreate")}
    assert decision.rollout.plan == "Recreate: another one was under way in place"
