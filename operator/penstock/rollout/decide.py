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
from penstock.rollout import (
    actions,
    blue_green,
    canary,
    canary_counts,
    canary_retreat,
    in_place,
    plan,
    rollback,
    route_weights,
)
from penstock.rollout.decision import Decision, Situation
from penstock.rollout.memory import remembered


def decide(seen: Seen, causes: Sequence[Cause], now: datetime, *, wanted: int, is_stopped: bool) -> Decision:
    """Decide from the recorded rollout, the pods and the time. `wanted`: pods that the service is to have."""
    s = _asked(seen, causes, now, wanted=wanted, is_stopped=is_stopped)
    if _is_new(s):
        s = replace(s, recorded=plan.begin(s))
    step = next(step for applies, step in _STEPS if applies(s))
    decision = step(s)
    decision = route_weights.keeping_what_gets_requests(s, decision)
    return replace(decision, rollout=_about(decision, s))


def needs_room(seen: Seen, now: datetime, *, wanted: int) -> bool:
    """Whether a plan is to be made in this pass, for which the free capacity has to be known."""
    s = _asked(seen, (), now, wanted=wanted, is_stopped=False)
    if s.recorded.stable_revision is None:
        return False
    if _is_new(s):
        return seen.service.spec.strategy == "Auto"
    return s.recorded.strategy == "BlueGreen" and _is_begun(s) and blue_green.needs_room(s)


def _asked(seen: Seen, causes: Sequence[Cause], now: datetime, *, wanted: int, is_stopped: bool) -> Situation:
    """What is seen and recorded, after what the user asks for."""
    s = Situation(seen, remembered(seen, now), now, wanted, is_stopped, causes)
    # Both slots serve until nothing in the idle one answers, or nothing at all is to.
    is_left = canary_counts.written(s).canary > 0 or bool(seen.ready(seen.idle))
    return actions.handled(s if is_left and wanted else s.remembering(shared_revision=None))


def _is_to_go_back(s: Situation) -> bool:
    """The spec asks for the stable revision, or for one that has failed."""
    asked_back = s.current in (s.recorded.stable_revision, s.recorded.failed_revision)
    return s.recorded.stable_revision is not None and asked_back


def _has_an_earlier_canary(s: Situation) -> bool:
    """The pods of an earlier canary still get traffic: they make room first."""
    return bool(s.recorded.shared_revision) and not canary.is_under_way(s)


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


def _is_begun(s: Situation) -> bool:
    return s.recorded.current_revision == s.current and s.recorded.started_at is not None


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
