"""How a new revision is to come, by what there is room for: the safest way that can work, and its arithmetic in words.

    a whole second set fits    BlueGreen
    at least one more pod does RollingUpdate, one more and none missing
    none, but several serve    RollingUpdate, none more and one missing
    none, and one serves       Recreate: the only plan that interrupts the service, and it says so

That is for pods with GPUs. Those without share their nodes with much else: where no second set fits, the pace is the
spec's own.
"""

from dataclasses import dataclass

from penstock.api.rollout import Strategy, Way
from penstock.rollout.room import Room


@dataclass(frozen=True, slots=True)
class Plan:
    """How pods are replaced, and why so: `message` begins with the way."""

    way: Way
    max_surge: int | None  # 1: one more, none missing; 0: none more, one missing; None: the spec's pace
    message: str


def plan(strategy: Strategy, wanted: int, room: Room | None) -> Plan:
    """Choose the way for `wanted` pods. `room` is None where nothing is known of the nodes."""
    if strategy != "Auto":
        return _plan(strategy, "as spec.rollout.strategy asks")
    if wanted == 0:
        return _plan("RollingUpdate", "no pods are wanted, so nothing has to fit")
    if room is None:
        return _plan("RollingUpdate", "nothing is known of the nodes, so the pace is that of the spec")
    if room.fit.copies >= wanted:
        return _plan("BlueGreen", f"{_pods(room.fit.copies)}, a second set needs {wanted}")
    return _with_gpus(wanted, room) if room.is_for_gpus else _plan("RollingUpdate", _no_second_set(wanted, room))


def _with_gpus(wanted: int, room: Room) -> Plan:
    if room.fit.copies > 0:
        return _plan("RollingUpdate", _no_second_set(wanted, room), max_surge=1)
    if room.fit_without_own.copies == 0:
        # The new revision asks for what exists nowhere: a pod that stopped for it would have stopped for nothing.
        missing = f"no new pod fits even where the old ones are ({room.fit_without_own.message})"
        return _plan("BlueGreen", f"{missing}: what serves stays as it is")
    if wanted > 1:
        return _plan("RollingUpdate", f"{_no_pod(room)}: one pod stops before its successor starts", max_surge=0)
    return _plan("Recreate", f"{_no_pod(room)} and 1 pod is all there is: it stops before its successor starts")


def _plan(way: Way, why: str, *, max_surge: int | None = None) -> Plan:
    return Plan(way, max_surge, f"{way}: {why}")


def _no_second_set(wanted: int, room: Room) -> str:
    """Say why no second set fits: by the scarce resource's sum where that explains it, else by the pods."""
    scarce = room.scarce
    if scarce is not None and scarce.free < scarce.need * wanted:
        return f"{scarce.have}, a second set needs {scarce.needed(wanted)}"
    # 4 of 8 GPUs free and a second set of one pod needs 4: they lie on two nodes, and the sum would seem to suffice.
    return f"{_pods(room.fit.copies) if room.fit.copies else _no_pod(room)}, a second set needs {wanted}"


def _no_pod(room: Room) -> str:
    """Say why not one more pod fits."""
    scarce = room.scarce
    if scarce is None or scarce.free >= scarce.need:
        return f"no more pod fits ({room.fit.message})"
    return scarce.have if scarce.free == 0 else f"{scarce.have}, a pod needs {scarce.needed(1)}"


def _pods(copies: int) -> str:
    return f"{copies} more pod fits" if copies == 1 else f"{copies} more pods fit"
