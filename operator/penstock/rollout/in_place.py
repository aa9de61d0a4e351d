"""RollingUpdate and Recreate: the Deployment controller replaces the pods of the slot that serves.

A first deployment goes this way too, whatever the strategy: there is nothing yet to protect. For the same reason the
pods of a first revision that was never rolled out go before those of the next one come: they may hold the GPU, the
quota or the port that it needs.
"""

from dataclasses import replace

from penstock.api.status import RolloutPhase
from penstock.names import Reason
from penstock.observed import causes
from penstock.observed.values import Seen
from penstock.rollout import deadline, rollback
from penstock.rollout.decision import Decision, Situation, changed, parked, slot_plan


def forward(s: Situation) -> Decision:
    """On to the current revision, until it is rolled out or its time is over."""
    if not s.is_halted and is_rolled_out(s.seen, s.current):
        return rollback.promoted(s)
    began, is_overdue = deadline.ticked(s, s.recorded, s.active, is_halted=s.is_halted)
    phase: RolloutPhase = (
        "RolloutPaused" if s.recorded.is_paused else "Progressing" if s.recorded.stable_revision else "Deploying"
    )
    on = replace(
        _here(s),
        rollout=changed(began, phase=phase, message=_progress(s)),
        requeue_at=None if is_overdue or s.is_halted else began.deadline_at,
    )
    return _given_up(s, on) if is_overdue else on


def is_rolled_out(seen: Seen, revision: str) -> bool:
    """No old pod is left, and every pod of the revision that found a place is available.

    A pod that waits for a node, or that a quota keeps from being created, proves nothing against the revision: an
    autoscaler may want more than there is room for.
    """
    deployment = seen.deployment
    if deployment is None or deployment.revision != revision or not deployment.is_observed:
        return False
    if deployment.is_complete and deployment.wanted > 0:
        return True
    created = deployment.wanted - causes.uncreated(seen, seen.active)
    settled = deployment.updated == deployment.replicas == created
    waiting = causes.unplaced(seen, seen.active)
    return settled and deployment.available >= 1 and deployment.available + waiting >= deployment.wanted


def has_others(s: Situation) -> bool:
    """There are pods of another revision in the slot that serves, or there may be soon."""
    is_other = s.active is not None and s.active.revision != s.current
    return is_other or any(pod.slot == s.seen.active and pod.revision != s.current for pod in s.seen.pods)


def _here(s: Situation) -> Decision:
    plan = replace(slot_plan(s, s.current, s.placeable), is_paused=bool(s.recorded.is_paused))
    if s.recorded.stable_revision is None and has_others(s):
        plan = replace(plan, way="Recreate", max_surge=None)
    return Decision(
        rollout=s.recorded, target=s.current, active=s.seen.active, slots={s.seen.active: plan, **parked(s)}
    )


def _given_up(s: Situation, on: Decision) -> Decision:
    failed = deadline.timed_out(s)
    if s.recorded.stable_revision is None or s.recorded.stable_revision not in s.seen.templates:
        # There is nothing to go back to, and the cause may yet go away: keep trying, and say so.
        return replace(on, rollout=changed(on.rollout, message=failed), is_overdue=True)
    return rollback.fail(s, Reason.PROGRESS_DEADLINE_EXCEEDED, failed)


def _progress(s: Situation) -> str:
    deployment = s.active
    if s.recorded.is_paused:
        return "paused; the action resume goes on, and abort goes back"
    if deployment is None or deployment.revision != s.current or not deployment.is_observed:
        return f"revision {s.current} is being started"
    done = f"{deployment.available_of_revision} of {deployment.wanted} pods of revision {s.current} are available"
    old = deployment.replicas - deployment.updated
    return f"{done}, {old} of {s.recorded.stable_revision or 'earlier revisions'} still there" if old > 0 else done
