"""Every rollout ends, whatever users, pods and clocks do: a small simulated cluster, driven at random."""

from dataclasses import dataclass, field
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from penstock import names
from penstock.api.status import InferenceServiceStatus
from penstock.api.v1alpha1 import InferenceService
from penstock.observe import Seen, SeenDeployment
from penstock.rollout.decide import Decision, decide
from penstock.scaling import Scale

from tests.builders import DEADLINE, T0, WIPED, a_service, reported, seen

REVISIONS = ("v1", "v2", "v3", "v4")


@dataclass
class Deployments:
    """A Deployment controller in miniature: one pod more, then one old pod less, as readiness allows."""

    target: str = ""
    wanted: int = 0
    new: int = 0
    old: int = 0
    is_observed: bool = False
    broken: set[str] = field(default_factory=set)

    def write(self, target: str, wanted: int) -> None:
        if (target, wanted) == (self.target, self.wanted):
            return
        if target != self.target:
            # An old ReplicaSet's pods count again once their template is back; to the policy it makes no difference.
            self.old, self.new = self.old + self.new, 0
        self.target, self.wanted, self.is_observed = target, wanted, False

    def step(self) -> None:
        self.is_observed = bool(self.target)
        if self.wanted == 0:
            self.new = self.old = 0
        elif self.old and (self.available_new or self.old > self.wanted):
            self.old -= 1
        elif self.new + self.old <= self.wanted:
            self.new += 1
        self.new = min(self.new, self.wanted)

    @property
    def is_complete(self) -> bool:
        return self.is_observed and self.old == 0 and self.available_new == self.wanted > 0

    @property
    def available_new(self) -> int:
        return 0 if self.target in self.broken else self.new

    def observed(self) -> SeenDeployment | None:
        if not self.target:
            return None
        available = self.old + self.available_new
        return SeenDeployment(
            self.target, self.wanted, self.old + self.new, self.new, available, available, self.is_observed
        )


class Rollouts(RuleBasedStateMachine):
    """Spec edits, sick and healthy pods, time, pauses, suspensions and wiped statuses, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = T0
        self.current = "v1"
        self.strategy = "RollingUpdate"
        self.is_paused = False
        self.replicas = 2
        self.status = WIPED
        self.annotations: dict[str, str] = {}
        self.cluster = Deployments()
        self.rolled_out: set[str] = set()
        self.decision: Decision | None = None

    @rule(revision=st.sampled_from(REVISIONS))
    def edit_the_spec(self, revision: str) -> None:
        self.current = revision

    @rule(strategy=st.sampled_from(["RollingUpdate", "Recreate"]))
    def edit_the_strategy(self, strategy: str) -> None:
        self.strategy = strategy

    @rule(revision=st.sampled_from(REVISIONS), is_broken=st.booleans())
    def change_the_health_of_a_revision(self, revision: str, is_broken: bool) -> None:
        (self.cluster.broken.add if is_broken else self.cluster.broken.discard)(revision)

    @rule(seconds=st.sampled_from([-3600, 1, 60, 601, 10_000]))
    def let_time_pass(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(is_paused=st.booleans())
    def pause_or_resume(self, is_paused: bool) -> None:
        self.is_paused = is_paused

    @rule(replicas=st.integers(0, 3))
    def scale(self, replicas: int) -> None:
        self.replicas = replicas

    @rule()
    def wipe_the_status(self) -> None:
        self.status = WIPED

    @rule()
    def let_the_deployment_controller_act(self) -> None:
        self.cluster.step()
        # Seen by a pass or not: it has proved itself.
        if self.cluster.is_complete:
            self.rolled_out.add(self.cluster.target)

    @rule(is_killed_between=st.booleans())
    def make_a_pass(self, is_killed_between: bool) -> None:
        """Children first, then the status; the operator may be killed in between."""
        about = self._seen()
        decision = self._decide(about)
        assert decision.target in (decision.stable, decision.current)
        assert decision.stable is None or decision.failed != decision.stable
        if decision.phase == "Stable":
            self.rolled_out.add(decision.current)
        assert decision.target == self.current or decision.target in self.rolled_out
        if not self.is_paused:
            self.cluster.write(decision.target, self.replicas)
            pairs = ((names.ANNOTATION_STABLE, decision.stable), (names.ANNOTATION_FAILED, decision.failed))
            self.annotations = {key: value for key, value in pairs if value}
        if not is_killed_between:
            self.status = self._report(about, decision)
        self.decision = decision

    @invariant()
    def two_decisions_on_the_same_observation_are_equal(self) -> None:
        about = self._seen()
        first = self._decide(about)
        again = self._decide(self._seen(self._report(about, first)))
        # The reason may turn from what just happened to how things stand.
        assert self._report(about, again) == self._report(about, first)
        assert (again.target, again.slot, again.phase) == (first.target, first.slot, first.phase)

    def teardown(self) -> None:
        """Without new input every rollout ends, or stands where the status says."""
        self._settle()
        self.now += 2 * DEADLINE
        self._settle()
        self._assert_settled()

    def _settle(self) -> None:
        for _ in range(12):
            self.make_a_pass(is_killed_between=False)
            self.let_the_deployment_controller_act()

    def _assert_settled(self) -> None:
        decision = self.decision
        assert decision is not None
        if self.is_paused or self.replicas == 0:
            assert decision.phase == "Stable" or decision.paused_at is not None or decision.phase == "RolledBack"
            return
        assert decision.phase in ("Stable", "RolledBack") or decision.is_overdue
        if decision.phase == "Stable":
            assert self.cluster.target == self.current
        if self.current not in self.cluster.broken and decision.failed != self.current:
            assert decision.phase == "Stable"
        assert self.status.rollout is not None
        assert self.status.rollout.phase == decision.phase

    def _service(self, status: InferenceServiceStatus) -> InferenceService:
        return a_service(rollout={"strategy": self.strategy}, status=status)

    def _seen(self, status: InferenceServiceStatus | None = None) -> Seen:
        service = self._service(status or self.status)
        return seen(service, deployment=self.cluster.observed(), annotations=self.annotations)

    def _decide(self, about: Seen) -> Decision:
        return decide(about, self.current, [], self.now, is_stopped=self.is_paused or self.replicas == 0)

    def _report(self, about: Seen, decision: Decision) -> InferenceServiceStatus:
        return reported(decision, about, self.now, Scale(self.replicas)).status


Rollouts.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestRollouts = Rollouts.TestCase
