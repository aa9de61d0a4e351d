"""How a new revision is to come, by what there is room for: the safest way that can work, and its arithmetic in words.

    a whole second set fits                                 BlueGreen
    at least one more pod does                              RollingUpdate, one more and none missing
    none, but each of several makes place for a new one     RollingUpdate, none more and one missing
    none, but as many as serve fit in the places of all     Recreate: it interrupts the service, and says so
    not even those                                          BlueGreen: it waits for room, and what serves stays

That is for pods with GPUs, and where a quota is the limit. Others share their nodes with much else: where no second set
fits, the pace is the spec's own, as long as the pods that it may stop make place for new ones.
"""

from dataclasses import dataclass, replace
from typing import Final

from penstock.api.rollout import Strategy, Way
from penstock.api.status import RolloutStatus
from penstock.capacity.quota import Allowance
from penstock.capacity.requests import ZERO
from penstock.capacity.room import Room, shown
from penstock.rollout import in_place, route_weights
from penstock.rollout.decision import Situation, changed

_UNSEEN = "pods outside the watched namespaces are not counted"
_NO_PLACE = "a new pod does not fit in every old one's place"

_UNPROTECTED: Final = (
    "Recreate: no revision was ever rolled out, and no pod answers, so there is nothing to protect: "
    "the old pods stop before their successors start"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How pods are replaced, and why so: `message` begins with the way."""

    way: Way
    max_surge: int | None  # 1: one more, none missing; 0: none more, one missing; None: the spec's pace
    message: str


def begin(s: Situation) -> RolloutStatus:
    """A new attempt: nothing of an earlier one leaks into it but what serves now."""
    chosen = _chosen(s)
    begun = RolloutStatus(
        stable_revision=s.recorded.stable_revision,
        current_revision=s.current,
        strategy=chosen.way if chosen else None,
        plan=chosen.message if chosen else None,
        max_surge=chosen.max_surge if chosen else None,
        latched_replicas=_latched(s, chosen.max_surge) if chosen and chosen.max_surge is not None else None,
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


def _chosen(s: Situation) -> Plan | None:
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


def _latched(s: Situation, surge: int) -> int | None:
    """Pods to go on with in place where more are wanted than there is room for; the others come after it.

    One that waits for room would be the one that may be missing, or would take the place of the one too many.
    """
    room = s.seen.room
    if room is None:
        return None
    placed = max(room.own + max(room.more - surge, 0), 1)
    return placed if placed < s.wanted else None


def plan(strategy: Strategy, wanted: int, room: Room | None) -> Plan:
    """Choose the way for `wanted` pods. `room` is None where nothing is known of the nodes."""
    if strategy != "Auto":
        return _plan(strategy, "as spec.rollout.strategy asks")
    if wanted == 0:
        return _plan("RollingUpdate", "no pods are wanted, so nothing has to fit")
    if room is None:
        return _plan("RollingUpdate", "nothing is known of the nodes, so the pace is that of the spec")
    if room.more >= wanted:
        found = _plan("BlueGreen", f"{_pods(room.more)}, a second set needs {wanted}")
    else:
        # A quota forbids pods, as a node without free GPUs does; a node without free cores may yet get some.
        is_tight = room.is_for_gpus or room.limited_by is not None
        found = _where_it_is_tight(wanted, room) if is_tight else _without_gpus(wanted, room)
    return found if room.sees_all_pods else replace(found, message=f"{found.message} ({_UNSEEN})")


def _where_it_is_tight(wanted: int, room: Room) -> Plan:
    if room.more > 0:
        return _plan("RollingUpdate", _no_second_set(wanted, room), max_surge=1)
    if wanted > 1 and room.own > 1 and room.can_take_turns:
        return _plan("RollingUpdate", _one_by_one(wanted, room), max_surge=0)
    # What is broken never blocks the fix, so only pods that serve count.
    if room.without_own >= max(min(wanted, room.serving), 1):
        return _plan("Recreate", _interruption(wanted, room))
    return _plan("BlueGreen", f"{_too_few(wanted, room)}: what serves stays as it is")


def _without_gpus(wanted: int, room: Room) -> Plan:
    if room.can_take_turns:
        return _plan("RollingUpdate", _no_second_set(wanted, room))
    stays = f"{_NO_PLACE}: none stops before its successor is available"
    return _plan("RollingUpdate", f"{_no_second_set(wanted, room)}; {stays}", max_surge=1)


def _plan(way: Way, why: str, *, max_surge: int | None = None) -> Plan:
    return Plan(way, max_surge, f"{way}: {why}")


def _one_by_one(wanted: int, room: Room) -> str:
    message = f"{_no_pod(room)}: one pod stops before its successor starts"
    waiting = wanted - room.own
    return (
        message if waiting <= 0 else f"{message}; {waiting} of {wanted} pods, for which there is no room, come after it"
    )


def _interruption(wanted: int, room: Room) -> str:
    if min(wanted, room.own) == 1:
        return f"{_no_pod(room)} and 1 pod is all there is: it stops before its successor starts"
    return f"{_no_pod(room)}, and {_NO_PLACE}: all {room.own} pods stop before their successors start"


def _too_few(wanted: int, room: Room) -> str:
    """Say why no pod may be stopped for a new one."""
    if room.fit_without_own.copies == 0:
        return f"no new pod fits even where the old ones are ({room.fit_without_own.message})"
    if room.allowance is not None and room.without_own == 0:
        return f"no new pod is allowed even without the old ones ({_quota(room.allowance, 1, 'a pod')})"
    number = "1 new pod fits" if room.without_own == 1 else f"{room.without_own} new pods fit"
    return f"{_no_second_set(wanted, room)}; without the old pods {number}, and {room.serving} serve"


def _no_second_set(wanted: int, room: Room) -> str:
    """Say why no second set fits: by the scarce resource's sum where that explains it, else by the pods."""
    if room.limited_by is not None:
        return _quota(room.limited_by, wanted, "a second set")
    scarce = room.scarce
    if scarce is not None and scarce.free < scarce.need * wanted:
        return f"{scarce.have}, a second set needs {scarce.needed(wanted)}"
    # 4 of 8 GPUs free and a second set of one pod needs 4: they lie on two nodes, and the sum would seem to suffice.
    return f"{_pods(room.more) if room.more else _no_pod(room)}, a second set needs {wanted}"


def _no_pod(room: Room) -> str:
    """Say why not one more pod fits."""
    if room.limited_by is not None:
        return _quota(room.limited_by, 1, "a pod")
    scarce = room.scarce
    if scarce is None or scarce.free >= scarce.need:
        return f"no more pod fits ({room.fit.message})"
    return scarce.have if scarce.free == 0 else f"{scarce.have}, a pod needs {scarce.needed(1)}"


def _quota(allowed: Allowance, pods: int, who: str) -> str:
    """Say what the tightest quota leaves."""
    limit = allowed.limit
    left = f"{shown(limit.resource, max(limit.left, ZERO))} of {shown(limit.resource, limit.hard)} {limit.name} left"
    return f"{left} in the quota {allowed.quota}, {who} needs {shown(limit.resource, allowed.need * pods)}"


def _pods(copies: int) -> str:
    return f"{copies} more pod fits" if copies == 1 else f"{copies} more pods fit"
