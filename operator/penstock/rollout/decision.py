"""What a rollout is decided from and what a decision is: plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypedDict, Unpack

from penstock.api.rollout import Way
from penstock.api.status import (
    AbTestStatus,
    AnalysisStatus,
    CanaryStatus,
    LastAction,
    RolloutPhase,
    RolloutStatus,
    SmokeTestStatus,
)
from penstock.names import Slot
from penstock.observed.causes import Cause
from penstock.observed.values import Seen, SeenDeployment
from penstock.slot_plan import SlotPlan


class RolloutFields(TypedDict, total=False):
    """Those of a RolloutStatus, to change some of them."""

    phase: RolloutPhase | None
    strategy: Way | None
    plan: str | None
    max_surge: int | None
    stable_revision: str | None
    current_revision: str | None
    failed_revision: str | None
    reason: str | None
    failure: str | None
    active_slot: str | None
    preview_slot: str | None
    started_at: datetime | None
    progressed_at: datetime | None
    deadline_at: datetime | None
    paused_at: datetime | None
    is_paused: bool | None
    shared_revision: str | None
    canary: CanaryStatus | None
    tested_at: datetime | None
    gate_opens_at: datetime | None
    is_promoted: bool | None
    is_fully_promoted: bool | None
    latched_replicas: int | None
    switched_at: datetime | None
    hold_ends_at: datetime | None
    available_replicas: int | None
    loaded_bytes: int | None
    smoke_test: SmokeTestStatus | None
    analysis: AnalysisStatus | None
    ab_test: AbTestStatus | None
    last_action: LastAction | None
    message: str


@dataclass(frozen=True, slots=True)
class Asks:
    """What the pods are to be asked before the decision can go on: the answers come with a later pass."""

    smoke: frozenset[str] = frozenset()  # pods to send the smoke test to
    measure: bool = False  # at the counters of both slots' pods
    arms: bool = False  # the same, for an A/B test
    judge: AbTestStatus | None = None  # this A/B test, which is complete


@dataclass(frozen=True, slots=True)
class Decision:
    """Which revision runs where, and why. `requeue_at` is when the answer may change by time alone."""

    rollout: RolloutStatus  # as the status is to have it
    target: str  # the revision that is to serve in the end
    active: Slot
    slots: Mapping[Slot, SlotPlan]
    shares: Mapping[Slot, int] = field(default_factory=dict)  # percent of what comes through a gateway, by slot
    variant: Slot | None = None  # gets the requests that an A/B test marks
    asks: Asks = Asks()
    waiting_for: str | None = None  # what keeps the step that the message names from being taken
    requeue_at: datetime | None = None
    is_overdue: bool = False

    @property
    def phase(self) -> RolloutPhase:
        return self.rollout.phase or "Deploying"

    @property
    def message(self) -> str:
        return self.rollout.message

    @property
    def current(self) -> str:
        return self.rollout.current_revision or ""

    @property
    def stable(self) -> str | None:
        return self.rollout.stable_revision

    @property
    def failed(self) -> str | None:
        return self.rollout.failed_revision

    @property
    def is_shared(self) -> bool:
        """The Service selects both slots."""
        return self.rollout.shared_revision is not None

    @property
    def selected(self) -> frozenset[Slot]:
        """The slots that the Service is to select."""
        return frozenset(Slot if self.is_shared else [self.active])

    @property
    def has_failed(self) -> bool:
        """The revision of the spec was given up."""
        return self.failed is not None and self.failed == self.current

    @property
    def is_at_rest(self) -> bool:
        """Nothing is on its way."""
        return self.phase in ("Stable", "RolledBack")


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a decision rests on. `is_stopped`: hands off, no pods wanted, or refused by the API server."""

    seen: Seen
    recorded: RolloutStatus
    now: datetime
    wanted: int
    is_stopped: bool
    causes: Sequence[Cause]

    @property
    def current(self) -> str:
        return self.seen.current

    @property
    def stable(self) -> str:
        """The revision to go back to; before the first update, the one that there is."""
        return self.recorded.stable_revision or self.current

    @property
    def is_halted(self) -> bool:
        """No step is taken now, and no time counts."""
        return self.is_stopped or bool(self.recorded.is_paused)

    @property
    def active(self) -> SeenDeployment | None:
        """The Deployment of the slot that serves."""
        return self.seen.slots.get(self.seen.active)

    @property
    def idle(self) -> SeenDeployment | None:
        """The Deployment of the other slot."""
        return self.seen.slots.get(self.seen.idle)

    @property
    def is_by_route(self) -> bool:
        """A gateway shares the requests, and not only the number of pods."""
        return self.seen.service.spec.gateway is not None

    @property
    def placeable(self) -> int:
        """Pods to have while they are replaced in place: no more than had room when that began."""
        return min(self.wanted, self.recorded.latched_replicas or self.wanted)

    @property
    def incoming(self) -> SeenDeployment | None:
        """The Deployment of the other slot, if it runs the new revision."""
        return self.idle if self.idle is not None and self.idle.revision == self.current else None

    @property
    def available(self) -> int:
        """Pods of the new revision in the other slot that are available.

        By the Deployment's count and by the pods themselves: the count still holds pods that are going already.
        """
        new = self.incoming
        ready = sum(1 for pod in self.seen.ready(self.seen.idle) if pod.revision == self.current)
        return min(new.available_of_revision, ready) if new is not None and new.is_observed else 0

    def remembering(self, **fields: Unpack[RolloutFields]) -> "Situation":
        return replace(self, recorded=changed(self.recorded, **fields))


def changed(status: RolloutStatus, **fields: Unpack[RolloutFields]) -> RolloutStatus:
    """The same with other fields."""
    return status.model_copy(update=fields)


def at(s: Situation, marked: RolloutStatus, phase: RolloutPhase, message: str) -> RolloutStatus:
    """The status of a step of the way forward, or of one that the user has paused."""
    return changed(marked, phase="RolloutPaused" if s.recorded.is_paused else phase, message=message)


def slot_plan(s: Situation, revision: str, replicas: int) -> SlotPlan:
    """How the slot's Deployment is written while nothing in it is replaced, and when something is in place."""
    strategy = s.seen.service.spec.strategy
    is_under_way = s.recorded.started_at is not None and s.recorded.stable_revision is not None
    if strategy in ("RollingUpdate", "Recreate") and not is_under_way:
        return SlotPlan(revision, replicas, strategy)
    # What the last rollout did stays, so that its end writes nothing.
    way = s.recorded.strategy if s.recorded.strategy in ("RollingUpdate", "Recreate") else "RollingUpdate"
    return SlotPlan(revision, replicas, way, s.recorded.max_surge)


def parked(s: Situation) -> dict[Slot, SlotPlan]:
    """The slot that does not serve, without pods: kept, so that going back to it needs no new Deployment."""
    # Recreate a Deployment that was deleted with --cascade=orphan: nothing else would delete its pods.
    left = (pod.revision for pod in s.seen.pods if pod.slot == s.seen.idle and not pod.is_leaving)
    revision = s.idle.revision if s.idle is not None else next(left, None)
    if revision is None or revision not in s.seen.templates:
        return {}
    return {s.seen.idle: replace(slot_plan(s, revision, 0), way="RollingUpdate", max_surge=None)}


def beside(s: Situation, revision: str, replicas: int) -> SlotPlan:
    """In the slot that does not serve. Pods of another revision may go first there, and free their place."""
    has_others = any(pod.slot == s.seen.idle and pod.revision != revision for pod in s.seen.pods)
    return SlotPlan(revision, replicas, "Recreate" if has_others else "RollingUpdate")


def as_it_is(s: Situation, replicas: int | None = None) -> dict[Slot, SlotPlan]:
    """The other slot with what it runs, and the pods that it has, or that many."""
    plans = parked(s)
    if s.wanted == 0:
        return plans
    had = s.idle.wanted if s.idle else 0
    kept = had if replicas is None else replicas
    return {slot: replace(plan, replicas=kept) for slot, plan in plans.items()}
