"""The end of a canary that does not go on: its pods give way to the stable revision's, or to the next one's."""

from dataclasses import replace

from penstock.api.status import RolloutPhase
from penstock.observed import causes
from penstock.rollout import canary_counts, route_weights
from penstock.rollout.canary_counts import Counts
from penstock.rollout.decision import Decision, Situation, as_it_is, at, changed, slot_plan


def give_way(s: Situation, phase: RolloutPhase, message: str) -> Decision:
    """A canary's pods end as the stable revision's come back; the Service selects both until none of them is left."""
    now = canary_counts.written(s) if s.recorded.is_paused else _ending(s)
    # Its own clock begins when it is the next one's turn.
    paused_at = None if phase == "Aborting" else s.recorded.paused_at or s.now
    waiting_for = None
    if not s.seen.ready(s.seen.active) and s.wanted:
        waiting_for = f"no pod of revision {s.stable} answers"
    elif now.canary and not s.recorded.is_paused and _is_in_no_hurry(s):
        waiting_for = route_weights.ROUTE_PENDING
    return Decision(
        rollout=at(s, changed(s.recorded, paused_at=paused_at), phase, message),
        target=s.stable if phase == "Aborting" else s.current,
        active=s.seen.active,
        slots={s.seen.active: slot_plan(s, s.stable, now.stable), **as_it_is(s, now.canary)},
        shares=route_weights.weights_back(s),
        waiting_for=waiting_for,
    )


def _ending(s: Situation) -> Counts:
    """The next sizes. Where no stable pod could answer, those that could stay, listed as endpoints or not.

    But for one, if others do, that gives its place to a stable pod which waits for it: all traffic would stay here.
    """
    now, could = canary_counts.back(s), len(s.seen.ready(s.seen.idle))
    if s.seen.ready(s.seen.active):
        return replace(now, canary=canary_counts.written(s).canary) if now.canary and _is_in_no_hurry(s) else now
    in_the_way = 1 if could > 1 and causes.unplaced(s.seen, s.seen.active) else 0
    return replace(now, canary=max(now.canary, min(could, canary_counts.written(s).canary) - in_the_way))


def _is_in_no_hurry(s: Situation) -> bool:
    """No stable pod needs the place of a canary's, and a gateway may still send these more than a few could take."""
    is_full = canary_counts.written(s).stable >= s.wanted and not causes.unplaced(s.seen, s.seen.active)
    return is_full and not route_weights.has_way_back(s)


def to_the_next(s: Situation) -> Decision:
    """An earlier canary ends, for the next revision.

    Where the stable one is broken its pods would never come back: the canary's serve on alone, and the next revision
    takes the place of the broken one.
    """
    is_all_there_is = s.seen.ready(s.seen.idle) and causes.is_broken(s.seen, s.seen.active, s.now)
    if s.is_halted or not is_all_there_is:
        return give_way(s, "Preparing", "an earlier canary ends")
    message = f"traffic is sent to revision {s.recorded.shared_revision} alone: no pod of {s.stable} answers"
    now = canary_counts.written(s)
    return Decision(
        rollout=changed(s.recorded, phase="Preparing", message=message, shared_revision=None),
        target=s.current,
        active=s.seen.idle,
        slots={s.seen.active: slot_plan(s, s.stable, now.stable), **as_it_is(s, now.canary)},
        # The endpoints are the same before and after: no event would tell that the Service has been written.
        requeue_at=s.now,
    )
