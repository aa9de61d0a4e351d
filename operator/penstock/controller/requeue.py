"""When to look at a service again without an event. Pure."""

from datetime import datetime, timedelta
from typing import Final

from penstock.names import NOT_INSTALLED, Reason
from penstock.observed import causes
from penstock.status.conditions import Facts, Problem

# Nothing tells of an object that we have deleted ourselves.
_WITHOUT_ITS_ROUTE: Final = timedelta(seconds=1)
_BETWEEN_AUTOSCALERS: Final = timedelta(seconds=1)
# A spec that the API server refuses will not mend itself; a quota might be raised.
REFUSED_AGAIN_AFTER: Final = timedelta(minutes=5)
# The clock may be set meanwhile, and a change that is more than a year away is not known yet.
_SCHEDULES_AGAIN_AFTER: Final = timedelta(days=1)
# A foreign object bears no label that we watch by: only a look tells that it has gone, or that a kind is there now.
_TRIED_AGAIN_AFTER: Final = {
    Reason.NAME_CONFLICT: timedelta(seconds=5),
    **dict.fromkeys(NOT_INSTALLED, timedelta(seconds=20)),
}


def look_again(facts: Facts, now: datetime) -> timedelta | None:
    """When time alone may change the outcome."""
    waits = [
        facts.decision.requeue_at - now if facts.decision.requeue_at else None,
        (patience - now) if (patience := causes.patience_ends(facts.seen, now)) else None,
        _after_problem(facts.problem) if facts.problem else None,
        facts.sleep.requeue_at - now if facts.sleep and facts.sleep.requeue_at else None,
        timedelta() if facts.sleep and (_has_come_to_rest(facts) or _has_moved(facts)) else None,
        _BETWEEN_AUTOSCALERS if facts.handover is not None else None,
        _schedules_change(facts, now),
        _WITHOUT_ITS_ROUTE if _has_lost_its_route(facts) else None,
    ]
    return soonest(*waits)


def soonest(*waits: timedelta | None) -> timedelta | None:
    """The shortest of them, but no hot loop."""
    shortest = min((wait for wait in waits if wait is not None), default=None)
    return None if shortest is None else max(shortest, timedelta(milliseconds=100))


def _after_problem(problem: Problem) -> timedelta:
    return _TRIED_AGAIN_AFTER.get(problem.reason, REFUSED_AGAIN_AFTER)


def _schedules_change(facts: Facts, now: datetime) -> timedelta | None:
    if not facts.seen.service.spec.autoscaling.schedules:
        return None
    until = facts.least.until
    return _SCHEDULES_AGAIN_AFTER if until is None else min(until - now, _SCHEDULES_AGAIN_AFTER)


def _has_come_to_rest(facts: Facts) -> bool:
    """The rollout has ended in this pass: nothing else tells the next one that the service may sleep now."""
    before = facts.seen.service.status.rollout
    return facts.decision.is_at_rest and not (before is not None and before.phase in ("Stable", "RolledBack"))


def _has_moved(facts: Facts) -> bool:
    """A state of sleep has begun in this pass: only the next one asks the pods, or leads requests, as it needs."""
    autoscaling = facts.seen.service.status.autoscaling
    before = autoscaling.sleep.state if autoscaling and autoscaling.sleep else "Awake"
    return facts.sleep is not None and facts.sleep.status.state != before


def _has_lost_its_route(facts: Facts) -> bool:
    """The pass has taken away a route that it rested on."""
    is_unwanted = facts.seen.route is not None and facts.seen.service.spec.gateway is None
    return is_unwanted and facts.paused is None and facts.problem is None
