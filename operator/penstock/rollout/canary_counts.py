"""How many pods of the stable and of the new revision serve together, so that traffic is shared as a step asks.

The active Service selects both slots, and each pod gets as much as any other: the share is made by their number, unless
a gateway makes it. First what the step asks for and how it gets there, then the arithmetic of both.
"""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil

from penstock.names import Slot
from penstock.observed import causes
from penstock.rollout.decision import Situation


@dataclass(frozen=True, slots=True)
class Counts:
    """Pods of each slot. `asked` is the canary's share that they stand for, in percent, if they stand for one."""

    stable: int
    canary: int
    asked: int | None = field(default=None, compare=False)

    @property
    def total(self) -> int:
        return self.stable + self.canary


def step_counts(s: Situation, weight: int) -> Counts:
    """The pods of a step: enough for its share where a gateway makes that, else those that make it by their number."""
    may_be_missing = _max_unavailable(s)
    if s.is_by_route:
        return counts_behind_gateway(weight, s.wanted, may_be_missing)
    return counts(weight, s.wanted, may_be_missing)


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
    stable, canary = (causes.unplaced(s.seen, slot) for slot in (s.seen.active, s.seen.idle))
    is_tried = there.canary > 0 or target.canary == 0
    return is_tried and there.stable + stable >= target.stable and there.canary + canary >= target.canary


def towards(s: Situation, target: Counts) -> Counts:
    """The sizes to write now, one step closer to the target, with as many pods answering as are asked for."""
    return next_counts(target, answering(s), written(s), wanted=s.wanted, max_unavailable=_may_be_missing(s))


def back(s: Situation) -> Counts:
    """The sizes to write now on the way to the stable revision alone.

    A stable pod that waits for a node may wait for the place of a new one: then one of these goes first, if others
    answer without it.
    """
    there = answering(s)
    is_in_the_way = causes.unplaced(s.seen, s.seen.active) > 0 and (there.stable > 0 or there.canary > 1)
    missing = _may_be_missing(s) + is_in_the_way
    return next_counts(Counts(s.wanted, 0), there, written(s), wanted=s.wanted, max_unavailable=missing)


def counts(weight: int, wanted: int, max_unavailable: int) -> Counts:
    """Return the pods whose share comes closest to `weight` percent; 0 and 100 are its ends.

    In between each revision keeps a pod: replicas 1, weight 10 is 1 and 1, one pod more than wanted.

    With max_unavailable 0 that one more has to fit on the way in any case, so it may stay where it brings the share
    closer: replicas 2, weight 10 is 2 and 1 (33 %) rather than 1 and 1 (50 %). Where a pod may be missing, new pods
    take the places of old ones and the total is what is wanted.
    """
    if weight == 0 or wanted == 0:
        return Counts(wanted, 0, weight)
    if weight == 100:
        return Counts(0, wanted, weight)
    least = max(wanted, 2)
    most = wanted + 1 if max_unavailable == 0 else least
    # Of two that come equally close, the smaller total: replicas 2, weight 50 is 1 and 1, though 3 pods come no closer.
    return min((_split(weight, total) for total in range(least, most + 1)), key=lambda pods: abs(_share(pods) - weight))


def counts_behind_gateway(weight: int, wanted: int, max_unavailable: int) -> Counts:
    """Return pods enough for `weight` percent of the requests, and for the others, where a route makes that share.

    replicas 4, weight 10 is 4 and 1 with max_unavailable 0; where a pod may be missing it is 3 and 1.
    """
    if weight in (0, 100) or wanted == 0:
        return counts(weight, wanted, max_unavailable)
    canary = ceil(Fraction(weight * wanted, 100))
    stable = ceil(Fraction((100 - weight) * wanted, 100)) if max_unavailable == 0 else max(wanted - canary, 1)
    return Counts(stable, canary, weight)


def next_counts(target: Counts, available: Counts, written: Counts, *, wanted: int, max_unavailable: int) -> Counts:
    """Return what to write now on the way from the `written` sizes to `target`, in whichever order the two are written.

    Pods are added while the total stays within wanted + 1, to the stable revision first: on the way back it is at full
    size before the canary goes. Pods are removed while wanted - max_unavailable stay available without them. Repeat it
    whenever `available` changes; while there is only waiting to do, it returns what is written.

    replicas 2, max_unavailable 0, from 2 and 0 to 1 and 1: 2 and 1, then 1 and 1 once the canary is available.
    replicas 2, max_unavailable 1: 1 and 1 at once.
    """
    grown = _grown(target, written, wanted + 1 - written.total)
    # Of the pods that are available, those which the last write removes are as good as gone.
    lasting = Counts(min(available.stable, written.stable), min(available.canary, written.canary))
    shrunk = _shrunk(target, written, lasting, lasting.total - (wanted - max_unavailable))
    stable = grown.stable if target.stable > written.stable else shrunk.stable
    canary = grown.canary if target.canary > written.canary else shrunk.canary
    return replace(target, stable=stable, canary=canary)


def share(pods: Counts) -> str:
    """Say how traffic is really shared, and what was asked where that is something else."""
    if pods.total == 0:
        return "no pods"
    real = round(_share(pods))
    message = f"{pods.canary} of {pods.total} pods: {real} %"
    return message if pods.asked in (None, real) else f"{message} instead of {pods.asked} %"


def _written(s: Situation, slot: Slot) -> int:
    found = s.seen.slots.get(slot)
    return found.wanted if found else sum(1 for pod in s.seen.pods if pod.slot == slot and not pod.is_leaving)


def _answering(s: Situation, slot: Slot) -> int:
    found = s.seen.slots.get(slot)
    behind = sum(1 for pod in s.seen.ready(slot) if pod.name in s.seen.endpoints.ready)
    return min(found.available, behind) if found else behind


def _may_be_missing(s: Situation) -> int:
    """Besides what the spec allows, the pods for which there is no node: waiting for them would end nothing.

    One that waits for the place of a pod that is leaving is not among them.
    """
    without_node = sum(causes.unplaced(s.seen, slot) for slot in (s.seen.active, s.seen.idle))
    seated = sum(1 for pod in s.seen.pods if pod.unschedulable is None)
    return _max_unavailable(s) + s.wanted - min(s.wanted, max(seated, s.wanted - without_node))


def _max_unavailable(s: Situation) -> int:
    """By `predictor.deploymentStrategy`, a share rounded down as the Deployment controller does it."""
    asked = s.seen.service.spec.predictor.deployment_strategy.rolling_update.max_unavailable
    return asked if isinstance(asked, int) else s.wanted * int(asked.removesuffix("%")) // 100


def _split(weight: int, total: int) -> Counts:
    """Split the total to the nearest integer, with at least one of each.

    A half goes to the canary: replicas 3, weight 50 is 1 and 2, because the step is there to try the new revision.
    """
    canary = min(max((weight * total + 50) // 100, 1), total - 1)
    return Counts(total - canary, canary, weight)


def _share(pods: Counts) -> Fraction:
    """Return the canary's share, in percent."""
    return Fraction(100 * pods.canary, pods.total)


def _grown(target: Counts, written: Counts, room: int) -> Counts:
    stable = _more(written.stable, target.stable, room)
    canary = _more(written.canary, target.canary, room - (stable - written.stable))
    return Counts(stable, canary)


def _shrunk(target: Counts, written: Counts, lasting: Counts, spare: int) -> Counts:
    """Where both are too many the canary's go first: what has proved itself stays longer."""
    canary = _fewer(written.canary, target.canary, lasting.canary, spare)
    spare -= max(lasting.canary - canary, 0)
    return Counts(_fewer(written.stable, target.stable, lasting.stable, spare), canary)


def _more(written: int, target: int, room: int) -> int:
    return max(written, min(target, written + room))


def _fewer(written: int, target: int, lasting: int, spare: int) -> int:
    """Return the smaller size, for which at most `spare` available pods go.

    Pods that are not available go first, as the ReplicaSet controller does it, and cost nothing: replicas 1, from 1 and
    1 back to 1 and 0 must not wait for a canary that never starts.
    """
    return min(written, max(target, lasting - max(spare, 0)))
