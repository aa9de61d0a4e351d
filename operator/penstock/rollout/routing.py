"""How the requests that come through a gateway are shared between the slots: by weight, whatever the number of pods.

A revision gets no more than its pods can take, and none that nobody would answer: on the way from one share to the next
the weights follow the pods that answer, and no slot loses its last pod while a gateway may still lead requests to it.
"""

from collections.abc import Mapping
from dataclasses import replace

from penstock.names import Slot
from penstock.rollout import shares, sharing
from penstock.rollout.decision import Decision, Situation, SlotPlan
from penstock.rollout.shares import Counts, counts_behind_gateway

_ALL = 100


def weights(s: Situation, target: Counts, *, low: int, high: int) -> dict[Slot, int]:
    """Percent by slot on the way from the canary's last share, `low`, to its next; empty where no gateway shares."""
    if not is_by_route(s):
        return {}
    there, now = sharing.answering(s), _now(s)
    alone = _alone(there)
    if alone is not None:
        return _of(s, alone)
    if s.was.is_paused and now is not None:
        return _of(s, now)
    is_reached = there.canary + sharing.waiting(s, s.seen.idle) >= target.canary
    return _of(s, high if is_reached else min(max(_by_pods(there), low), high))


def weights_back(s: Situation) -> dict[Slot, int]:
    """Percent by slot on the way to the stable revision alone; empty where no gateway shares."""
    if not is_by_route(s):
        return {}
    there, now = sharing.answering(s), _now(s)
    alone = _alone(there)
    if alone is not None:
        return _of(s, alone)
    return _of(s, 0 if sharing.is_back(s) else min(_by_pods(there), _ALL if now is None else now))


def counts(s: Situation, weight: int) -> Counts:
    """The pods of a step: enough for its share where a gateway makes that, else those that make it by their number."""
    may_be_missing = sharing.max_unavailable(s)
    if is_by_route(s):
        return counts_behind_gateway(weight, s.wanted, may_be_missing)
    return shares.counts(weight, s.wanted, may_be_missing)


def told(s: Situation, pods: Counts) -> str:
    """How the requests are really shared, and what was asked where that is something else."""
    weight = _now(s) if pods.asked is None else pods.asked
    if not is_by_route(s) or weight is None:
        return shares.share(pods)
    return f"{weight} % by the route, to {pods.canary} of {pods.total} pods"


def is_by_route(s: Situation) -> bool:
    """A gateway shares the requests, and not only the number of pods."""
    return s.seen.service.spec.gateway is not None


def lacks(s: Situation, weight: int) -> str | None:
    """What the canary's share in percent still waits for; None once the gateways lead requests by it."""
    return _untaken(s, is_written=_now(s) == weight) if is_by_route(s) else None


def lacks_variant(s: Situation) -> str | None:
    """What the new revision's marked requests still wait for; None once the gateways lead them there."""
    return _untaken(s, is_written=s.seen.route is not None and s.seen.route.variant is s.seen.idle)


def _untaken(s: Situation, *, is_written: bool) -> str | None:
    route = s.seen.route
    if route is None or not is_written or not route.is_taken:
        return "the gateway has not taken the route yet"
    if route.refusal is not None:
        return f"the gateway refuses the route: {route.refusal}"
    return None if route.is_accepted else "no gateway takes the route: see spec.networking.gateway"


def keeping_what_is_led_to(s: Situation, decision: Decision) -> Decision:
    """The same, but with the pods of each slot to which a gateway may still lead requests."""
    route = s.seen.route
    if route is None or s.wanted == 0:
        return decision
    kept = {slot: _kept(s, slot, plan) if route.may_lead_to(slot) else plan for slot, plan in decision.slots.items()}
    return replace(decision, slots=kept)


def _kept(s: Situation, slot: Slot, plan: SlotPlan) -> SlotPlan:
    """At least one of them; and all, where another revision is to take their place beside those that serve."""
    found = s.seen.slots.get(slot)
    if found is None or found.wanted == 0:
        return plan
    if found.revision == plan.revision:
        return replace(plan, replicas=max(plan.replicas, 1))
    return plan if slot in s.seen.selected_slots else SlotPlan(found.revision, found.wanted)


def _of(s: Situation, canary: int) -> dict[Slot, int]:
    return {s.seen.active: _ALL - canary, s.seen.idle: canary}


def _now(s: Situation) -> int | None:
    """The canary's share as it is written; None while the route leads to the active Service."""
    given: Mapping[Slot, int] = s.seen.route.shares if s.seen.route else {}
    return given.get(s.seen.idle)


def _alone(there: Counts) -> int | None:
    """The canary's share where only one of the two can answer."""
    if there.canary == 0:
        return 0
    return _ALL if there.stable == 0 else None


def _by_pods(there: Counts) -> int:
    return _ALL * there.canary // there.total
