"""Canary, step by step: how many pods of each revision, where the traffic goes, and what the step waits for."""

from dataclasses import replace
from typing import Any

import pytest
from penstock.api.status import CanaryStatus, RolloutStatus
from penstock.names import Slot
from penstock.observed.answers import Answers
from penstock.observed.counters import Window
from penstock.observed.values import Seen, SeenPod
from penstock.rollout import memory
from penstock.rollout.decision import Decision

from tests.builders import (
    DEADLINE,
    T0,
    a_service,
    at,
    behind,
    crash_looping,
    decided,
    leaving,
    loading,
    ready_pod,
    rolled_out,
    seen,
    stable_at,
)
from tests.builders import pending as pending_pod
from tests.builders import under_way as rollout_under_way

BLUE, GREEN = Slot.BLUE, Slot.GREEN
HEALTHY, FAILING, SILENT = Window(requests=100), Window(requests=100, errors=20), Window()


def old(count: int) -> list[SeenPod]:
    return [ready_pod(f"old-{number}") for number in range(count)]


def new(count: int, revision: str = "v2") -> list[SeenPod]:
    return [replace(ready_pod(f"new-{number}", revision), slot=GREEN) for number in range(count)]


def missing_its_probe(pod: SeenPod) -> SeenPod:
    """After a long time of answering."""
    return replace(pod, is_ready=False, running_since=T0 - 2 * DEADLINE, unready_since=T0)


def rollout(step: int | None = None, **rest: Any) -> RolloutStatus:
    """On its way from v1 to v2; at a step both revisions serve."""
    shared: dict[str, Any] = {} if step is None else {"shared_revision": "v2", "canary": CanaryStatus(step=step)}
    return rollout_under_way(**{"strategy": "Canary", "phase": "Preparing", **shared} | rest)


def place(
    status: RolloutStatus,
    *pods: SeenPod,
    wanted: int,
    steps: list[dict[str, Any]] | None = None,
    options: dict[str, Any] | None = None,
    max_unavailable: int = 0,
    selected: Slot = BLUE,
    **rest: Any,
) -> Seen:
    """Blue runs v1 and green v2; each Deployment has just the pods that are there."""
    service = a_service(
        status=status,
        rollout={"strategy": "Canary", "canary": {"steps": steps} if steps else {}, **(options or {})},
        minReplicas=wanted,
        deploymentStrategy={"rollingUpdate": {"maxUnavailable": max_unavailable, "maxSurge": 1}},
    )
    slots = {}
    for slot, revision in ((BLUE, "v1"), (GREEN, "v2")):
        inside = [pod for pod in pods if pod.slot == slot]
        ready = sum(pod.is_ready for pod in inside)
        if inside or slot is BLUE:
            slots[slot] = rolled_out(revision, len(inside), ready=ready, available=ready)
    served = [behind(*pods, slot=slot) for slot in ((BLUE, GREEN) if status.shared_revision else (selected,))]
    endpoints = replace(
        served[0],
        ready=frozenset().union(*(each.ready for each in served)),
        lasting=frozenset().union(*(each.lasting for each in served)),
    )
    noted = memory.notes(status) if status.stable_revision else {}
    known: dict[str, Any] = {"annotations": noted, "slots": slots, "selected": selected, "endpoints": endpoints}
    return seen(service, *pods, **(known | rest))


def sizes(decision: Decision) -> tuple[int, int]:
    """Pods of the old and of the new revision."""
    return (
        sum(plan.replicas for plan in decision.slots.values() if plan.revision == "v1"),
        sum(plan.replicas for plan in decision.slots.values() if plan.revision == "v2"),
    )


def looking(about: Seen, window: Window, seconds: float, *, stable: Window = SILENT) -> Decision:
    """A pass at that time, in which the new pods' counters show this."""
    decision = decided(about, now=at(seconds))
    if not decision.asks.measure:
        return decision
    return decided(replace(about, answers=Answers(measured=(window, stable))), now=at(seconds))


class TestTheFirstPod:
    def test_it_comes_up_beside_all_old_ones_and_gets_no_traffic(self) -> None:
        decision = decided(place(stable_at("v1"), *old(3), wanted=3))
        assert (decision.phase, sizes(decision), decision.is_shared) == ("Preparing", (3, 1), False)

    def test_it_takes_the_place_of_one_that_may_be_missing(self) -> None:
        decision = decided(place(stable_at("v1"), *old(4), wanted=4, max_unavailable=1))
        assert sizes(decision) == (3, 1)

    def test_it_is_tested_before_the_service_leads_to_it(self) -> None:
        about = place(rollout(), *old(3), *new(1), wanted=3, is_smoke_tested=True)
        decision = decided(about)
        assert (decision.phase, decision.is_shared) == ("Testing", False)
        assert decision.asks.smoke == {"new-0"}
        passed = decided(replace(about, answers=Answers({"new-0": None})))
        assert (passed.is_shared, passed.active) == (True, BLUE)

    def test_one_that_fails_its_test_three_times_never_gets_a_request(self) -> None:
        status = rollout()
        for attempt in range(3):
            about = place(status, *old(3), *new(1), wanted=3, is_smoke_tested=True)
            decision = decided(replace(about, answers=Answers({"new-0": "status 500"})), now=at(5 * attempt))
            assert not decision.is_shared
            status = decision.rollout
        assert (decision.failed, decision.rollout.reason) == ("v2", "SmokeTestFailed")

    def test_one_that_makes_no_progress_is_given_up(self) -> None:
        about = place(rollout(), *old(2), wanted=2)
        decision = decided(about, now=T0 + DEADLINE)
        assert (decision.failed, decision.rollout.reason) == ("v2", "ProgressDeadlineExceeded")

    def test_a_stable_revision_that_answers_nothing_never_blocks_it(self) -> None:
        broken = [crash_looping(f"old-{number}") for number in range(2)]
        decision = decided(place(rollout(), *broken, *new(1), wanted=2))
        assert (sizes(decision), decision.is_shared) == ((0, 1), True)
        assert sizes(decided(place(decision.rollout, *new(1), wanted=2))) == (0, 2)

    def test_a_missed_probe_of_the_only_stable_pod_is_not_the_end_of_it(self) -> None:
        about = place(rollout(1), missing_its_probe(*old(1)), *new(1), wanted=1)
        assert sizes(decided(about, now=at(59))) == (1, 1)
        assert sizes(decided(about, now=at(60))) == (0, 1)


class TestAStep:
    def test_no_old_pod_goes_before_a_new_one_answers(self) -> None:
        about = place(rollout(1), *old(4), *new(1), wanted=4, steps=[{"weight": 50}])
        assert sizes(decided(about)) == (3, 1)
        about = place(rollout(1), *old(3), *new(1), wanted=4, steps=[{"weight": 50}])
        assert sizes(decided(about)) == (3, 2)

    def test_it_begins_when_its_pods_answer_and_says_which_share_they_make(self) -> None:
        decision = decided(place(rollout(1), *old(1), *new(1), wanted=1, steps=[{"weight": 10}]))
        assert decision.phase == "Waiting"
        told = decision.rollout.canary
        assert told is not None
        assert (told.weight, told.share, told.reached_at) == (10, "1 of 2 pods: 50 % instead of 10 %", T0)

    def test_it_lasts_as_long_as_it_says_and_the_deadline_does_not_run(self) -> None:
        steps = [{"weight": 50, "pauseSeconds": 3600}]
        status = decided(place(rollout(1), *old(1), *new(1), wanted=2, steps=steps)).rollout
        later = place(status, *old(1), *new(1), wanted=2, steps=steps)
        assert looking(later, HEALTHY, 3599).phase == "Waiting"

    def test_after_it_the_next_one_begins(self) -> None:
        steps = [{"weight": 10, "pauseSeconds": 60}, {"weight": 50}]
        status = rollout(1)
        for second in range(0, 61, 10):
            about = place(status, *old(9), *new(1), wanted=10, steps=steps)
            decision = looking(about, HEALTHY, second)
            status = decision.rollout
        told = decision.rollout.canary
        assert told is not None
        assert (decision.phase, told.step, told.weight, told.reached_at) == ("Scaling", 2, 50, None)
        assert sizes(decision) == (9, 2)

    def test_a_gate_waits_for_promote_and_says_so(self) -> None:
        steps = [{"weight": 50, "pause": True}, {"weight": 51}]
        about = place(rollout(1), *old(1), *new(1), wanted=2, steps=steps)
        decision = decided(about, now=at(100_000))
        assert (decision.phase, "with the action promote" in decision.message) == ("Waiting", True)
        status = decision.rollout.model_copy(update={"is_promoted": True})
        promoted = decided(place(status, *about.pods, wanted=2, steps=steps))
        assert promoted.phase == "Waiting"  # At the step after it, which has the same pods.
        told = promoted.rollout.canary
        assert told is not None
        assert told.step == 2

    def test_errors_end_it(self) -> None:
        status = decided(place(rollout(1), *old(2), *new(1), wanted=2)).rollout
        status = looking(place(status, *old(2), *new(1), wanted=2), SILENT, 0).rollout
        decision = looking(place(status, *old(2), *new(1), wanted=2), FAILING, 10)
        assert (decision.phase, decision.failed, decision.rollout.reason) == ("Aborting", "v2", "AnalysisFailed")
        assert "20 % of 100 requests failed (5xx or 429)" in decision.message

    @pytest.mark.parametrize(
        ("window", "why"),
        [
            (Window(100, errors=100), "100 % of 100 requests failed (5xx or 429)"),
            (Window(100, refused=12), "12 % of 100 requests refused (4xx), 11 points more than revision v1's 1 %"),
        ],
        ids=["429", "404"],
    )
    def test_refusals_end_it_without_a_word_about_analysis_in_the_spec(self, window: Window, why: str) -> None:
        status = decided(place(rollout(1), *old(2), *new(1), wanted=2)).rollout
        status = looking(place(status, *old(2), *new(1), wanted=2), SILENT, 0).rollout
        about = place(status, *old(2), *new(1), wanted=2)
        decision = looking(about, window, 10, stable=Window(1000, refused=10))
        assert (decision.failed, decision.rollout.reason) == ("v2", "AnalysisFailed")
        assert why in decision.message

    def test_errors_after_the_analysis_has_passed_end_it_as_long_as_the_step_lasts(self) -> None:
        steps = [{"weight": 50, "pause": True}]
        status = rollout(1)
        for second in range(0, 80, 10):
            status = looking(place(status, *old(1), *new(1), wanted=2, steps=steps), HEALTHY, second).rollout
        decision = looking(place(status, *old(1), *new(1), wanted=2, steps=steps), FAILING, 80)
        assert (decision.failed, decision.rollout.reason) == ("v2", "AnalysisFailed")

    def test_a_clock_that_was_set_back_makes_no_step_longer(self) -> None:
        reached = rollout(1, canary=CanaryStatus(step=1, reached_at=at(3600)))
        steps = [{"weight": 50, "pauseSeconds": 60}]
        options = {"analysis": {"onNoData": "Promote"}}
        about = place(reached, *old(1), *new(1), wanted=2, steps=steps, options=options)
        assert decided(about).rollout.gate_opens_at == at(60)

    def test_without_traffic_it_waits_and_names_the_ways_out(self) -> None:
        status = rollout(1)
        for second in range(0, 130, 10):
            decision = looking(place(status, *old(2), *new(1), wanted=2), SILENT, second)
            status = decision.rollout
        assert (decision.phase, "promote, retry or abort" in decision.message) == ("Waiting", True)

    @pytest.mark.parametrize("reached_at", [pytest.param(T0, id="at a step"), pytest.param(None, id="between two")])
    def test_new_pods_that_stop_answering_end_it(self, reached_at: Any) -> None:
        reached = rollout(1, canary=CanaryStatus(step=1, reached_at=reached_at))
        crashed = replace(crash_looping("new-0", "v2", exit_code=3), slot=GREEN)
        decision = decided(place(reached, *old(1), crashed, wanted=2))
        assert (decision.failed, decision.rollout.reason) == ("v2", "StoppedServing")
        assert "no pod of revision v2 answers any more: CrashLooping: exit code 3" in decision.message

    def test_probes_that_new_pods_go_on_missing_end_it(self) -> None:
        about = place(rollout(1), *old(1), missing_its_probe(*new(1)), wanted=2)
        assert decided(about, now=at(59)).failed is None
        assert decided(about, now=at(60)).rollout.reason == "StoppedServing"

    @pytest.mark.parametrize(
        "pods",
        [
            pytest.param([], id="not created again yet"),
            pytest.param(["leaving"], id="drained"),
            pytest.param(["leaving", "pending"], id="drained, without another node"),
            pytest.param(["loading"], id="coming up again"),
            pytest.param(["missing its probe"], id="missing its probe"),
        ],
    )
    def test_new_pods_that_answer_nothing_for_no_fault_of_theirs_are_waited_for(self, pods: list[str]) -> None:
        (one,) = new(1)
        made = {
            "leaving": leaving(one),
            "pending": replace(pending_pod("new-1", "v2"), slot=GREEN),
            "loading": replace(loading("new-1", "v2"), slot=GREEN),
            "missing its probe": missing_its_probe(one),
        }
        reached = rollout(1, canary=CanaryStatus(step=1, reached_at=T0), paused_at=T0)
        about = place(reached, *old(1), *(made[each] for each in pods), wanted=2, steps=[{"weight": 50}])
        slots = {**about.slots, GREEN: rolled_out("v2", 1, ready=0, available=0)}
        decision = decided(replace(about, slots=slots), now=at(30))
        assert (decision.failed, sizes(decision), decision.is_shared) == (None, (1, 1), True)
        assert "no pod of revision v2 answers for the moment; v1 has all traffic until one does" in decision.message
        assert decision.requeue_at == at(30) + DEADLINE  # The clock, which stood still at the step, runs.

    def test_where_nothing_answers_at_all_it_says_so(self) -> None:
        crashed = [crash_looping("old-0"), replace(crash_looping("new-0", "v2"), slot=GREEN)]
        decision = decided(place(rollout(1), *crashed, wanted=2))
        assert decision.message.endswith("no pod of revision v2 answers for the moment; v1 answers nothing either")

    def test_they_are_waited_for_no_longer_than_the_deadline(self) -> None:
        about = place(rollout(1), *old(1), replace(pending_pod("new-0", "v2"), slot=GREEN), wanted=2)
        assert decided(about, now=T0 + DEADLINE).rollout.reason == "ProgressDeadlineExceeded"

    def test_the_numbers_follow_the_autoscaler_and_the_time_goes_on(self) -> None:
        reached = rollout(1, canary=CanaryStatus(step=1, reached_at=T0))
        about = place(reached, *old(1), *new(1), wanted=6, steps=[{"weight": 50}])
        decision = decided(about, now=at(30))
        assert decision.phase == "Waiting"
        assert sizes(decision) == (3, 3)
        told = decision.rollout.canary
        assert told is not None
        assert told.reached_at == T0

    def test_a_paused_rollout_keeps_its_share_and_takes_no_step(self) -> None:
        reached = rollout(1, canary=CanaryStatus(step=1, reached_at=T0), is_paused=True)
        about = place(reached, *old(1), *new(1), wanted=2, steps=[{"weight": 50}])
        decision = decided(about, now=at(10_000))
        assert (decision.phase, sizes(decision), decision.is_shared) == ("RolloutPaused", (1, 1), True)

    def test_a_paused_rollout_moves_no_pod_of_a_step_that_has_begun(self) -> None:
        begun = rollout(2, is_paused=True)
        decision = decided(place(begun, *old(3), *new(1), wanted=4, steps=[{"weight": 25}, {"weight": 75}]))
        assert (decision.phase, sizes(decision)) == ("RolloutPaused", (3, 1))

    def test_a_paused_rollout_follows_the_autoscaler_at_its_share(self) -> None:
        begun = rollout(1, is_paused=True)
        decision = decided(place(begun, *old(2), *new(2), wanted=8, steps=[{"weight": 75}]))
        assert sizes(decision) == (4, 4)

    def test_one_that_is_suspended_begins_anew(self) -> None:
        about = place(rollout(2), *old(2), *new(2), wanted=4)
        spec = about.service.spec.model_copy(update={"suspend": True})
        about = replace(about, service=about.service.model_copy(update={"spec": spec}))
        decision = decided(about, is_stopped=True)
        assert (sizes(decision), decision.is_shared) == ((0, 0), False)

    def test_pods_for_which_there_is_no_node_hold_up_nothing(self) -> None:
        waits = [replace(pending_pod("new-1", "v2"), slot=GREEN)]
        about = place(rollout(1), *old(2), *new(1), *waits, wanted=4, steps=[{"weight": 50}])
        assert decided(about).phase == "Waiting"


class TestTheEnd:
    def test_old_pods_go_as_new_ones_answer(self) -> None:
        decision = decided(place(rollout(3), *old(1), *new(2), wanted=2))
        assert (decision.phase, sizes(decision), decision.is_shared) == ("Scaling", (0, 2), True)

    def test_when_none_is_left_the_service_selects_the_new_ones_alone(self) -> None:
        decision = decided(place(rollout(3), *new(2), wanted=2))
        assert (decision.phase, decision.active, decision.is_shared) == ("Switching", GREEN, False)
        assert decision.requeue_at == T0  # Nothing else would wake the pass that ends it.

    def test_no_deadline_ends_what_has_all_that_it_needs(self) -> None:
        decision = decided(place(rollout(3, available_replicas=2), *new(2), wanted=2), now=T0 + 2 * DEADLINE)
        assert (decision.phase, decision.active, decision.failed) == ("Switching", GREEN, None)

    def test_then_the_new_revision_is_the_stable_one(self) -> None:
        about = place(rollout(None, canary=CanaryStatus(step=3)), *new(2), wanted=2, selected=GREEN)
        decision = decided(about)
        assert (decision.phase, decision.stable, sizes(decision)) == ("Stable", "v2", (0, 2))
        assert decision.rollout.canary is None

    @pytest.mark.parametrize("step", [1, 2])
    def test_promote_full_leaves_all_steps_out(self, step: int) -> None:
        reached = rollout(step, canary=CanaryStatus(step=step, reached_at=T0), is_fully_promoted=True)
        decision = decided(place(reached, *old(1), *new(1), wanted=2))
        told = decision.rollout.canary
        assert told is not None
        assert (told.step, sizes(decision)) == (3, (1, 2))


class TestTheWayBack:
    def test_the_old_pods_are_back_before_the_new_ones_go(self) -> None:
        status = rollout(2, failed_revision="v2", phase="Aborting")
        first = decided(place(status, *old(2), *new(2), wanted=4))
        assert (first.phase, sizes(first), first.is_shared) == ("Aborting", (3, 2), True)
        second = decided(place(status, *old(3), *new(2), wanted=4))
        assert sizes(second) == (3, 1)

    def test_new_pods_that_do_not_answer_go_at_once(self) -> None:
        status = rollout(2, failed_revision="v2", phase="Aborting")
        crashed = [replace(pod, is_ready=False) for pod in new(2)]
        assert sizes(decided(place(status, *old(2), *crashed, wanted=4))) == (3, 0)

    def test_at_its_end_the_service_selects_the_old_ones_alone(self) -> None:
        status = rollout(2, failed_revision="v2", phase="Aborting")
        decision = decided(place(status, *old(4), wanted=4))
        assert (decision.phase, decision.is_shared, sizes(decision)) == ("RolledBack", False, (4, 0))

    def test_a_spec_put_back_is_the_same_way(self) -> None:
        at_a_step = rollout(2, message="step 2 of 2 with 2 of 4 pods: 50 %")
        decision = decided(place(at_a_step, *old(2), *new(2), wanted=4), "v1")
        assert (decision.phase, sizes(decision), decision.is_shared) == ("Aborting", (3, 2), True)
        assert decision.message == "going back to revision v1"

    def test_what_was_restored_is_told_when_it_is(self) -> None:
        crashed = replace(crash_looping("new-0", "v2"), slot=GREEN)
        first = decided(place(rollout(1), *old(1), crashed, wanted=2))
        assert first.message.endswith("CrashLooping: exit code 1; going back to v1")
        last = decided(place(first.rollout, *old(2), wanted=2))
        assert last.message.endswith("CrashLooping: exit code 1; v1 was restored")

    @pytest.mark.parametrize("spec", [pytest.param("v2", id="forward"), pytest.param("v1", id="back")])
    def test_a_deployment_deleted_from_above_its_pods_comes_back_for_them(self, spec: str) -> None:
        about = place(rollout(1), *old(1), *new(1), wanted=2)
        orphaned = replace(about, slots={BLUE: about.slots[BLUE]})
        decision = decided(orphaned, spec)
        assert (decision.slots[GREEN].revision, decision.slots[GREEN].replicas) == ("v2", 1)
        assert decision.is_shared

    def test_new_pods_give_up_a_place_that_the_old_ones_wait_for(self) -> None:
        status = rollout(2, failed_revision="v2", phase="Aborting")
        decision = decided(place(status, *old(1), pending_pod("old-1"), *new(1), wanted=2))
        assert sizes(decision) == (2, 0)

    def test_they_stay_where_nothing_else_could_answer_though_no_endpoint_lists_them_yet(self) -> None:
        about = place(rollout(1), *new(1), wanted=1)
        decision = decided(replace(about, endpoints=behind(), slots={GREEN: rolled_out("v2")}), "v1")
        assert sizes(decision) == (1, 1)

    def test_they_give_up_a_place_in_a_quota_too(self) -> None:
        status = rollout(2, failed_revision="v2", phase="Aborting")
        about = place(status, *old(1), *new(1), wanted=2)
        short = rolled_out("v1", 2, replicas=1, ready=1, available=1, creation_failure="exceeded quota: pods")
        decision = decided(replace(about, slots={**about.slots, BLUE: short}))
        assert sizes(decision) == (2, 0)

    def test_pods_of_a_newer_revision_are_no_canary_before_they_are_tested(self) -> None:
        # The operator was killed when it had written the Deployment of v3 and not yet the Service, which shared v2.
        status = rollout(current_revision="v3", shared_revision="v2")
        third = [replace(ready_pod("third", "v3"), slot=GREEN)]
        about = place(status, *old(2), *third, wanted=2, is_smoke_tested=True)
        slots = {**about.slots, GREEN: rolled_out("v3")}
        decision = decided(replace(about, slots=slots), "v3")
        assert (decision.phase, decision.failed, decision.rollout.shared_revision) == ("Preparing", None, "v2")

    def test_the_clock_of_a_newer_revision_begins_when_its_turn_comes(self) -> None:
        waits = decided(place(rollout(2), *old(2), *new(2), wanted=4), "v3")
        later = T0 + 2 * DEADLINE
        turn = decided(place(waits.rollout, *old(4), wanted=4), "v3", now=later)
        assert (turn.phase, turn.failed) == ("Preparing", None)

    def test_a_newer_revision_waits_until_the_earlier_ones_pods_have_gone(self) -> None:
        about = place(rollout(2), *old(2), *new(2), wanted=4)
        decision = decided(about, "v3")
        assert (decision.phase, sizes(decision), decision.is_shared) == ("Preparing", (3, 2), True)
        gone = decided(place(decision.rollout, *old(4), wanted=4), "v3")
        assert not gone.is_shared
        assert gone.slots[GREEN].revision == "v3"

    def test_one_that_is_paused_keeps_the_earlier_ones_pods(self) -> None:
        waits = decided(place(rollout(2), *old(2), *new(2), wanted=4), "v3").rollout
        paused = waits.model_copy(update={"is_paused": True})
        decision = decided(place(paused, *old(2), *new(2), wanted=4), "v3")
        assert (decision.phase, sizes(decision), decision.is_shared) == ("RolloutPaused", (2, 2), True)

    def test_a_stable_revision_that_answers_nothing_does_not_block_a_newer_one_either(self) -> None:
        broken = crash_looping("old-0")
        decision = decided(place(rollout(2), broken, *new(1), wanted=2), "v3")
        # The earlier canary is all that answers: it serves on alone, and the fix takes the place of what is broken.
        assert (decision.active, decision.is_shared, sizes(decision)) == (GREEN, False, (1, 1))
        alone = decided(place(decision.rollout, broken, *new(1), wanted=2, selected=GREEN), "v3")
        assert (alone.phase, alone.active) == ("Preparing", GREEN)
        assert (alone.slots[GREEN].revision, alone.slots[BLUE].revision) == ("v2", "v3")

    def test_a_way_back_without_a_stable_pod_that_answers_says_what_it_waits_for(self) -> None:
        status = rollout(
            2,
            failed_revision="v2",
            phase="Aborting",
            reason="AbortedByUser",
            failure="revision v2 was aborted by the user",
        )
        decision = decided(place(status, crash_looping("old-0"), *new(1), wanted=2))
        assert decision.message == ("revision v2 was aborted by the user; waiting: no pod of revision v1 answers")
        assert sizes(decision)[1] == 1

    def test_another_strategy_for_a_newer_revision_waits_too(self) -> None:
        about = place(rollout(2), *old(2), *new(2), wanted=4, options={"strategy": "RollingUpdate"})
        decision = decided(about, "v3")
        assert (decision.rollout.strategy, sizes(decision), decision.is_shared) == ("RollingUpdate", (3, 2), True)
