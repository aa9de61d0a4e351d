"""What the active slot is to run: the whole of the rollout's policy, as a pure function of what was seen.

RollingUpdate and Recreate replace the pods in place. Three facts are independent of each other: `stable` is the last
revision rolled out completely, `current` is the one of the spec, `failed` is one that was given up. A revision fails
when it makes no progress for `progressDeadlineSeconds`; the stable one's stored template is then applied again.
Every wait is a time in the status, so a restart in between changes nothing.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from penstock import names
from penstock.api.rollout import Strategy
from penstock.api.status import RolloutPhase, RolloutStatus
from penstock.failures import Cause, most_telling
from penstock.names import Slot
from penstock.observe import Seen, SeenDeployment


@dataclass(frozen=True, slots=True)
class Decision:
    """Which revision runs where, and why. `requeue_at` is when the answer may change by time alone."""

    current: str
    target: str
    strategy: Strategy
    phase: RolloutPhase
    message: str
    slot: Slot = Slot.BLUE
    stable: str | None = None
    failed: str | None = None
    started_at: datetime | None = None
    progressed_at: datetime | None = None
    deadline_at: datetime | None = None
    paused_at: datetime | None = None
    available: int = 0
    loaded_bytes: int = 0
    is_overdue: bool = False

    @property
    def requeue_at(self) -> datetime | None:
        return None if self.is_overdue or self.paused_at else self.deadline_at


def remembered(seen: Seen) -> RolloutStatus:
    """The rollout as last recorded; a wiped status is rebuilt from the active Service's annotations.

    Before the first update there are none: what the Deployment has rolled out completely is then the stable revision.
    """
    status = seen.service.status.rollout
    if status is not None and status.current_revision is not None:
        return status
    running = seen.deployment
    complete = running.revision if running and running.revision and _is_rolled_out(seen, running.revision) else None
    return RolloutStatus(
        stable_revision=seen.annotations.get(names.ANNOTATION_STABLE) or complete,
        failed_revision=seen.annotations.get(names.ANNOTATION_FAILED),
    )


def decide(seen: Seen, current: str, causes: list[Cause], now: datetime, *, is_stopped: bool) -> Decision:
    """Decide from the recorded rollout, the pods and the time. `is_stopped`: paused, or no pods are wanted."""
    was = remembered(seen)
    if was.failed_revision == current and was.stable_revision not in (None, current):
        return _rolled_back(seen, was, current)
    if was.stable_revision == current:
        return _stable(seen, current)
    moved = _moved(seen, was, current, now, is_stopped=is_stopped)
    if not is_stopped and _is_rolled_out(seen, current):
        return _stable(seen, current)
    if not moved.is_overdue:
        return moved
    return _given_up(moved, was.stable_revision, causes, seen)


def _stable(seen: Seen, current: str) -> Decision:
    return Decision(
        current=current,
        target=current,
        stable=current,
        strategy=seen.service.spec.strategy,
        phase="Stable",
        message=f"revision {current} is rolled out",
    )


def _rolled_back(seen: Seen, was: RolloutStatus, current: str) -> Decision:
    stable = was.stable_revision or current
    again = f"revision {current} failed and {stable} was restored; change the spec, or restart, to try again"
    return Decision(
        current=current,
        target=stable,
        stable=stable,
        failed=current,
        strategy=was.strategy or seen.service.spec.strategy,
        phase="RolledBack",
        message=was.message or again,
    )


def _moved(seen: Seen, was: RolloutStatus, current: str, now: datetime, *, is_stopped: bool) -> Decision:
    """The rollout under way, its marks and its clock brought up to date."""
    is_new = was.current_revision != current or was.started_at is None
    # A rollout ends by the strategy it began with, whatever is edited meanwhile.
    strategy = (None if is_new else was.strategy) or seen.service.spec.strategy
    available, loaded = _available(seen.deployment, current), _loaded(seen, current)
    high_available, high_loaded = (0, 0) if is_new else (was.available_replicas or 0, was.loaded_bytes or 0)
    # Marks only rise: a pod that flaps, or is replaced, makes no progress.
    has_progressed = is_new or available > high_available or loaded > high_loaded
    progressed_at, paused_at = (now, None) if has_progressed else _clock(was, now, is_stopped=is_stopped)
    deadline = progressed_at + timedelta(seconds=seen.service.spec.rollout.progress_deadline_seconds)
    decision = Decision(
        current=current,
        target=current,
        stable=was.stable_revision,
        strategy=strategy,
        phase="Progressing" if was.stable_revision else "Deploying",
        message=_standing(seen, current, was.stable_revision),
        started_at=now if is_new else was.started_at,
        progressed_at=progressed_at,
        deadline_at=deadline,
        available=max(available, high_available),
        # A pod that has become available no longer tells its bytes: the next one's are counted from here.
        loaded_bytes=loaded if available > high_available else max(loaded, high_loaded),
    )
    if is_stopped:
        return replace(decision, paused_at=paused_at or now)
    return replace(decision, is_overdue=now >= deadline)


def _clock(was: RolloutStatus, now: datetime, *, is_stopped: bool) -> tuple[datetime, datetime | None]:
    """When it last progressed, and since when the clock stands still; time that it stood still does not count."""
    # A clock that was set back must not hand out more time than the deadline allows.
    progressed = min(was.progressed_at or now, now)
    if was.paused_at is None or is_stopped:
        return progressed, was.paused_at
    return progressed + max(now - was.paused_at, timedelta()), None


def _given_up(moved: Decision, stable: str | None, causes: list[Cause], seen: Seen) -> Decision:
    cause = most_telling(causes, moved.current)
    because = f": {cause.reason}: {cause.message}" if cause else ""
    limit = seen.service.spec.rollout.progress_deadline_seconds
    failed = f"revision {moved.current} made no progress for {limit} s{because}"
    if stable is None:
        # There is nothing to go back to, and the cause may yet go away: keep trying, and say so.
        return replace(moved, message=failed)
    return replace(
        moved,
        target=stable,
        failed=moved.current,
        phase="RolledBack",
        message=f"{failed}; {stable} was restored",
        started_at=None,
        progressed_at=None,
        deadline_at=None,
        available=0,
        loaded_bytes=0,
    )


def _is_rolled_out(seen: Seen, revision: str) -> bool:
    """No old pod is left, and every pod of the revision that has a node is available.

    A pod that waits for a node proves nothing against the revision: an autoscaler may want more than there is room for.
    """
    deployment = seen.deployment
    if deployment is None or deployment.revision != revision or not deployment.is_observed:
        return False
    if deployment.is_complete and deployment.wanted > 0:
        return True
    waiting = sum(1 for pod in seen.pods if pod.unschedulable is not None and not pod.is_leaving)
    settled = deployment.updated == deployment.replicas == deployment.wanted
    return settled and deployment.available >= 1 and deployment.available + waiting >= deployment.wanted


def _available(deployment: SeenDeployment | None, revision: str) -> int:
    if deployment is None or deployment.revision != revision or not deployment.is_observed:
        return 0
    return deployment.available_of_revision


def _loaded(seen: Seen, revision: str) -> int:
    """Bytes that the revision's pods have fetched and loaded; those of pods it is replacing are not its progress."""
    if seen.deployment is None or seen.deployment.revision != revision:
        return 0
    return seen.progress.bytes + seen.progress.loaded_bytes


def _standing(seen: Seen, current: str, stable: str | None) -> str:
    deployment = seen.deployment
    if deployment is None or deployment.revision != current or not deployment.is_observed:
        return f"revision {current} is being started"
    done = f"{deployment.available_of_revision} of {deployment.wanted} pods of revision {current} are available"
    old = deployment.replicas - deployment.updated
    return f"{done}, {old} of {stable} still there" if stable and old > 0 else done
