"""Every rollout ends, whatever users, pods, nodes and clocks do: a small simulated cluster, driven at random.

The operator looks only when it is woken: by what it observes, by the time that it asked for, or because it has started.
`HYPOTHESIS_PROFILE=long` makes many more examples.
"""

import os
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from penstock import names
from penstock.api.status import InferenceServiceStatus
from penstock.controller import reconcile, requeue
from penstock.controller.deferred_status import PATIENCE
from penstock.controller.gather import Gathered
from penstock.desired.history import Stored
from penstock.names import Reason, Slot
from penstock.observed import causes as pod_causes
from penstock.observed.answers import Answers, Verdict
from penstock.observed.counters import Window
from penstock.observed.values import Seen
from penstock.rollout import memory
from penstock.rollout.decide import decide, needs_room
from penstock.rollout.decision import Asks, Decision
from penstock.scaling.replicas import Scale
from penstock.scaling.schedule import Least
from penstock.slot_plan import SlotPlan
from penstock.status.conditions import Facts, Problem
from penstock.status.status import can_wait
from penstock.status.status import status as status_of

from tests.builders import DEADLINE, T0, WIPED, a_service, seen, with_status
from tests.simulated_cluster import ILLS, Cluster, Rules

REVISIONS: Final = ("v1", "v2", "v3", "v4")
STRATEGIES: Final = ("Auto", "BlueGreen", "BlueGreen", "Canary", "Canary", "Canary", "RollingUpdate", "Recreate")
VERBS: Final = ("promote", "promote-full", "abort", "retry", "rollback", "rollback=v1", "pause", "resume", "dance")
WRITES: Final = (*Slot, "service", "route")
NODES: Final = st.sampled_from([[1], [2], [2, 2], [4], [8], [8, 8], [24], [4, 4, 4, 4]])
AB_TEST: Final = {"header": {"name": "x-arm", "value": "b"}, "durationSeconds": 60, "minSamplesPerArm": 10}
VERDICTS: Final = (Verdict("A", 0.01, 5.0), Verdict("B", 0.01, -5.0), Verdict(None, 0.5, 0.1), "no process for it")
# Without any news for so long, none is to come.
_QUIET: Final = 3 * DEADLINE
_MOST_WAKES: Final = 2000
_TEMPLATE: Final[dict[str, object]] = {"spec": {}}
_LEADS: Final = (names.ANNOTATION_ACTIVE_SLOT, names.ANNOTATION_SHARED)


class Rollouts(RuleBasedStateMachine):
    """Spec edits, sick and healthy pods, time, actions, pauses, suspensions and wiped statuses, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = T0
        self.uptime = timedelta()  # as a timer counts it, whatever becomes of the clock
        self.current = "v1"
        self.generation = 1
        self.options: dict[str, object] = {"strategy": "BlueGreen"}
        self.action = ""
        self.ids = count(1)
        self.is_paused = False
        self.traffic = Window(requests=100)
        self.verdict: Verdict | str = VERDICTS[0]
        self.is_behind_a_gateway = False
        self.replicas = 2
        self.status = WIPED
        self.cluster = Cluster()
        self.failing_tests: set[str] = set()
        self.decision: Decision | None = None
        self.known: object = None  # what the operator has seen last; None when it has just started
        self.due: timedelta | None = None  # when it is to look again
        self.written = WIPED  # what the API server has, where the status that the operator goes on from is put off
        self.put_off_until: timedelta | None = None

    @initialize(
        strategy=st.sampled_from(STRATEGIES),
        replicas=st.sampled_from([1, 1, 2, 2, 3, 3, 5, 12]),
        rounds=st.sampled_from([0, 6, 6, 6]),
        is_behind_a_gateway=st.booleans(),
        nodes=NODES,
        need=st.sampled_from([1, 1, 2]),
        resource=st.sampled_from([names.GPU, "cpu"]),
        quota=st.sampled_from([None, None, 1, 3, 6]),
        has_sidecars=st.booleans(),
    )
    def begin_with_a_service_that_has_run_for_a_while(
        self,
        *,
        strategy: str,
        replicas: int,
        rounds: int,
        is_behind_a_gateway: bool,
        nodes: list[int],
        need: int,
        resource: str,
        quota: int | None,
        has_sidecars: bool,
    ) -> None:
        self.options["strategy"], self.replicas = strategy, replicas
        self.is_behind_a_gateway = is_behind_a_gateway
        self.cluster = Cluster(nodes=nodes, need=need, resource=resource, quota=quota, has_sidecars=has_sidecars)
        self.let_all_act(rounds)
        self.current = "v2" if rounds else "v1"

    @rule(revision=st.sampled_from(REVISIONS))
    def edit_the_spec(self, revision: str) -> None:
        self.current = revision
        self._edit()

    def _edit(self, **options: object) -> None:
        self.options |= options
        self.generation += 1

    @rule(strategy=st.sampled_from(STRATEGIES))
    def edit_the_strategy(self, strategy: str) -> None:
        self._edit(strategy=strategy)
        if strategy != "BlueGreen":
            self.options.pop("abTest", None)

    @rule(auto=st.booleans(), soak=st.sampled_from([0, 60]), hold=st.sampled_from([0, 300]))
    def edit_the_gates(self, auto: bool, soak: int, hold: int) -> None:
        self._edit(blueGreen={"autoPromote": auto, "autoPromoteAfterSeconds": soak, "holdSeconds": hold})

    @rule(weights=st.sampled_from([[50], [1, 99], [10, 30, 60]]), is_gated=st.booleans())
    def edit_the_steps(self, weights: list[int], is_gated: bool) -> None:
        gate = {"pause": True} if is_gated else {"pauseSeconds": 60}
        self._edit(canary={"steps": [{"weight": weight, **gate} for weight in weights]})

    @rule(is_behind_one=st.booleans())
    def edit_the_gateway(self, is_behind_one: bool) -> None:
        self.is_behind_a_gateway = is_behind_one
        if not is_behind_one:
            self.options.pop("abTest", None)

    @rule(verdict=st.sampled_from([*VERDICTS, None]))
    def edit_the_ab_test(self, verdict: Verdict | str | None) -> None:
        """With the verdict that it will come to, or without a test."""
        self.options.pop("abTest", None)
        if verdict is not None:
            self.verdict, self.is_behind_a_gateway = verdict, True
            self.options |= {"abTest": AB_TEST, "strategy": "BlueGreen"}

    @rule(errors=st.sampled_from([0, 0, 20, 100]), requests=st.sampled_from([0, 100]))
    def change_the_traffic(self, errors: int, requests: int) -> None:
        self.traffic = Window(requests=requests, errors=min(errors, requests))

    @rule(on_failure=st.sampled_from(["Rollback", "Hold"]))
    def edit_what_becomes_of_failed_pods(self, on_failure: str) -> None:
        self._edit(onFailure=on_failure)

    @rule(verb=st.sampled_from(VERBS))
    def act(self, verb: str) -> None:
        self.action = f"{verb}:{next(self.ids)}"

    @rule(revision=st.sampled_from(REVISIONS), ill=st.sampled_from([*ILLS, None, None]))
    def change_the_health_of_a_revision(self, revision: str, ill: str | None) -> None:
        self.cluster.ills.pop(revision, None)
        if ill is not None:
            self.cluster.ills[revision] = ill

    @rule(revision=st.sampled_from(REVISIONS), is_failing=st.booleans())
    def change_the_smoke_test_of_a_revision(self, revision: str, is_failing: bool) -> None:
        (self.failing_tests.add if is_failing else self.failing_tests.discard)(revision)

    @rule(which=st.integers(0, 7), is_sick=st.booleans())
    def change_the_health_of_a_pod(self, which: int, is_sick: bool) -> None:
        for pod in self.cluster.pods[which : which + 1]:
            pod.is_sick = is_sick

    @rule(which=st.integers(0, 7))
    def drain_a_pod(self, which: int) -> None:
        for pod in self.cluster.pods[which : which + 1]:
            pod.is_leaving = True

    @rule(nodes=NODES, quota=st.sampled_from([None, None, 1, 3, 6]))
    def change_the_room(self, nodes: list[int], quota: int | None) -> None:
        """Nodes come and go with the neighbours on them; pods that have a place keep it."""
        self.cluster.nodes = [*nodes, *[0] * (4 - len(nodes))]
        self.cluster.quota = quota

    @rule(slot=st.sampled_from(Slot), is_there=st.booleans())
    def put_a_foreign_object_in_the_way(self, slot: Slot, is_there: bool) -> None:
        (self.cluster.foreign.add if is_there else self.cluster.foreign.discard)(slot)

    @rule(slot=st.sampled_from(Slot), is_refused=st.booleans())
    def let_a_policy_refuse_writes(self, slot: Slot, is_refused: bool) -> None:
        (self.cluster.refused.add if is_refused else self.cluster.refused.discard)(slot)

    @rule(limit=st.integers(1, 2))
    def edit_the_history_limit(self, limit: int) -> None:
        self._edit(revisionHistoryLimit=limit)

    @rule(slot=st.sampled_from(Slot), with_its_pods=st.booleans())
    def delete_a_deployment(self, slot: Slot, with_its_pods: bool) -> None:
        if with_its_pods:
            self.cluster.write(slot, None)
        self.cluster.slots[slot].write(None)

    @rule(seconds=st.sampled_from([-3600, 1, 60, 301, 601, 10_000]))
    def let_time_pass(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.uptime += timedelta(seconds=max(seconds, 0))

    @rule(is_paused=st.booleans())
    def keep_hands_off_or_not(self, is_paused: bool) -> None:
        self.is_paused = is_paused

    @rule(replicas=st.sampled_from([0, 1, 2, 3, 5, 12]))
    def scale(self, replicas: int) -> None:
        self.replicas = replicas

    @rule()
    def wipe_the_status(self) -> None:
        self.status = self.written = WIPED
        self.put_off_until = None

    @rule()
    def let_the_cluster_act(self) -> None:
        self.cluster.let_the_controllers_act()
        self.cluster.let_the_nodes_act(self.now)

    @rule()
    def let_the_endpoints_follow(self) -> None:
        self.cluster.let_the_endpoints_follow()

    @rule()
    def let_the_gateway_act(self) -> None:
        self.cluster.route.let_the_gateway_act()

    @rule(rounds=st.integers(1, 8))
    def let_all_act(self, rounds: int) -> None:
        """As long as nothing else happens, a pass follows on every news."""
        for _ in range(rounds):
            self.let_the_cluster_act()
            self.let_the_endpoints_follow()
            self.let_the_gateway_act()
            if self.is_woken:
                self.make_a_pass()

    @precondition(lambda self: self.is_woken)
    @rule()
    def make_a_pass(self) -> None:
        """Children first, all at once, and then the status."""
        facts = self._pass(frozenset(WRITES))
        was_refused = self._is_refused(facts.seen)
        self._tell(self._report(facts))
        self.known = self._observed()
        until = None if self.put_off_until is None else self.put_off_until - self.uptime
        after = requeue.soonest(requeue.look_again(facts, self.now), until)
        if was_refused and facts.problem is None:
            after = timedelta()
        self.due = None if after is None else self.uptime + after

    @precondition(lambda self: self.is_woken)
    @rule(written=st.frozensets(st.sampled_from(WRITES)))
    def be_killed_in_a_pass(self, written: frozenset[str]) -> None:
        self._pass(written)
        # What it had put off it has told nobody.
        self.status = self.written
        self.known = self.due = self.put_off_until = None

    def _tell(self, new: InferenceServiceStatus) -> None:
        """Write the status, or put it off."""
        until = self.uptime + PATIENCE if self.put_off_until is None else self.put_off_until
        if new != self.written and self.uptime < until and can_wait(self.written, new):
            self.put_off_until = until
        else:
            self.written, self.put_off_until = new, None
        self.status = new

    @property
    def is_woken(self) -> bool:
        is_due = self.due is not None and self.uptime >= self.due
        return is_due or self.known is None or self.known != self._observed()

    def _observed(self) -> object:
        """What wakes a pass: room on the nodes alone does not, but for a pod that waits for it."""
        waits = any(pod.told == "without a node" for pod in self.cluster.pods)
        room = self.cluster.nodes if waits else None
        return replace(self._seen(), answers=None, room=None), self.is_paused, self.replicas, room, self.generation

    def _pass(self, written: frozenset[str]) -> Facts:
        about, decision = self._decide(self._seen())
        self.decision = decision
        if self.is_paused:
            return self._facts(about, decision)
        self._check_what_moves(about, decision)
        self._check_templates(decision)
        refused = [
            problem for slot, plan in decision.slots.items() if slot in written if (problem := self._write(slot, plan))
        ]
        if "service" in written:
            self._write_the_service(decision)
        if "route" in written:
            rules = Rules(dict(decision.shares), decision.variant)
            self.cluster.route.write(rules if self.is_behind_a_gateway else None)
        if not refused:
            self._prune(decision, written)
        problem = refused[0] if refused else None
        return reconcile._with_problem(self._facts(about, decision), problem, self.now)

    def _facts(self, about: Seen, decision: Decision) -> Facts:
        paused = "hands off" if self.is_paused else None
        causes = pod_causes.causes(about, self.now)
        return Facts(about, decision, Scale(self.replicas), causes, Least(1), paused=paused)

    def _write(self, slot: Slot, plan: SlotPlan) -> Problem | None:
        """What the cluster says to it, if it refuses."""
        told = self.cluster.refuses(slot, plan)
        if told is None:
            self.cluster.write(slot, plan)
            return None
        is_foreign = self.cluster.slots[slot].plan is None and slot in self.cluster.foreign
        return Problem(Reason.NAME_CONFLICT if is_foreign else Reason.INVALID_SPEC, told)

    def _prune(self, decision: Decision, written: frozenset[str]) -> None:
        for slot in Slot:
            if slot in written and slot not in decision.slots:
                self.cluster.write(slot, None)
        self.cluster.stored = {name: kept.number for name, kept in self._history(decision).items()}

    def _history(self, decision: Decision) -> dict[str, Stored]:
        """The templates that are kept."""
        about = self._seen()
        stored = {name: Stored(number, _TEMPLATE) for name, number in self.cluster.stored.items()}
        running = dict.fromkeys(self.cluster.running(), _TEMPLATE)
        gathered = Gathered(about, stored, running, _TEMPLATE, None, None, Least(1))
        return reconcile._stored(gathered, decision)

    def _check_templates(self, decision: Decision) -> None:
        """Nothing is to run whose template is gone."""
        kept = self._history(decision)
        for plan in decision.slots.values():
            assert plan.revision in kept, "the template of what is to run is gone"

    def _write_the_service(self, decision: Decision) -> None:
        self.cluster.selected, self.cluster.is_shared = decision.active, decision.is_shared
        is_first = decision.phase == "Stable" and decision.rollout.last_action is None
        if decision.stable and (not is_first or self.cluster.annotations):
            self.cluster.annotations = memory.notes(decision.rollout)

    def _check_what_moves(self, about: Seen, decision: Decision) -> None:
        """What a pass may never do, whatever happened before it."""
        assert decision.stable is None or decision.failed != decision.stable
        assert decision.target in (decision.stable, decision.current)
        is_switch = about.selected not in (None, decision.active)
        assert not is_switch or about.ready(decision.active), "traffic is sent to where nothing answers"
        for slot, deployment in about.slots.items():
            plan = decision.slots.get(slot)
            goes = deployment.wanted > 0 and (plan is None or plan.replicas == 0)
            if goes and self.replicas and decision.is_shared:
                is_missed = about.ready(slot) and not about.ready(slot.other)
                assert not is_missed, "the last pods of a share go before the others answer"
            elif goes and self.replicas:
                assert slot is not decision.active
                assert not is_switch, "pods go in the very pass that leads traffic away from them"
            if is_switch and plan is not None:
                assert plan.revision == deployment.revision, "what traffic moves between is not edited meanwhile"
        self._check_why(about, decision, is_switch=is_switch)
        self._check_where_the_gateway_leads(about, decision)
        planned = sum(plan.replicas for plan in decision.slots.values())
        assert planned <= 2 * max(self.replicas, 3)
        if decision.is_shared:
            assert planned <= max(self.replicas + 1, sum(each.wanted for each in about.slots.values()))
        elif self.cluster.is_shared and self.replicas:
            assert not about.ready(decision.active.other), "traffic is taken from pods that answer"

    def _check_where_the_gateway_leads(self, about: Seen, decision: Decision) -> None:
        """Nobody is led to where nothing answers, and no pods go to which requests are still led."""
        assert not (decision.shares or decision.variant) or self.is_behind_a_gateway
        for slot in Slot:
            leads = Rules(decision.shares, decision.variant).sends_to(slot)
            assert not leads or about.ready(slot) or not about.ready(slot.other)
            found, plan = about.slots.get(slot), decision.slots.get(slot)
            if found is None or not found.wanted or not self.replicas or not self.cluster.route.taken.sends_to(slot):
                continue
            if self.cluster.route.written is not None:
                assert plan is not None, "pods go to which the gateway still leads requests"
                assert plan.replicas, "pods go to which the gateway still leads requests"
                is_in_place = slot in about.selected_slots
                assert is_in_place or plan.revision == found.revision, "pods are replaced that requests are led to"

    def _check_why(self, about: Seen, decision: Decision, *, is_switch: bool) -> None:
        """What was tested gives way, and what was not takes over, for a fault of the pods alone."""
        was, told = about.service.status.rollout, decision.rollout
        if told.reason == "StoppedServing" and (was is None or was.reason != told.reason):
            assert any(pod.told in ILLS for pod in self.cluster.pods if pod.revision == self.current)
        plan = decision.slots.get(decision.active)
        is_untested = told.smoke_test is None or not told.smoke_test.passed
        is_new = plan is not None and plan.revision == self.current != decision.stable
        if is_switch and is_untested and is_new and told.strategy == "BlueGreen":
            assert all(pod.told in (*ILLS, "without a node") for pod in self.cluster.of(about.active))

    @invariant()
    def two_decisions_on_the_same_observation_are_equal(self) -> None:
        about, first = self._decide(self._seen())
        if self._is_refused(about):
            return  # Without the answer to its write nobody knows whether it is refused again.
        _, again = self._decide(replace(self._seen(self._after(about, first)), annotations=self._noted(first)))
        # The reason may turn from what just happened to how things stand.
        assert self._after(about, again) == self._after(about, first)
        assert (again.target, again.active, again.slots) == (first.target, first.active, first.slots)

    def _after(self, about: Seen, decision: Decision) -> InferenceServiceStatus:
        return self._report(self._facts(about, decision))

    def _noted(self, decision: Decision) -> dict[str, str]:
        """What the Service tells afterwards; where it leads is as it was."""
        before = dict(self.cluster.annotations)
        if self.is_paused or not before:
            return before
        after = {key: value for key, value in memory.notes(decision.rollout).items() if key not in _LEADS}
        return after | {key: before[key] for key in _LEADS if key in before}

    def teardown(self) -> None:
        """Without new input every rollout ends, or stands where the status says."""
        for pod in self.cluster.pods:
            pod.is_sick = False
        self._settle()
        self._assert_settled()

    def _settle(self) -> None:
        """The cluster acts, and the operator when it is woken, until there is no news any more."""
        news, since = self._news(), self.uptime
        for _ in range(_MOST_WAKES):
            self.let_the_cluster_act()
            self.let_the_endpoints_follow()
            self.let_the_gateway_act()
            if self.is_woken:
                self.make_a_pass()
            elif self.due is not None:
                self.now += self.due - self.uptime
                self.uptime = self.due
            elif news == self._news():
                return
            if news != self._news():
                news, since = self._news(), self.uptime
            if self.uptime - since > _QUIET:
                return
        raise AssertionError("it never comes to rest")

    def _news(self) -> object:
        decision = self.decision
        told = decision and (decision.phase, decision.message, decision.active, decision.slots)
        return self.cluster.endpoints(), self.cluster.route.seen(), [pod.seen() for pod in self.cluster.pods], told

    def _assert_settled(self) -> None:
        decision = self.decision
        assert decision is not None
        rollout = decision.rollout
        if self._is_refused(self._seen()):
            return  # Somebody has to mend that, and the status says what.
        if self.is_paused or self.replicas == 0 or rollout.is_paused:
            assert (
                decision.is_at_rest
                or rollout.paused_at is not None
                or decision.phase in ("Aborting", "Holding", "RolloutPaused")
            )
            return
        if decision.stable in self.cluster.ills:
            return  # It cannot arrive anywhere; that it says so is told elsewhere.
        is_at_gate = decision.phase in ("Waiting", "Holding") and "the action" in decision.message
        is_at_gate = is_at_gate or decision.message.startswith("A/B test: ")
        ends_at = {"Holding": rollout.hold_ends_at, "Waiting": rollout.gate_opens_at}.get(decision.phase)
        assert ends_at is None or self.now >= ends_at, "nobody looks when its time is over"
        # No pod that serves goes for one that finds no room.
        is_back = any(pod.is_ready and pod.revision == decision.stable for pod in self.cluster.pods)
        is_waiting = decision.phase == "Aborting" and "; waiting: " in decision.message
        is_short = is_waiting and (not is_back or "there is no room" in decision.message)
        # Of a first revision that cannot run nothing better can be told than that, and why.
        is_hopeless = decision.stable is None and (self.current in self.cluster.ills or not self.cluster.holds(1))
        assert decision.is_at_rest or is_at_gate or is_short or (is_hopeless and decision.is_overdue)
        active = self.cluster.slots[decision.active]
        if decision.is_at_rest:
            assert (dict(decision.shares), decision.variant) == ({}, None)
            assert active.plan is not None
            assert active.plan.revision == decision.stable
            assert self.cluster.ready(self.cluster.selected) or not self.cluster.holds(1)
        assert self.written == self.status, "nobody is told"
        assert self.written.rollout is not None
        assert self.written.rollout.phase == decision.phase

    def _seen(self, status: InferenceServiceStatus | None = None) -> Seen:
        annotations = {names.ANNOTATION_ACTION: self.action} if self.action else {}
        service = a_service(
            rollout=self.options,
            is_behind_a_gateway=self.is_behind_a_gateway,
            status=status or self.status,
            annotations=annotations,
        )
        metadata = service.metadata.model_copy(update={"generation": self.generation})
        found = seen(
            service.model_copy(update={"metadata": metadata}),
            *(pod.seen() for pod in self.cluster.pods),
            current=self.current,
            slots={slot: found for slot, each in self.cluster.slots.items() if (found := each.seen())},
            selected=self.cluster.selected,
            endpoints=self.cluster.endpoints(),
            annotations=self.cluster.annotations,
            templates=frozenset(self.cluster.stored) | self.cluster.running(),
            is_smoke_tested=True,
            route=self.cluster.route.seen(),
        )
        if not needs_room(found, self.now, wanted=self.replicas):
            return found
        return replace(found, room=self.cluster.room(found.active, serving=len(found.ready(found.active))))

    def _decide(self, about: Seen) -> tuple[Seen, Decision]:
        decision = self._once(about)
        for _ in range(3):
            if decision.asks == Asks():
                break
            about = replace(about, answers=self._answers(about, decision.asks))
            decision = self._once(about)
        return about, decision

    def _answers(self, about: Seen, asks: Asks) -> Answers:
        before = about.answers or Answers()
        results = {
            pod.name: "status 500" if pod.revision in self.failing_tests else None
            for pod in about.pods
            if pod.name in asks.smoke
        }
        looked = (self.traffic, Window()) if asks.measure else before.measured
        arms = (self.traffic, self.traffic) if asks.arms else before.arms
        verdict = self.verdict if asks.judge else before.verdict
        return Answers({**before.smoke, **results}, looked, arms, verdict)

    def _once(self, about: Seen) -> Decision:
        is_stopped = self.is_paused or self.replicas == 0 or self._is_refused(about)
        return decide(about, pod_causes.causes(about, self.now), self.now, wanted=self.replicas, is_stopped=is_stopped)

    def _is_refused(self, about: Seen) -> bool:
        return reconcile._is_refused(about.service)

    def _report(self, facts: Facts) -> InferenceServiceStatus:
        return with_status(facts.seen.service, status_of(facts, self.now)).status


settings.register_profile("rollouts", max_examples=60, stateful_step_count=40, deadline=None)
settings.register_profile("long", max_examples=1500, stateful_step_count=40, deadline=None)
Rollouts.TestCase.settings = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "rollouts"))
TestRollouts = Rollouts.TestCase
