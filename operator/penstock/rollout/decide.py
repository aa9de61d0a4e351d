"""Which revision each slot is to run, and which of them serves: the whole of the rollout's policy, as a pure function.

Three facts are independent of each other: `stable` is the last revision rolled out completely, `current` is the one of
the spec, and `active` is the slot that the Service picks. A revision that failed is given up, and `stable` serves on.
Every wait is a time in the status, so a restart in between changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from penstock.api.rollout import Way
from penstock.api.status import RolloutStatus
from penstock.observed import causes
from penstock.observed.causes import Cause
from penstock.observed.values import Seen
from penstock.rollout import actions, blue_green, both_slots, canary, canary_retreat, in_place, rollback, route_weights
from penstock.rollout.decision import Decision, Situation, changed
from penstock.rollout.memory import remembered
from penstock.rollout.plan import Plan, plan

_UNPROTECTED: Final = (
    "Recreate: no revision was ever rolled out, and no pod answers, so there is nothing to protect: "
    "the old pods stop before their successors start"
)


def decide(seen: Seen, causes: Sequence[Cause], now: datetime, *, wanted: int, is_stopped: bool) -> Decision:
    """Decide from the recorded rollout, the pods and the time. `wanted`: pods that the service is to have."""
    s = _situation(seen, causes, now, wanted=wanted, is_stopped=is_stopped)
    step = next(step for applies, step in _STEPS if applies(s))
    decision = step(s)
    decision = route_weights.keeping_what_gets_requests(s, decision)
    return replace(decision, rollout=_about(decision, s))


def needs_room(seen: Seen, now: datetime, *, wanted: int) -> bool:
    """Whether a plan is to be made in this pass, for which the free capacity has to be known."""
    s = _asked(Situation(seen, remembered(seen, now), now, wanted, is_stopped=False, causes=()))
    if s.recorded.stable_revision is None:
        return False
    if _is_new(s):
        return seen.service.spec.strategy == "Auto"
    return s.recorded.strategy == "BlueGreen" and _is_begun(s) and blue_green.needs_room(s)


def _situation(seen: Seen, causes: Sequence[Cause], now: datetime, *, wanted: int, is_stopped: bool) -> Situation:
    s = _asked(Situation(seen, remembered(seen, now), now, wanted, is_stopped, causes))
    return replace(s, recorded=_begin(s)) if _is_new(s) else s


def _is_to_go_back(s: Situation) -> bool:
    """The spec asks for the stable revision, or for one that has failed."""
    asked_back = s.current in (s.recorded.stable_revision, s.recorded.failed_revision)
    return s.recorded.stable_revision is not None and asked_back


def _has_an_earlier_canary(s: Situation) -> bool:
    """The pods of an earlier canary still get traffic: they make room first."""
    return bool(s.recorded.shared_revision) and not canary.is_under_way(s)


def _asked(s: Situation) -> Situation:
    """After what the user asks for."""
    return actions.handled(_released(s))


def _is_new(s: Situation) -> bool:
    """The revision of the spec is to be begun."""
    return s.current not in (s.recorded.stable_revision, s.recorded.failed_revision) and not _is_begun(s)


def _is_another_active(s: Situation) -> bool:
    """A new revision held the traffic when the spec changed again: the base of the next one is what is stable.

    Unless that is broken: it would block the fix, which then takes its place.
    """
    if s.recorded.strategy not in ("BlueGreen", "Canary") or s.active is None or s.idle is None:
        return False
    is_another = s.active.revision not in (s.stable, s.current) and s.idle.revision == s.recorded.stable_revision
    return is_another and not causes.is_broken(s.seen, s.seen.idle, s.now)


def _released(s: Situation) -> Situation:
    """Without the mark that both slots serve, once nothing in the idle one answers, or nothing at all is to."""
    is_left = both_slots.written(s).canary > 0 or bool(s.seen.ready(s.seen.idle))
    return s if is_left and s.wanted else s.remembering(shared_revision=None)


def _is_begun(s: Situation) -> bool:
    return s.recorded.current_revision == s.current and s.recorded.started_at is not None


def _begin(s: Situation) -> RolloutStatus:
    """A new attempt: nothing of an earlier one leaks into it but what serves now."""
    chosen = _plan(s)
    begun = RolloutStatus(
        stable_revision=s.recorded.stable_revision,
        current_revision=s.current,
        strategy=chosen.way if chosen else None,
        plan=chosen.message if chosen else None,
        max_surge=chosen.max_surge if chosen else None,
        latched_replicas=_placed(s, chosen.max_surge) if chosen and chosen.max_surge is not None else None,
        preview_slot=s.recorded.preview_slot,
        shared_revision=s.recorded.shared_revision,
        last_action=s.recorded.last_action,
        started_at=s.now,
        progressed_at=s.now,
    )
    if s.recorded.current_revision:
        return begun
    # A wiped status of this very revision: what the Service remembers of its actions holds on.
    return changed(
        begun,
        is_promoted=s.recorded.is_promoted,
        is_fully_promoted=s.recorded.is_fully_promoted,
        is_paused=s.recorded.is_paused,
    )


def _placed(s: Situation, surge: int) -> int | None:
    """Pods to go on with in place where more are wanted than there is room for; the others come after it.

    One that waits for room would be the one that may be missing, or would take the place of the one too many.
    """
    room = s.seen.room
    if room is None:
        return None
    placed = max(room.own + max(room.fit.copies - surge, 0), 1)
    return placed if placed < s.wanted else None


def _plan(s: Situation) -> Plan | None:
    """How the new revision is to come; a first deployment needs no plan."""
    if s.recorded.stable_revision is None:
        return Plan("Recreate", None, _UNPROTECTED) if in_place.has_others(s) else None
    here, there = s.active, s.idle
    strategy = s.seen.service.spec.strategy
    is_second_set_up = there is not None and there.wanted > 0 and not s.recorded.shared_revision
    # Pods that only stay until a gateway has let go of them are no second set.
    is_second_set_up = is_second_set_up and not route_weights.may_get_requests(s)
    if is_second_set_up and strategy == "Auto":
        return Plan("BlueGreen", None, "BlueGreen: a second set of pods is up already")
    is_in_place = not is_second_set_up and here is not None and here.revision != s.recorded.stable_revision
    if is_in_place and strategy in ("Auto", "BlueGreen", "Canary"):
        # It stopped the old pods first because there was no room for more: there is none for this one either.
        way: Way = "Recreate" if s.recorded.strategy == "Recreate" else "RollingUpdate"
        return Plan(way, s.recorded.max_surge, f"{way}: another one was under way in place")
    return plan(strategy, s.wanted, s.seen.room)


def _about(decision: Decision, s: Situation) -> RolloutStatus:
    """What every decision records alike."""
    message = decision.rollout.message
    return decision.rollout.model_copy(
        update={
            "current_revision": s.current,
            "active_slot": decision.active.value,
            "last_action": s.recorded.last_action,
            "message": f"{message}; waiting: {decision.waiting_for}" if decision.waiting_for else message,
        }
    )


def _goes_by(strategy: Way) -> Callable[[Situation], bool]:
    """There is a stable revision to protect, and the rollout under way began with the strategy."""
    return lambda s: s.recorded.strategy == strategy and s.recorded.stable_revision is not None


# The first that applies is taken.
_STEPS: Final[Sequence[tuple[Callable[[Situation], bool], Callable[[Situation], Decision]]]] = (
    (_is_to_go_back, rollback.back),
    (_has_an_earlier_canary, canary_retreat.to_the_next),
    (_is_another_active, rollback.switch_back),
    (_goes_by("BlueGreen"), blue_green.forward),
    (_goes_by("Canary"), canary.forward),
    (lambda _: True, in_place.forward),  # a first deployment, RollingUpdate and Recreate
)
