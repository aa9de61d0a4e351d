"""The clock of a rollout: it fails when it makes no progress for `progressDeadlineSeconds`.

Progress is a pod that became available, or bytes of a model fetched and loaded. Marks only rise: a pod that flaps, or
is replaced, makes none. Time in which nothing was to happen does not count.
"""

from datetime import datetime, timedelta

from penstock.api.status import RolloutStatus
from penstock.observed.causes import most_telling
from penstock.observed.values import SeenDeployment
from penstock.rollout.decision import Situation, changed


def ticked(
    s: Situation, to: RolloutStatus, deployment: SeenDeployment | None, *, is_halted: bool
) -> tuple[RolloutStatus, bool]:
    """The status with its marks and its clock brought up to date, and whether the time is over."""
    available, loaded = _shown(s, deployment)
    high_available, high_loaded = s.recorded.available_replicas or 0, s.recorded.loaded_bytes or 0
    if available > high_available or loaded > high_loaded:
        progressed_at, paused_at = s.now, None
    else:
        progressed_at, paused_at = _clock(s.recorded, s.now, is_halted=is_halted)
    deadline_at = progressed_at + timedelta(seconds=s.seen.service.spec.rollout.progress_deadline_seconds)
    marked = changed(
        to,
        progressed_at=progressed_at,
        deadline_at=deadline_at,
        paused_at=(paused_at or s.now) if is_halted else None,
        available_replicas=max(available, high_available) or None,
        # A pod that has become available no longer tells its bytes: the next one's are counted from here.
        loaded_bytes=(loaded if available > high_available else max(loaded, high_loaded)) or None,
    )
    # Pods that have not reported their bytes yet, to an operator that has just started, may have made progress.
    return marked, not is_halted and s.now >= deadline_at and s.seen.progress is not None


def timed_out(s: Situation) -> str:
    """That, and the likeliest reason why, the current revision made no progress in its time."""
    cause = most_telling(s.causes, s.current)
    because = f": {cause.reason}: {cause.message}" if cause else ""
    limit = s.seen.service.spec.rollout.progress_deadline_seconds
    return f"revision {s.current} made no progress for {limit} s{because}"


def _clock(recorded: RolloutStatus, now: datetime, *, is_halted: bool) -> tuple[datetime, datetime | None]:
    """When it last progressed, and since when the clock stands still."""
    # A clock that was set back must not hand out more time than the deadline allows.
    progressed = min(recorded.progressed_at or now, now)
    if recorded.paused_at is None or is_halted:
        return progressed, recorded.paused_at
    return progressed + max(now - recorded.paused_at, timedelta()), None


def _shown(s: Situation, deployment: SeenDeployment | None) -> tuple[int, int]:
    """Available pods, and bytes fetched and loaded, of the revision; those of pods it is replacing do not count."""
    if deployment is None or deployment.revision != s.current:
        return 0, 0
    available = deployment.available_of_revision if deployment.is_observed else 0
    return available, s.seen.progress.bytes + s.seen.progress.loaded_bytes if s.seen.progress else 0
