"""Both slots serve, as under a canary: what there is of each, and the next sizes on the way to a share."""

from penstock.names import Slot
from penstock.observed import causes
from penstock.rollout.canary_counts import Counts, next_counts
from penstock.rollout.decision import Situation


def written(s: Situation) -> Counts:
    """Pods that the two Deployments ask for.

    One that has gone asks for those that it left behind: it takes them on again as soon as it is back.
    """
    return Counts(*(_written(s, slot) for slot in (s.seen.active, s.seen.idle)))


def answering(s: Situation) -> Counts:
    """Pods that are available and get requests."""
    return Counts(*(_answering(s, slot) for slot in (s.seen.active, s.seen.idle)))


def is_settled(s: Situation, target: Counts) -> bool:
    """The sizes are written and their pods answer, but for those that wait for a node: these prove nothing."""
    if written(s) != target:
        return False
    there = answering(s)
    stable, canary = (waiting(s, slot) for slot in (s.seen.active, s.seen.idle))
    is_tried = there.canary > 0 or target.canary == 0
    return is_tried and there.stable + stable >= target.stable and there.canary + canary >= target.canary


def towards(s: Situation, target: Counts) -> Counts:
    """The sizes to write now, one step closer to the target, with as many pods answering as are asked for."""
    return next_counts(target, answering(s), written(s), wanted=s.wanted, max_unavailable=_may_be_missing(s))


def back(s: Situation) -> Counts:
    """The sizes to write now on the way to the stable revision alone.

    A stable pod that waits for a node may wait for the place of a new one: then one of these goes first.
    """
    missing = _may_be_missing(s) + _in_the_way(s)
    return next_counts(Counts(s.wanted, 0), answering(s), written(s), wanted=s.wanted, max_unavailable=missing)


def max_unavailable(s: Situation) -> int:
    """By `predictor.deploymentStrategy`, a share rounded down as the Deployment controller does it."""
    asked = s.seen.service.spec.predictor.deployment_strategy.rolling_update.max_unavailable
    return asked if isinstance(asked, int) else s.wanted * int(asked.removesuffix("%")) // 100


def _written(s: Situation, slot: Slot) -> int:
    found = s.seen.slots.get(slot)
    return found.wanted if found else sum(1 for pod in s.seen.pods if pod.slot == slot and not pod.is_leaving)


def _in_the_way(s: Situation) -> int:
    """One of the new pods, if others answer without it."""
    there = answering(s)
    return 1 if waiting(s, s.seen.active) and (there.stable or there.canary > 1) else 0


def _answering(s: Situation, slot: Slot) -> int:
    found = s.seen.slots.get(slot)
    behind = sum(1 for pod in s.seen.ready(slot) if pod.name in s.seen.endpoints.ready)
    return min(found.available, behind) if found else behind


def _may_be_missing(s: Situation) -> int:
    """Besides what the spec allows, the pods for which there is no node: waiting for them would end nothing.

    One that waits for the place of a pod that is leaving is not among them.
    """
    without_node = sum(waiting(s, slot) for slot in (s.seen.active, s.seen.idle))
    seated = sum(1 for pod in s.seen.pods if pod.unschedulable is None)
    return max_unavailable(s) + s.wanted - min(s.wanted, max(seated, s.wanted - without_node))


def waiting(s: Situation, slot: Slot) -> int:
    """Pods of the slot for which there is no node, or no room in a quota."""
    pods = (pod for pod in s.seen.pods if pod.slot == slot and not pod.is_leaving)
    return sum(1 for pod in pods if pod.unschedulable is not None) + causes.uncreated(s.seen, slot)
