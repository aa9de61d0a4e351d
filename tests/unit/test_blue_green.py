"""BlueGreen, step by step: what each slot runs, where the traffic goes, and what the step waits for."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from penstock.api.status import AnalysisStatus, RolloutStatus, SmokeTestStatus
from penstock.names import Slot
from penstock.observed.answers import Answers
from penstock.observed.counters import Window
from penstock.observed.values import Endpoints, Seen, SeenDeployment, SeenPod
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
    pending,
    ready_pod,
    rolled_out,
    seen,
    stable_at,
    starting,
    under_way,
)

BLUE, GREEN = Slot.BLUE, Slot.GREEN


def green(pod: SeenPod) -> SeenPod:
    return replace(pod, slot=GREEN)


def old(number: int = 0) -> SeenPod:
    return ready_pod(f"old-{number}")


def new(number: int = 0) -> SeenPod:
    return green(ready_pod(f"new-{number}", "v2"))


def rollout(**rest: Any) -> RolloutStatus:
    """On its way from v1 to v2."""
    return under_way(**{"strategy": "BlueGreen", "phase": "Preparing"} | rest)


def place(
    status: RolloutStatus,
    there: SeenDeployment | None,
    *pods: SeenPod,
    here: SeenDeployment | None = None,
    selected: Slot = BLUE,
    options: dict[str, Any] | None = None,
    wanted: int = 1,
    rest: dict[str, Any] | None = None,
) -> Seen:
    """Blue runs v1 and green v2; `selected` is where the traffic goes."""
    service = a_service(
        status=status,
        rollout={"strategy": "BlueGreen", "smokeTest": {"enabled": False}, **(options or {})},
        minReplicas=wanted,
    )
    slots = {BLUE: here or rolled_out("v1", wanted), **({GREEN: there} if there else {})}
    known: dict[str, Any] = {"slots": slots, "selected": selected, "endpoints": behind(*pods, slot=selected)}
    return seen(service, *pods, **(known | (rest or {})))


def runs(decision: Decision, slot: Slot) -> tuple[str, int] | None:
    plan = decision.slots.get(slot)
    return (plan.revision, plan.replicas) if plan else None


class TestBeforeTheSwitch:
    def test_the_new_revision_comes_up_in_the_other_slot_and_the_old_one_is_left_alone(self) -> None:
        decision = decided(place(stable_at("v1"), None, old()))
        assert decision.phase == "Preparing"
        assert decision.active is BLUE
        assert (runs(decision, BLUE), runs(decision, GREEN)) == (("v1", 1), ("v2", 1))
        assert decision.rollout.preview_slot == GREEN

    def test_the_preview_may_be_smaller_than_what_serves(self) -> None:
        options = {"blueGreen": {"previewReplicas": 1}}
        decision = decided(place(stable_at("v1"), None, options=options, wanted=5))
        assert runs(decision, GREEN) == ("v2", 1)

    def test_a_preview_of_one_never_takes_over_from_five(self) -> None:
        options = {"blueGreen": {"previewReplicas": 1}}
        about = place(rollout(), rolled_out("v2", 1), *(old(n) for n in range(5)), new(), options=options, wanted=5)
        decision = decided(about)
        assert (decision.phase, decision.active) == ("Scaling", BLUE)
        assert decision.rollout.latched_replicas == 5
        assert runs(decision, GREEN) == ("v2", 5)

    def test_what_it_needs_is_fixed_when_the_gate_opens_whatever_the_autoscaler_wants_later(self) -> None:
        latched = rollout(phase="Scaling", latched_replicas=5)
        pods = [*(old(n) for n in range(5)), *(new(n) for n in range(5))]
        for wanted in (4, 9):
            decision = decided(place(latched, rolled_out("v2", 5), *pods, wanted=wanted))
            assert decision.phase == "Switching"
            assert decision.active is GREEN
            assert runs(decision, GREEN) == ("v2", 5)

    def test_what_has_all_that_it_needs_takes_over_however_late(self) -> None:
        late = rollout(phase="Scaling", latched_replicas=1, available_replicas=1)
        decision = decided(place(late, rolled_out("v2"), old(), new()), now=T0 + 2 * DEADLINE)
        assert (decision.phase, decision.active, decision.failed) == ("Switching", GREEN, None)
        arrives = decided(place(decision.rollout, rolled_out("v2"), old(), new()), now=T0 + 3 * DEADLINE)
        assert (arrives.phase, arrives.failed) == ("Switching", None)

    def test_it_waits_for_the_soak_and_the_deadline_does_not_run_meanwhile(self) -> None:
        options = {"blueGreen": {"autoPromoteAfterSeconds": 60}}
        about = place(rollout(), rolled_out("v2"), old(), new(), options=options)
        decision = decided(about)
        assert (decision.phase, decision.active, decision.requeue_at) == ("Waiting", BLUE, at(60))
        told = decision.rollout
        assert told.paused_at == T0
        later = place(told, rolled_out("v2"), old(), new(), options=options)
        assert decided(later, now=at(59)).phase == "Waiting"
        assert decided(later, now=at(60)).phase == "Switching"

    def test_without_auto_promote_it_stands_at_the_gate_for_ever_and_says_how_to_open_it(self) -> None:
        options = {"blueGreen": {"autoPromote": False}}
        decision = decided(place(rollout(tested_at=T0), rolled_out("v2"), old(), new(), options=options), now=at(10**7))
        assert (decision.phase, decision.active, decision.requeue_at) == ("Waiting", BLUE, None)
        assert "the action promote" in decision.message

    def test_a_promoted_gate_opens(self) -> None:
        options = {"blueGreen": {"autoPromote": False}}
        decision = decided(place(rollout(is_promoted=True), rolled_out("v2"), old(), new(), options=options))
        assert (decision.phase, decision.active) == ("Switching", GREEN)

    def test_a_revision_that_makes_no_progress_is_given_up_and_its_pods_go(self) -> None:
        about = place(rollout(), starting("v2"), old(), green(crash_looping("new-0", "v2")))
        decision = decided(about, now=T0 + DEADLINE)
        assert (decision.phase, decision.failed, decision.active) == ("RolledBack", "v2", BLUE)
        assert (runs(decision, BLUE), runs(decision, GREEN)) == (("v1", 1), ("v2", 0))
        assert decision.rollout.reason == "ProgressDeadlineExceeded"

    def test_its_pods_stay_for_inspection_where_the_user_wants_that(self) -> None:
        about = place(rollout(), starting("v2"), old(), options={"onFailure": "Hold"})
        assert runs(decided(about, now=T0 + DEADLINE), GREEN) == ("v2", 1)

    def test_a_newer_revision_takes_the_place_of_the_one_in_preview_and_the_way_back_stays(self) -> None:
        decision = decided(place(rollout(latched_replicas=1), rolled_out("v2"), old(), new()), "v3")
        assert (decision.phase, decision.stable, decision.active) == ("Preparing", "v1", BLUE)
        assert (runs(decision, BLUE), runs(decision, GREEN)) == (("v1", 1), ("v3", 1))
        # Without traffic the old preview's pods may go first: where GPUs are scarce, their place is needed.
        assert decision.slots[GREEN].way == "Recreate"
        assert decision.rollout.latched_replicas is None

    def test_a_spec_put_back_ends_the_matter_without_new_pods(self) -> None:
        decision = decided(place(rollout(), starting("v2"), old()), "v1")
        assert (decision.phase, decision.stable, decision.active) == ("Stable", "v1", BLUE)
        assert (runs(decision, BLUE), runs(decision, GREEN)) == (("v1", 1), ("v2", 0))

    def test_a_stable_revision_that_answers_nothing_never_blocks_the_fix(self) -> None:
        broken = crash_looping("old-0")
        options = {"blueGreen": {"autoPromote": False}, "smokeTest": {"enabled": True}}
        about = place(
            rollout(),
            starting("v2", wanted=2, pods=2, available=1),
            broken,
            new(),
            here=starting("v1", 2, 2, 0),
            options=options,
            wanted=2,
            rest={"is_smoke_tested": True},
        )
        decision = decided(about)
        assert (decision.phase, decision.active) == ("Switching", GREEN)

    def test_a_stable_revision_that_is_only_loading_is_not_broken(self) -> None:
        # As after a suspension: whichever pod is ready first, the gate stays what it is.
        about = place(
            rollout(), rolled_out("v2"), loading("old-0"), new(), options={"blueGreen": {"autoPromote": False}}
        )
        decision = decided(about)
        assert (decision.phase, decision.active) == ("Waiting", BLUE)

    def test_a_missed_probe_of_the_only_stable_pod_opens_no_gate(self) -> None:
        missed = replace(old(), is_ready=False, unready_since=T0)
        about = place(rollout(), rolled_out("v2"), missed, new(), options={"blueGreen": {"autoPromote": False}})
        assert (decided(about, now=at(59)).phase, decided(about, now=at(59)).active) == ("Waiting", BLUE)
        assert (decided(about, now=at(60)).phase, decided(about, now=at(60)).active) == ("Switching", GREEN)

    def test_a_paused_rollout_takes_no_step_and_no_time_counts(self) -> None:
        about = place(rollout(is_paused=True), rolled_out("v2"), old(), new())
        decision = decided(about, now=T0 + 2 * DEADLINE)
        assert (decision.phase, decision.active, decision.requeue_at) == ("RolloutPaused", BLUE, None)


class TestSmokeTest:
    def about(self, status: RolloutStatus, answers: Answers | None = None) -> Seen:
        return place(status, rolled_out("v2"), old(), new(), rest={"is_smoke_tested": True, "answers": answers})

    def test_pods_that_have_not_passed_are_asked(self) -> None:
        decision = decided(self.about(rollout()))
        assert decision.phase == "Testing"
        assert decision.asks.smoke == {"new-0"}

    def test_a_pod_that_passed_opens_the_gate_in_the_same_pass(self) -> None:
        decision = decided(self.about(rollout(), Answers({"new-0": None})))
        assert (decision.phase, decision.active) == ("Switching", GREEN)

    def test_a_failed_test_is_tried_again_after_a_while(self) -> None:
        decision = decided(self.about(rollout(), Answers({"new-0": "status 500"})))
        assert (decision.phase, decision.requeue_at) == ("Testing", at(5))
        assert "status 500" in decision.message
        assert decided(self.about(decision.rollout), now=at(4)).asks.smoke == frozenset()
        assert decided(self.about(decision.rollout), now=at(5)).asks.smoke == {"new-0"}

    def test_of_more_pods_than_the_status_has_room_for_a_thousand_have_to_pass(self) -> None:
        pods = [*(old(n) for n in range(1200)), *(new(n) for n in range(1200))]
        passed = Answers({f"new-{n}": None for n in range(1200)})
        rest = {"is_smoke_tested": True, "answers": passed}
        decision = decided(place(rollout(), rolled_out("v2", 1200), *pods, wanted=1200, rest=rest))
        assert (decision.phase, decision.active) == ("Switching", GREEN)

    def test_pods_that_passed_and_are_gone_do_not_count_for_those_that_came_since(self) -> None:
        gone = SmokeTestStatus(passed=[f"gone-{n}" for n in range(1000)])
        assert decided(self.about(rollout(smoke_test=gone))).asks.smoke == {"new-0"}

    def test_an_answer_to_something_else_is_no_attempt(self) -> None:
        decision = decided(self.about(rollout(), Answers(measured=(Window(), Window()))))
        assert decision.rollout.smoke_test is None
        assert decision.asks.smoke == {"new-0"}

    def test_three_failures_in_a_row_end_the_revision(self) -> None:
        status = rollout()
        for second in (0, 5, 10):
            decision = decided(self.about(status, Answers({"new-0": "status 500"})), now=at(second))
            status = decision.rollout
        assert (decision.phase, decision.failed, decision.rollout.reason) == ("RolledBack", "v2", "SmokeTestFailed")
        assert "status 500" in decision.message


class TestAfterTheSwitch:
    def after(self, **rest: Any) -> RolloutStatus:
        return rollout(**{"phase": "Switching", "latched_replicas": 1, "active_slot": "green"} | rest)

    def holding(self, **rest: Any) -> RolloutStatus:
        return self.after(**{"phase": "Holding", "switched_at": T0} | rest)

    def test_the_hold_begins_when_all_traffic_has_arrived(self) -> None:
        about = place(self.after(), rolled_out("v2"), old(), new(), selected=GREEN)
        still_there = replace(about, endpoints=Endpoints(frozenset({"new-0"}), frozenset({"new-0", "old-0"})))
        assert decided(still_there).phase == "Switching"
        not_enough = replace(about, endpoints=Endpoints())
        assert decided(not_enough).phase == "Switching"
        decision = decided(about)
        assert (decision.phase, decision.rollout.hold_ends_at) == ("Holding", at(300))

    def test_the_old_slot_stays_as_large_as_it_was_and_the_new_one_follows_the_autoscaler(self) -> None:
        about = place(
            self.holding(latched_replicas=3),
            rolled_out("v2", 3),
            *(old(n) for n in range(3)),
            *(new(n) for n in range(3)),
            here=rolled_out("v1", 3),
            selected=GREEN,
            wanted=6,
        )
        decision = decided(about)
        assert (runs(decision, BLUE), runs(decision, GREEN)) == (("v1", 3), ("v2", 6))

    def test_a_switch_after_which_nothing_answers_anywhere_says_so_and_asks_for_no_more_looks(self) -> None:
        dead = [replace(pod, is_ready=False) for pod in (old(), new())]
        about = place(self.after(available_replicas=1), rolled_out("v2"), *dead, selected=GREEN)
        decision = decided(about, now=T0 + 2 * DEADLINE)
        assert (decision.phase, decision.is_overdue, decision.requeue_at) == ("Switching", True, None)

    def test_after_the_hold_the_new_revision_is_the_stable_one_and_the_old_pods_go(self) -> None:
        about = place(self.holding(), rolled_out("v2"), old(), new(), selected=GREEN)
        assert (decided(about, now=at(299)).phase, decided(about, now=at(299)).requeue_at) == ("Holding", at(300))
        decision = decided(about, now=at(300))
        assert (decision.phase, decision.stable, decision.active) == ("Stable", "v2", GREEN)
        assert (runs(decision, BLUE), runs(decision, GREEN)) == (("v1", 0), ("v2", 1))

    def test_a_hold_does_not_end_while_fewer_answer_than_took_over(self) -> None:
        status = self.holding(latched_replicas=3)
        crashed = [replace(new(number), is_ready=False) for number in (1, 2)]
        about = place(status, rolled_out("v2", 3), old(), new(), *crashed, selected=GREEN, wanted=3)
        decision = decided(about, now=at(10_000))
        assert (decision.phase, runs(decision, BLUE)) == ("Holding", ("v1", 3))
        assert "1 of the 3 pods of revision v2 answer" in decision.message

    def test_a_hold_that_is_short_of_pods_says_why(self) -> None:
        waits = green(replace(pending("new-1", "v2", message="0/2 nodes are available"), unready_since=T0))
        about = place(self.holding(), starting("v2", 2, 2, 1), old(), new(), waits, selected=GREEN, wanted=2)
        decision = decided(about, now=at(1))
        assert decision.message.startswith(
            "1 of the 2 pods of revision v2 answer (Unschedulable: 0/2 nodes are available); v1 stays up until"
        )

    def test_a_hold_ends_though_the_old_pods_take_all_of_a_quota(self) -> None:
        there = replace(starting("v2", 3, 2, 2), creation_failure="exceeded quota: pods")
        pods = [*(old(number) for number in range(3)), new(0), new(1)]
        about = place(self.holding(latched_replicas=3), there, *pods, selected=GREEN, wanted=3)
        decision = decided(about, now=at(300))
        assert (decision.phase, runs(decision, BLUE)) == ("Stable", ("v1", 0))

    def test_promote_ends_the_hold(self) -> None:
        about = place(self.holding(is_promoted=True), rolled_out("v2"), old(), new(), selected=GREEN)
        assert decided(about, now=at(1)).phase == "Stable"

    def test_a_new_revision_that_stops_answering_gives_the_traffic_back_at_once(self) -> None:
        crashed = green(crash_looping("new-0", "v2"))
        about = place(self.holding(), starting("v2"), old(), crashed, selected=GREEN)
        decision = decided(about, now=at(1))
        assert (decision.phase, decision.active, decision.failed) == ("Aborting", BLUE, "v2")
        # The failed pods are not touched before the stable ones have the traffic.
        assert runs(decision, GREEN) == ("v2", 1)
        assert decision.rollout.reason == "StoppedServing"

    @pytest.mark.parametrize(
        "pod",
        [
            pytest.param(leaving(new()), id="drained"),
            pytest.param(replace(new(), is_ready=False, unready_since=T0), id="missing its probe"),
        ],
    )
    def test_one_that_stops_for_no_fault_of_its_own_gets_the_traffic_again_when_it_is_back(self, pod: SeenPod) -> None:
        about = place(self.holding(), starting("v2"), old(), pod, selected=GREEN)
        decision = decided(about, now=at(1))
        assert (decision.phase, decision.active, decision.failed) == ("Scaling", BLUE, None)
        assert (
            "no pod of revision v2 answers for the moment; v1 has the traffic until enough of them" in decision.message
        )
        assert decision.requeue_at == at(1) + DEADLINE
        waits = decided(place(decision.rollout, starting("v2"), old(), pod), now=at(2))
        assert (waits.phase, waits.active) == ("Scaling", BLUE)
        again = decided(place(waits.rollout, rolled_out("v2"), old(), new()), now=at(30))
        assert (again.phase, again.active) == ("Switching", GREEN)
        # The hold begins again with it.
        held = decided(place(again.rollout, rolled_out("v2"), old(), new(), selected=GREEN), now=at(31))
        assert held.rollout.hold_ends_at == at(331)

    @pytest.mark.parametrize("pod", [crash_looping("new-0", "v2"), leaving(ready_pod("new-0", "v2"))])
    def test_nothing_is_decided_of_one_that_stops_while_hands_are_off(self, pod: SeenPod) -> None:
        about = place(self.holding(), starting("v2"), old(), green(pod), selected=GREEN)
        decision = decided(about, now=at(1), is_stopped=True)
        assert (decision.failed, decision.active) == (None, GREEN)

    def test_one_that_is_suspended_has_not_failed(self) -> None:
        about = place(self.holding(), starting("v2"), old(), leaving(new()), selected=GREEN)
        spec = about.service.spec.model_copy(update={"suspend": True})
        about = replace(about, service=about.service.model_copy(update={"spec": spec}))
        decision = decided(about, now=at(1), is_stopped=True)
        assert (decision.failed, decision.active) == (None, GREEN)

    def test_it_does_not_go_back_to_what_answers_nothing_either(self) -> None:
        pods = (crash_looping("old-0"), green(crash_looping("new-0", "v2")))
        about = place(self.holding(), starting("v2"), *pods, selected=GREEN)
        assert decided(about, now=at(1)).active is GREEN

    def test_the_failed_pods_go_when_nothing_leads_to_them_any_more(self) -> None:
        aborting = self.holding(phase="Aborting", failed_revision="v2", active_slot="blue", message="it failed")
        about = place(aborting, rolled_out("v2"), old(), new())
        still_there = replace(about, endpoints=Endpoints(frozenset({"old-0"}), frozenset({"new-0", "old-0"})))
        assert (decided(still_there).phase, runs(decided(still_there), GREEN)) == ("Aborting", ("v2", 1))
        assert (decided(about).phase, runs(decided(about), GREEN)) == ("RolledBack", ("v2", 0))

    def test_an_abort_that_would_lead_to_nothing_stays_and_says_so(self) -> None:
        aborting = self.holding(
            phase="Aborting",
            failed_revision="v2",
            reason="AbortedByUser",
            failure="revision v2 was aborted by the user",
        )
        about = place(aborting, rolled_out("v2"), new(), here=starting("v1"), selected=GREEN)
        decision = decided(about)
        assert (decision.phase, decision.active) == ("Aborting", GREEN)
        assert decision.message == (
            "revision v2 was aborted by the user; waiting: 0 of the 1 pods of revision v1 that it needs answer"
        )
        assert decided(replace(about, service=a_service(status=decision.rollout))).message == decision.message

    def test_an_abort_waits_for_the_pods_that_a_drain_has_taken_from_the_old_slot(self) -> None:
        aborting = self.holding(phase="Aborting", failed_revision="v2", reason="AbortedByUser", message="aborted")
        news = [new(number) for number in range(3)]
        for olds, active in ((1, GREEN), (2, GREEN), (3, BLUE)):
            pods = [*(old(number) for number in range(olds)), *news]
            about = place(aborting, rolled_out("v2", 3), *pods, selected=GREEN, wanted=3)
            assert decided(about).active is active
        assert "1 of the 3 pods of revision v1 that it needs answer" in (
            decided(place(aborting, rolled_out("v2", 3), old(), *news, selected=GREEN, wanted=3)).message
        )

    @pytest.mark.parametrize(
        "others",
        [
            pytest.param([replace(pending(f"old-{number}"), unready_since=at(-60)) for number in (1, 2)], id="no node"),
            pytest.param([crash_looping(f"old-{number}") for number in (1, 2)], id="crash loops"),
        ],
    )
    def test_an_abort_does_not_wait_for_pods_that_will_not_come(self, others: list[SeenPod]) -> None:
        aborting = self.holding(phase="Aborting", failed_revision="v2", reason="AbortedByUser")
        news = [new(number) for number in range(3)]
        about = place(aborting, rolled_out("v2", 3), old(), *others, *news, selected=GREEN, wanted=3)
        assert decided(about).active is BLUE

    def test_an_abort_waits_no_longer_than_the_deadline(self) -> None:
        aborting = self.holding(phase="Aborting", failed_revision="v2", reason="AbortedByUser")
        loads = replace(loading("old-1"), is_started=False)
        about = place(aborting, rolled_out("v2", 2), old(), loads, new(0), new(1), selected=GREEN, wanted=2)
        waits = decided(about)
        assert (waits.active, waits.requeue_at) == (GREEN, T0 + DEADLINE)
        assert decided(about, now=T0 + DEADLINE).active is BLUE

    @pytest.mark.parametrize("reason", ["StoppedServing", "AnalysisFailed"])
    def test_what_has_failed_is_left_for_a_single_pod(self, reason: str) -> None:
        aborting = self.holding(phase="Aborting", failed_revision="v2", reason=reason)
        pods = [old(), *(new(number) for number in range(3))]
        assert decided(place(aborting, rolled_out("v2", 3), *pods, selected=GREEN, wanted=3)).active is BLUE

    def test_a_spec_put_back_does_not_wait_for_more_pods_than_the_old_slot_was_kept_with(self) -> None:
        # An autoscaler went from 6 to 3 after the latch, and back to 6 after the switch.
        status = self.holding(latched_replicas=6)
        pods = [*(old(number) for number in range(3)), *(new(number) for number in range(6))]
        about = place(status, rolled_out("v2", 6), *pods, here=rolled_out("v1", 3), selected=GREEN, wanted=6)
        decision = decided(about, "v1")
        assert (decision.active, decision.message) == (BLUE, "going back to revision v1")

    def test_a_spec_put_back_has_the_old_slot_made_again_if_it_was_deleted(self) -> None:
        about = place(self.holding(), rolled_out("v2"), old(), new(), selected=GREEN)
        decision = decided(replace(about, slots={GREEN: rolled_out("v2")}), "v1")
        assert (decision.phase, decision.active) == ("Aborting", GREEN)
        assert (runs(decision, GREEN), runs(decision, BLUE)) == (("v2", 1), ("v1", 1))

    def test_a_stable_revision_that_answers_nothing_does_not_block_a_newer_one_in_the_hold(self) -> None:
        about = place(self.holding(), rolled_out("v2"), crash_looping("old-0"), new(), selected=GREEN)
        decision = decided(about, "v3")
        assert (decision.phase, decision.active, decision.stable) == ("Preparing", GREEN, "v1")
        assert (runs(decision, GREEN), runs(decision, BLUE)) == (("v2", 1), ("v3", 1))

    def test_a_newer_revision_in_the_hold_starts_from_the_stable_one(self) -> None:
        about = place(self.holding(), rolled_out("v2"), old(), new(), selected=GREEN)
        decision = decided(about, "v3")
        assert (decision.active, decision.stable) == (BLUE, "v1")
        after = place(decision.rollout, rolled_out("v2"), old(), new())
        again = decided(after, "v3")
        assert (again.phase, runs(again, BLUE), runs(again, GREEN)) == ("Preparing", ("v1", 1), ("v3", 1))

    def test_a_spec_put_back_in_the_hold_is_one_write(self) -> None:
        about = place(self.holding(), rolled_out("v2"), old(), new(), selected=GREEN)
        decision = decided(about, "v1")
        assert (decision.active, decision.stable) == (BLUE, "v1")

    @pytest.mark.parametrize("requests", [(100, 50), (100, 6)])
    def test_errors_under_traffic_bring_the_stable_revision_back(self, requests: tuple[int, int]) -> None:
        options = {"analysis": {"intervalSeconds": 10}}
        about = place(self.holding(), rolled_out("v2"), old(), new(), selected=GREEN, options=options)
        assert decided(about, now=at(1)).asks.measure
        base = Answers(measured=(Window(), Window()))
        first = decided(replace(about, answers=base), now=at(1))
        assert (first.phase, first.requeue_at) == ("Holding", at(11))
        told = place(first.rollout, rolled_out("v2"), old(), new(), selected=GREEN, options=options)
        due = decided(told, now=at(11))
        assert due.asks.measure
        look = Answers(measured=(Window(*requests), Window()))
        decision = decided(replace(told, answers=look), now=at(11))
        assert (decision.phase, decision.active, decision.failed) == ("Aborting", BLUE, "v2")
        assert decision.rollout.reason == "AnalysisFailed"

    def test_a_revision_that_only_refuses_gives_the_traffic_back(self) -> None:
        """As Auto has chosen it: the strategy that the rollout began with is recorded."""
        options = {"strategy": "Auto", "analysis": {}}
        was = self.holding().model_copy(
            update={"analysis": AnalysisStatus(started_at=T0, last_sample_at=T0, successes=1)}
        )
        about = place(was, rolled_out("v2"), old(), new(), selected=GREEN, options=options)
        refusing = Answers(measured=(Window(340, refused=340), Window(1000, refused=10)))
        decision = decided(replace(about, answers=refusing), now=at(10))
        assert (decision.phase, decision.active, decision.rollout.reason) == ("Aborting", BLUE, "AnalysisFailed")
        assert decision.message.startswith(
            "revision v2 failed its analysis: 100 % of 340 requests refused (4xx), 99 points more than revision v1's "
            "1 %; at most 10 are allowed"
        )

    def test_a_hold_without_traffic_waits_for_it_and_names_the_ways_out(self) -> None:
        options = {"analysis": {"intervalSeconds": 10, "durationSeconds": 60}, "blueGreen": {"holdSeconds": 0}}
        status = self.holding()
        for second in range(0, 130, 10):
            about = place(status, rolled_out("v2"), old(), new(), selected=GREEN, options=options)
            nothing = Answers(measured=(Window(), Window()))
            decision = decided(about, now=at(second))
            if decision.asks.measure:
                decision = decided(replace(about, answers=nothing), now=at(second))
            status = decision.rollout
        assert decision.phase == "Holding"
        assert "promote, retry or abort" in decision.message
        assert decision.requeue_at == at(120) + timedelta(seconds=10)
