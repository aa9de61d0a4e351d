"""Every rollout ends, whatever users, pods and clocks do: a small simulated cluster, driven at random."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from penstock.api.status import InferenceServiceStatus
from penstock.names import ANNOTATION_ACTION, Slot
from penstock.observe import Answers, Endpoints, Seen, SeenDeployment, SeenPod
from penstock.rollout import memory
from penstock.rollout.analysis import Window
from penstock.rollout.decide import decide
from penstock.rollout.decision import Asks, Decision, SlotPlan
from penstock.scaling import Scale

from tests.builders import DEADLINE, T0, WIPED, a_service, ready_pod, reported, seen, unready

REVISIONS = ("v1", "v2", "v3", "v4")
VERBS = ("promote", "promote-full", "abort", "retry", "rollback", "rollback=v1", "pause", "resume", "dance")


@dataclass
class Deployment:
    """A Deployment controller in miniature: one pod more, then one old pod less, as readiness allows."""

    slot: Slot
    broken: set[str]
    plan: SlotPlan | None = None
    new: int = 0
    old: int = 0
    is_observed: bool = False

    def write(self, plan: SlotPlan | None) -> None:
        if plan is None:
            self.plan, self.new, self.old = None, 0, 0
            return
        before = self.plan
        if before is not None and before.revision != plan.revision:
            # An old ReplicaSet's pods count again once their template is back; to the policy it makes no difference.
            self.old, self.new = self.old + self.new, 0
        if before is None or (before.revision, before.replicas) != (plan.revision, plan.replicas):
            self.is_observed = False
        self.plan = plan

    def step(self) -> None:
        if self.plan is None:
            return
        self.is_observed = True
        wanted = self.plan.replicas
        if self.old and (self.available_new or self.old > wanted or self.plan.way == "Recreate"):
            self.old -= 1
        elif self.new + self.old <= wanted:
            self.new += 1
        self.new = min(self.new, wanted)
        self.old = 0 if wanted == 0 else self.old

    @property
    def available_new(self) -> int:
        return 0 if self.plan is None or self.plan.revision in self.broken else self.new

    @property
    def is_complete(self) -> bool:
        return (
            self.plan is not None and self.is_observed and not self.old and self.available_new == self.plan.replicas > 0
        )

    def observed(self) -> SeenDeployment | None:
        if self.plan is None:
            return None
        available, pods = self.old + self.available_new, self.old + self.new
        return SeenDeployment(
            self.plan.revision, self.plan.replicas, pods, self.new, available, available, self.is_observed
        )

    def pods(self) -> list[SeenPod]:
        if self.plan is None:
            return []
        revision = self.plan.revision
        kind = unready if revision in self.broken else ready_pod
        made = [kind(f"{self.slot}-{revision}-{number}", revision) for number in range(self.new)]
        made += [ready_pod(f"{self.slot}-old-{number}", "old") for number in range(self.old)]
        return [replace(pod, slot=self.slot) for pod in made]


@dataclass
class Cluster:
    """Two Deployments, a Service whose endpoints lag behind its selector, and what the Service remembers."""

    broken: set[str] = field(default_factory=set)
    selected: Slot | None = None
    is_shared: bool = False  # the selector names no slot
    led_to: frozenset[Slot] = frozenset()
    annotations: dict[str, str] = field(default_factory=dict)
    slots: dict[Slot, Deployment] = field(init=False)

    def __post_init__(self) -> None:
        self.slots = {slot: Deployment(slot, self.broken) for slot in Slot}

    def pods(self) -> list[SeenPod]:
        return [pod for deployment in self.slots.values() for pod in deployment.pods()]

    def ready(self, slot: Slot | None) -> list[SeenPod]:
        return [pod for pod in self.pods() if pod.slot == slot and pod.is_ready]

    def endpoints(self) -> Endpoints:
        inside = [pod for pod in self.pods() if pod.slot in self.led_to]
        return Endpoints(frozenset(p.name for p in inside if p.is_ready), frozenset(p.name for p in inside))


class Rollouts(RuleBasedStateMachine):
    """Spec edits, sick and healthy pods, time, actions, pauses, suspensions and wiped statuses, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = T0
        self.current = "v1"
        self.options: dict[str, object] = {"strategy": "BlueGreen"}
        self.action = ""
        self.ids = count(1)
        self.is_paused = False
        self.traffic = Window(requests=100)
        self.replicas = 2
        self.status = WIPED
        self.cluster = Cluster()
        self.failing_tests: set[str] = set()
        self.decision: Decision | None = None

    @rule(revision=st.sampled_from(REVISIONS))
    def edit_the_spec(self, revision: str) -> None:
        self.current = revision

    @rule(strategy=st.sampled_from(["Auto", "BlueGreen", "BlueGreen", "Canary", "Canary", "RollingUpdate", "Recreate"]))
    def edit_the_strategy(self, strategy: str) -> None:
        self.options["strategy"] = strategy

    @rule(auto=st.booleans(), soak=st.sampled_from([0, 60]), hold=st.sampled_from([0, 300]))
    def edit_the_gates(self, auto: bool, soak: int, hold: int) -> None:
        self.options["blueGreen"] = {"autoPromote": auto, "autoPromoteAfterSeconds": soak, "holdSeconds": hold}

    @rule(weights=st.sampled_from([[50], [1, 99], [10, 30, 60]]), is_gated=st.booleans())
    def edit_the_steps(self, weights: list[int], is_gated: bool) -> None:
        gate = {"pause": True} if is_gated else {"pauseSeconds": 60}
        self.options["canary"] = {"steps": [{"weight": weight, **gate} for weight in weights]}

    @rule(errors=st.sampled_from([0, 0, 20, 100]), requests=st.sampled_from([0, 100]))
    def change_the_traffic(self, errors: int, requests: int) -> None:
        self.traffic = Window(requests=requests, errors=min(errors, requests))

    @rule(on_failure=st.sampled_from(["Rollback", "Hold"]))
    def edit_what_becomes_of_failed_pods(self, on_failure: str) -> None:
        self.options["onFailure"] = on_failure

    @rule(verb=st.sampled_from(VERBS))
    def act(self, verb: str) -> None:
        self.action = f"{verb}:{next(self.ids)}"

    @rule(revision=st.sampled_from(REVISIONS), is_broken=st.booleans())
    def change_the_health_of_a_revision(self, revision: str, is_broken: bool) -> None:
        (self.cluster.broken.add if is_broken else self.cluster.broken.discard)(revision)

    @rule(revision=st.sampled_from(REVISIONS), is_failing=st.booleans())
    def change_the_smoke_test_of_a_revision(self, revision: str, is_failing: bool) -> None:
        (self.failing_tests.add if is_failing else self.failing_tests.discard)(revision)

    @rule(seconds=st.sampled_from([-3600, 1, 60, 301, 601, 10_000]))
    def let_time_pass(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(is_paused=st.booleans())
    def keep_hands_off_or_not(self, is_paused: bool) -> None:
        self.is_paused = is_paused

    @rule(replicas=st.integers(0, 3))
    def scale(self, replicas: int) -> None:
        self.replicas = replicas

    @rule()
    def wipe_the_status(self) -> None:
        self.status = WIPED

    @rule()
    def let_the_deployment_controller_act(self) -> None:
        for deployment in self.cluster.slots.values():
            deployment.step()

    @rule()
    def let_the_endpoints_follow(self) -> None:
        selected = self.cluster.selected
        self.cluster.led_to = frozenset(Slot if self.cluster.is_shared else [selected] if selected else [])

    @rule(is_killed_between=st.booleans())
    def make_a_pass(self, is_killed_between: bool) -> None:
        """Children first, then the status; the operator may be killed in between."""
        about = self._seen()
        decision = self._decide(about)
        if not self.is_paused:
            self._check_what_moves(about, decision)
            for slot, deployment in self.cluster.slots.items():
                deployment.write(decision.slots.get(slot))
            self.cluster.selected, self.cluster.is_shared = decision.active, decision.is_shared
            is_first = decision.phase == "Stable" and decision.rollout.last_action is None
            if decision.stable and (not is_first or self.cluster.annotations):
                self.cluster.annotations = memory.notes(decision.rollout)
        if not is_killed_between:
            self.status = self._report(about, decision)
        self.decision = decision

    def _check_what_moves(self, about: Seen, decision: Decision) -> None:
        """What a pass may never do, whatever happened before it."""
        assert decision.stable is None or decision.failed != decision.stable
        assert decision.target in (decision.stable, decision.current)
        is_switch = about.selected not in (None, decision.active)
        assert not is_switch or about.ready(decision.active), "traffic is led to where nothing answers"
        for slot, deployment in about.slots.items():
            plan = decision.slots.get(slot)
            goes = deployment.wanted > 0 and (plan is None or plan.replicas == 0)
            if goes and self.replicas and decision.is_shared:
                assert about.ready(slot.other), "the last pods of a share go before the others answer"
            elif goes and self.replicas:
                assert slot is not decision.active
                assert not is_switch, "pods go in the very pass that leads traffic away from them"
            if is_switch and plan is not None:
                assert plan.revision == deployment.revision, "what traffic moves between is not edited meanwhile"
        planned = sum(plan.replicas for plan in decision.slots.values())
        assert planned <= 2 * max(self.replicas, 3)
        if decision.is_shared:
            assert planned <= max(self.replicas + 1, sum(each.wanted for each in about.slots.values()))
        elif self.cluster.is_shared and self.replicas:
            assert not about.ready(decision.active.other), "traffic is taken from pods that answer"

    @invariant()
    def two_decisions_on_the_same_observation_are_equal(self) -> None:
        about = self._seen()
        first = self._decide(about)
        again = self._decide(self._seen(self._report(about, first)))
        # The reason may turn from what just happened to how things stand.
        assert self._report(about, again) == self._report(about, first)
        assert (again.target, again.active, again.slots) == (first.target, first.active, first.slots)

    def teardown(self) -> None:
        """Without new input every rollout ends, or stands where the status says."""
        for _ in range(8):
            self._settle()
            self.now += 2 * DEADLINE
        self._settle()
        self._assert_settled()

    def _settle(self) -> None:
        for _ in range(14):
            self.make_a_pass(is_killed_between=False)
            self.let_the_deployment_controller_act()
            self.let_the_endpoints_follow()

    def _assert_settled(self) -> None:
        decision = self.decision
        assert decision is not None
        rollout = decision.rollout
        if self.is_paused or self.replicas == 0 or rollout.is_paused:
            assert (
                decision.is_at_rest
                or rollout.paused_at is not None
                or decision.phase in ("Aborting", "Holding", "RolloutPaused")
            )
            return
        if decision.stable in self.cluster.broken:
            return  # It cannot arrive anywhere; that it says so is told elsewhere.
        is_at_gate = decision.phase == "Waiting" and "the action promote" in decision.message
        assert decision.is_at_rest or decision.is_overdue or is_at_gate
        active = self.cluster.slots[decision.active]
        if decision.is_at_rest:
            assert active.plan is not None
            assert active.plan.revision == decision.stable
            assert self.cluster.ready(self.cluster.selected)
        assert self.status.rollout is not None
        assert self.status.rollout.phase == decision.phase

    def _seen(self, status: InferenceServiceStatus | None = None) -> Seen:
        annotations = {ANNOTATION_ACTION: self.action} if self.action else {}
        service = a_service(rollout=self.options, status=status or self.status, annotations=annotations)
        slots = {slot: found for slot, each in self.cluster.slots.items() if (found := each.observed())}
        return seen(
            service,
            *self.cluster.pods(),
            current=self.current,
            slots=slots,
            selected=self.cluster.selected,
            endpoints=self.cluster.endpoints(),
            annotations=self.cluster.annotations,
            templates=frozenset(REVISIONS),
            is_smoke_tested=True,
        )

    def _decide(self, about: Seen) -> Decision:
        decision = self._once(about)
        for _ in range(2):
            if decision.asks == Asks():
                break
            about = replace(about, answers=self._answers(about, decision.asks))
            decision = self._once(about)
        return decision

    def _answers(self, about: Seen, asks: Asks) -> Answers:
        before = about.answers or Answers()
        results = {
            pod.name: "status 500" if pod.revision in self.failing_tests else None
            for pod in about.pods
            if pod.name in asks.smoke
        }
        looked = (self.traffic, Window()) if asks.look else before.looked
        return Answers({**before.smoke, **results}, looked)

    def _once(self, about: Seen) -> Decision:
        is_stopped = self.is_paused or self.replicas == 0
        return decide(about, [], self.now, wanted=self.replicas, is_stopped=is_stopped)

    def _report(self, about: Seen, decision: Decision) -> InferenceServiceStatus:
        return reported(decision, about, self.now, Scale(self.replicas)).status


Rollouts.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestRollouts = Rollouts.TestCase
