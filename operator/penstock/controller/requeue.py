"""When to look at a service again without an event. Pure."""

from datetime import datetime, timedelta
from typing import Final

from penstock.names import Reason
from penstock.observed import causes
from penstock.status.conditions import Facts, Problem

# Nothing tells of an object that we have deleted ourselves.
_WITHOUT_ITS_ROUTE: Final = timedelta(seconds=1)
# A spec that the API server refuses will not mend itself; a quota might be raised.
REFUSED_AGAIN_AFTER: Final = timedelta(minutes=5)
# A foreign object bears no label that we watch by: only a look tells that it has gone, or that a kind is there now.
_TRIED_AGAIN_AFTER: Final = {
    Reason.NAME_CONFLICT: timedelta(seconds=5),
    Reason.GATEWAY_API_MISSING: timedelta(seconds=20),
}


def look_again(facts: Facts, now: datetime) -> timedelta | None:
    """When time alone may change the outcome."""
    waits = [
        facts.decision.requeue_at - now if facts.decision.requeue_at else None,
        (patience - now) if (patience := causes.patience_ends(facts.seen, now)) else None,
        _after_problem(facts.problem) if facts.problem else None,
        _WITHOUT_ITS_ROUTE if _has_lost_its_route(facts) else None,
    ]
    return soonest(*waits)


def soonest(*waits: timedelta | None) -> timedelta | None:
    """The shortest of them, but no hot loop."""
    shortest = min((wait for wait in waits if wait is not None), default=None)
    return None if shortest is None else max(shortest, timedelta(milliseconds=100))


def _after_problem(problem: Problem) -> timedelta:
    return _TRIED_AGAIN_AFTER.get(problem.reason, REFUSED_AGAIN_AFTER)


def _has_lost_its_route(facts: Facts) -> bool:
    """The pass has taken away a route that it rested on."""
    is_unwanted = facts.seen.route is not None and facts.seen.service.spec.gateway is None
    return is_unwanted and facts.paused is None and facts.problem is None
