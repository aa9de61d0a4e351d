"""The way to the stable revision, and being there: Stable, or RolledBack after a revision that failed.

Going back asks nothing of the revision it leaves: that one may be crash-looping. The only condition is that the stable
one has a pod that answers; until then the traffic stays where it is. The pods of the failed revision go only when
nothing selects them any more.
"""

from datetime import timedelta
from typing import Final

from penstock.api.status import RolloutStatus
from penstock.names import Reason, Slot
from penstock.observed import causes
from penstock.rollout import canary_retreat
from penstock.rollout.decision import Decision, Situation, as_it_is, beside, changed, parked, slot_plan
from penstock.slot_plan import SlotPlan

_ASKED_FOR: Final = (Reason.ABORTED_BY_USER, Reason.ROLLED_BACK_BY_USER)


def fail(s: Situation, reason: Reason, message: str) -> Decision:
    """Give up the current revision, and go back to the stable one."""
    return back(given_up(s, reason, message))


def given_up(s: Situation, reason: Reason, message: str) -> Situation:
    """The current revision is the failed one from here on."""
    return s.remembering(
        failed_revision=s.current,
        reason=reason,
        failure=message,
        phase="Aborting",
        # In place, the way back has to do with as many as there was room for too.
        latched_replicas=s.recorded.latched_replicas if s.recorded.max_surge is not None else None,
        deadline_at=None,
        is_paused=None,
        is_promoted=None,
        is_fully_promoted=None,
    )


def stopped(s: Situation) -> str | None:
    """Why none of the new revision's pods answers any more, if the cause is their own; None if it is not.

    A pod that is leaving, waits for a node or comes up again says nothing about its revision: it is waited for.
    """
    cause = next((each for each in s.causes if each.revision == s.current and each.is_of_the_pod_itself), None)
    return f"no pod of revision {s.current} answers any more: {cause.reason}: {cause.message}" if cause else None


def back(s: Situation) -> Decision:
    """One step on the way to the stable revision, from wherever the rollout stands."""
    if s.recorded.shared_revision:
        return canary_retreat.give_way(s, "Aborting", _way_back(s))
    if s.active is not None and s.active.revision != s.stable:
        if s.idle is not None and s.idle.revision == s.stable:
            return switch_back(s)
        if s.recorded.strategy in ("BlueGreen", "Canary") and not _is_at_rest(s):
            return _prepare(s)
    return at_rest(s) if _has_arrived(s) else _on_the_way(s)


def at_rest(s: Situation) -> Decision:
    """The stable revision serves, and nothing is on its way."""
    is_failed = s.recorded.failed_revision == s.current and s.stable != s.current
    phase = "RolledBack" if is_failed else "Stable"
    ended = s.remembering(started_at=None)
    return Decision(
        rollout=_settled(s, is_failed=is_failed, phase=phase),
        target=s.stable,
        active=s.seen.active,
        slots={s.seen.active: slot_plan(ended, s.stable, s.wanted), **(_kept_for_inspection(s) or parked(s))},
    )


def promoted(s: Situation) -> Decision:
    """The current revision is the stable one now; what belonged to its rollout is forgotten."""
    return at_rest(s.remembering(stable_revision=s.current, failed_revision=None))


def switch_back(s: Situation) -> Decision:
    """The stable revision's pods are in the other slot: send the traffic there as soon as enough of them answer."""
    home = s.seen.idle
    marked, is_overdue = _clocked(s)
    ready, needed = len(s.seen.ready(home)), _needed(s)
    can_go = ready >= needed or (ready > 0 and is_overdue)
    missing = f"{ready} of the {needed} pods of revision {s.stable} that it needs answer"
    return Decision(
        rollout=changed(marked, phase="Aborting", message=_way_back(s)),
        waiting_for=None if can_go else missing,
        target=s.stable,
        active=home if can_go else s.seen.active,
        slots=_both(s),
        requeue_at=None if can_go or is_overdue else marked.deadline_at,
    )


def _clocked(s: Situation) -> tuple[RolloutStatus, bool]:
    """The way back has the time of a rollout to bring the stable revision's pods to strength; then any must do."""
    latest = s.now + timedelta(seconds=s.seen.service.spec.rollout.progress_deadline_seconds)
    begun = s.recorded.deadline_at if s.recorded.phase == "Aborting" else None
    ends_at = min(begun or latest, latest)
    # The clock of a newer revision, whose turn comes after it, stands still.
    paused_at = None if s.current in (s.stable, s.recorded.failed_revision) else s.recorded.paused_at or s.now
    return changed(s.recorded, deadline_at=ends_at, paused_at=paused_at), s.now >= ends_at


def _prepare(s: Situation) -> Decision:
    """An older revision whose slot has gone: its pods come up beside those that serve."""
    return Decision(
        rollout=changed(s.recorded, phase="Aborting", message=_way_back(s)),
        waiting_for=f"revision {s.stable} is being started",
        target=s.stable,
        active=s.seen.active,
        slots=_both(s),
    )


def _on_the_way(s: Situation) -> Decision:
    """In place: the Deployment controller brings the stable template's pods back."""
    there = _kept_for_inspection(s) or (parked(s) if is_reached(s) else as_it_is(s))
    waiting = causes.unplaced(s.seen, s.seen.active)
    return Decision(
        rollout=changed(s.recorded, phase="Aborting", message=_way_back(s)),
        waiting_for=f"there is no room for {waiting} of the pods" if waiting else None,
        target=s.stable,
        active=s.seen.active,
        slots={s.seen.active: slot_plan(s, s.stable, _placed(s)), **there},
    )


def _placed(s: Situation) -> int:
    """As many as answer, or have a node: while others wait, the Deployment controller ends none of the failed ones.

    Those that are left out come when it is at rest: asking for them before would only have them wait again.
    """
    if not s.placeable:
        return 0
    inside = [pod for pod in s.seen.pods if pod.slot == s.seen.active and not pod.is_leaving]
    written = s.active.wanted if s.active and s.active.wanted else s.placeable
    placed = sum(1 for pod in inside if pod.is_ready or (pod.revision == s.stable and pod.unschedulable is None))
    return max(min(s.placeable, written, placed if causes.unplaced(s.seen, s.seen.active) else written), 1)


def _way_back(s: Situation) -> str:
    """Why it goes back, if there is a reason besides a spec that was put back or asks for another revision."""
    failure = s.recorded.failure if s.recorded.failed_revision == s.current else None
    if failure is None:
        return f"going back to revision {s.stable}"
    return failure if s.recorded.reason in _ASKED_FOR else f"{failure}; going back to {s.stable}"


def _outcome(s: Situation) -> str:
    """The same when the stable revision serves alone. A wiped status has forgotten why."""
    if s.recorded.failure is None:
        return f"revision {s.current} failed and {s.stable} was restored; change the spec, or retry, to try again"
    return s.recorded.failure if s.recorded.reason in _ASKED_FOR else f"{s.recorded.failure}; {s.stable} was restored"


def _both(s: Situation) -> dict[Slot, SlotPlan]:
    """What serves stays as it is, and the stable revision gets its pods beside it."""
    here = s.active
    serving = SlotPlan(here.revision, s.wanted) if here else SlotPlan(s.current, s.wanted)
    there = s.idle
    up = there.wanted if there and there.revision == s.stable and s.wanted else 0
    return {s.seen.active: serving, s.seen.idle: beside(s, s.stable, up or s.wanted)}


def _needed(s: Situation) -> int:
    """Pods of the stable revision that must answer before it takes over.

    One is better than what has failed, or than nothing. What does well is left when as many as serve now, or as its
    slot was kept up with, have taken its place: a drain may have left one of ten. Those that cannot come do not count.
    """
    serving = len(s.seen.ready(s.seen.active))
    has_failed = s.recorded.failed_revision == s.current and s.recorded.reason not in _ASKED_FOR
    if not serving or has_failed:
        return 1
    kept = s.idle.wanted if s.idle and s.idle.wanted else s.wanted
    return max(min(serving, s.wanted, kept - causes.hopeless(s.seen, s.seen.idle, s.now)), 1)


def _has_arrived(s: Situation) -> bool:
    """Whether the stable revision serves alone. Once it did, what becomes of its pods is no rollout any more."""
    if _is_at_rest(s) or s.wanted == 0:
        return True
    here = s.active
    if here is None or here.revision != s.stable or not here.is_observed:
        return False
    return here.updated == here.replicas and here.available >= min(here.wanted, 1) and is_reached(s)


def _is_at_rest(s: Situation) -> bool:
    return s.recorded.phase in (None, "Stable", "RolledBack")


def is_reached(s: Situation, least: int = 1) -> bool:
    """No endpoint that lasts is outside the active slot, and so many inside answer."""
    inside = {pod.name for pod in s.seen.pods if pod.slot == s.seen.active}
    return s.seen.endpoints.lasting <= inside and len(s.seen.endpoints.ready & inside) >= least


def _kept_for_inspection(s: Situation) -> dict[Slot, SlotPlan]:
    """The failed revision's pods without traffic, where the user wants to look into them."""
    is_failed = s.idle is not None and s.idle.revision == s.recorded.failed_revision
    return as_it_is(s) if is_failed and s.seen.service.spec.rollout.on_failure == "Hold" else {}


def _settled(s: Situation, *, is_failed: bool, phase: str) -> RolloutStatus:
    """What is left to remember when nothing is on its way."""
    was = s.recorded
    return RolloutStatus(
        phase=phase,
        strategy=was.strategy,
        plan=was.plan,
        max_surge=was.max_surge,
        stable_revision=s.stable,
        current_revision=s.current,
        failed_revision=s.current if is_failed else None,
        reason=was.reason if is_failed else None,
        failure=was.failure if is_failed else None,
        preview_slot=was.preview_slot,
        # What it has found is worth reading afterwards; that it was cut off is not.
        ab_test=was.ab_test if was.ab_test and was.ab_test.result else None,
        last_action=was.last_action,
        message=_outcome(s) if is_failed else f"revision {s.current} is rolled out",
    )
