"""How the requests that come through a gateway are shared between the slots: by weight, whatever the number of pods.

A revision gets no more than its pods can take, and none that nobody would answer: on the way from one share to the next
the weights follow the pods that answer, and the last pods of a slot stay while a gateway may still send requests there.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from penstock.names import Slot
from penstock.observed import causes
from penstock.rollout import canary_counts
from penstock.rollout.canary_counts import Counts
from penstock.rollout.decision import Decision, Situation
from penstock.slot_plan import SlotPlan

_ALL: Final = 100
ROUTE_PENDING: Final = "the gateway has not acted on the route yet, and may send requests to the pods that are to go"


def meant(s: Situation, target: Counts, *, low: int, high: int) -> int | None:
    """The canary's share in percent on the way from its last one, `low`, to its next; None where no gateway shares.

    Pods for which there is no node take no requests: then it stays at what the others can do.
    """
    if not s.is_by_route:
        return None
    was = s.recorded.canary.routed if s.recorded.canary else None
    if s.recorded.is_paused and was is not None:
        return was
    there = _ready(s)
    is_last = high == _ALL and canary_counts.towards(s, target).stable == 0
    if there.canary >= target.canary or is_last:
        return high
    return min(max(_by_pods(there), low), high) if there.total else low


def weights(s: Situation) -> dict[Slot, int]:
    """Percent by slot as it was `meant`, unless only one of the two can answer; empty where no gateway shares."""
    share = s.recorded.canary.routed if s.recorded.canary else None
    if not s.is_by_route or share is None:
        return {}
    alone = _alone(_ready(s))
    return _of(s, share if alone is None else alone)


def weights_back(s: Situation) -> dict[Slot, int]:
    """Percent by slot on the way to the stable revision alone; empty where no gateway shares.

    By the pods that are to stay, and never more than there was: those that go get no requests before.
    """
    if not s.is_by_route:
        return {}
    there = _ready(s)
    alone = _alone(there)
    if alone is not None:
        return _of(s, alone)
    share = s.recorded.canary.routed if s.recorded.canary else None
    staying = Counts(there.stable, min(there.canary, canary_counts.back(s).canary))
    return _of(s, min(_by_pods(staying), _ALL if share is None else share))


def has_way_back(s: Situation) -> bool:
    """The gateways share by `weights_back` already, so the pods that are to go are not needed; also without any."""
    share, route = weights_back(s).get(s.seen.idle), s.seen.route
    return share is None or route is None or (route.is_taken and _now(s) == share)


def in_words(s: Situation, pods: Counts) -> str:
    """How the requests are really shared, and what was asked where that is something else."""
    routed = s.recorded.canary.routed if s.recorded.canary else None
    if not s.is_by_route or routed is None:
        return canary_counts.share(pods)
    is_short = s.recorded.is_paused or causes.unplaced(s.seen, s.seen.idle)
    weight = routed if is_short or pods.asked is None else pods.asked
    instead = f" instead of {pods.asked} %" if pods.asked not in (None, weight) else ""
    return f"{weight} %{instead} by the route, to {pods.canary} of {pods.total} pods"


def lacks(s: Situation) -> str | None:
    """What the canary's share still waits for; None once the gateways route by it."""
    wanted = weights(s)
    return _untaken(s, is_written=_now(s) == wanted.get(s.seen.idle)) if wanted else None


def lacks_variant(s: Situation) -> str | None:
    """What the new revision's marked requests still wait for; None once the gateways send them there."""
    return _untaken(s, is_written=s.seen.route is not None and s.seen.route.variant is s.seen.idle)


def _untaken(s: Situation, *, is_written: bool) -> str | None:
    route = s.seen.route
    if route is None or not is_written or not route.is_taken:
        return "the gateway has not taken the route yet"
    if route.is_accepted:
        return None
    if route.refusal is not None:
        return f"the gateway refuses the route: {route.refusal}"
    return "no gateway takes the route: see spec.networking.gateway"


def keeping_what_gets_requests(s: Situation, decision: Decision) -> Decision:
    """The same, but with the pods of each slot to which a gateway may still send requests."""
    route = s.seen.route
    if route is None or s.wanted == 0:
        return decision
    kept = {slot: _kept(s, slot, plan) if route.may_send_to(slot) else plan for slot, plan in decision.slots.items()}
    return decision if kept == decision.slots else replace(decision, slots=kept, waiting_for=ROUTE_PENDING)


def may_get_requests(s: Situation) -> bool:
    """Requests may still be sent to pods of another revision, which the new one is to replace."""
    there, route = s.idle, s.seen.route
    is_other = there is not None and there.wanted > 0 and there.revision != s.current
    return is_other and route is not None and route.may_send_to(s.seen.idle)


def _kept(s: Situation, slot: Slot, plan: SlotPlan) -> SlotPlan:
    """All of them, where none would be left, or another revision is to take their place beside those that serve."""
    found = s.seen.slots.get(slot)
    if found is None or found.wanted == 0:
        return plan
    if found.revision == plan.revision:
        # The last of them go together, once nothing is sent there; before that the weights follow those that are left.
        return plan if plan.replicas else replace(plan, replicas=found.wanted)
    return plan if slot in s.seen.selected_slots else SlotPlan(found.revision, found.wanted)


def _of(s: Situation, canary: int) -> dict[Slot, int]:
    return {s.seen.active: _ALL - canary, s.seen.idle: canary}


def _now(s: Situation) -> int | None:
    """The canary's share as it is written; None while the route selects the active Service."""
    given: Mapping[Slot, int] = s.seen.route.shares if s.seen.route else {}
    return given.get(s.seen.idle)


def _ready(s: Situation) -> Counts:
    """Pods that could answer: the slots' own Services lead to these, whatever the active one does."""
    return Counts(len(s.seen.ready(s.seen.active)), len(s.seen.ready(s.seen.idle)))


def _alone(there: Counts) -> int | None:
    """The canary's share where only one of the two can answer."""
    if there.stable and there.canary:
        return None
    return _ALL if there.canary else 0


def _by_pods(there: Counts) -> int:
    return _ALL * there.canary // there.total
