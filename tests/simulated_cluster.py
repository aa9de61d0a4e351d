"""A small cluster in miniature: two Deployments, their pods on nodes with so many places, one Service, and a gateway.

Everything acts when it is told to, so that a test can make each of them late, or cut the operator off between two of
its writes.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import Final

from penstock.names import Slot
from penstock.observed.http_route import SeenRoute
from penstock.observed.values import Endpoints, SeenDeployment, SeenPod
from penstock.rollout.decision import SlotPlan

from tests.builders import crash_looping, loading, pending, ready_pod, unready

ILLS: Final = ("crash-looping", "never ready")


@dataclass
class Pod:
    """A pod, and what the kubelet has last said of it."""

    name: str
    slot: Slot
    revision: str
    is_placed: bool = False
    is_sick: bool = False  # misses its pod_client, and may be well again
    is_leaving: bool = False
    told: str = "new"
    since: datetime | None = None  # when that was first said

    @property
    def is_ready(self) -> bool:
        return self.told == "ready" and not self.is_leaving

    def tell(self, what: str, now: datetime) -> None:
        if what != self.told:
            self.told, self.since = what, now

    def seen(self) -> SeenPod:
        made = _MADE[self.told](self.name, self.revision)
        since = self.since if made.is_started or made.unschedulable is not None else None
        return replace(made, slot=self.slot, is_leaving=self.is_leaving, unready_since=None if self.is_ready else since)


_MADE: Final[Mapping[str, Callable[[str, str], SeenPod]]] = {
    "new": loading,
    "loading": loading,
    "ready": ready_pod,
    "never ready": unready,
    "crash-looping": crash_looping,
    "without a node": pending,
}


@dataclass
class Deployment:
    """What is written of it, and the status that its controller wrote last."""

    plan: SlotPlan | None = None
    status: tuple[int, int, int] = (0, 0, 0)  # pods, those of the revision, those that are available
    is_observed: bool = False
    is_refused: bool = False  # a quota keeps pods from being created

    def write(self, plan: SlotPlan | None) -> None:
        before = self.plan
        if plan is None:
            self.status = (0, 0, 0)
        if plan is None or before is None or (before.revision, before.replicas) != (plan.revision, plan.replicas):
            self.is_observed = False
        self.plan = plan

    def seen(self) -> SeenDeployment | None:
        if self.plan is None:
            return None
        pods, updated, available = self.status
        return SeenDeployment(
            self.plan.revision,
            self.plan.replicas,
            replicas=pods,
            updated=updated,
            ready=available,
            available=available,
            is_observed=self.is_observed,
            creation_failure="exceeded quota: pods" if self.is_refused else None,
        )


@dataclass(frozen=True)
class Rules:
    """Where a route leads requests, other than to the active Service."""

    shares: Mapping[Slot, int] = field(default_factory=dict)
    variant: Slot | None = None

    def leads_to(self, slot: Slot) -> bool:
        return self.variant is slot or self.shares.get(slot, 0) > 0


@dataclass
class Route:
    """What is written of it, and by what the gateway leads requests."""

    written: Rules | None = None
    taken: Rules = Rules()
    is_taken: bool = False

    def write(self, rules: Rules | None) -> None:
        if rules != self.written:
            self.written, self.is_taken = rules, False

    def let_the_gateway_act(self) -> None:
        self.taken, self.is_taken = self.written or Rules(), True

    def seen(self) -> SeenRoute | None:
        if self.written is None:
            return None
        return SeenRoute(self.written.shares, self.written.variant, self.is_taken, is_accepted=self.is_taken)


@dataclass
class Cluster:
    """`ills` says which revisions do not work, and how; `places` is how many pods there is room for.

    Those beyond them wait for a node, or by a quota are not even created.
    """

    places: int = 8
    has_quota: bool = False
    ills: dict[str, str] = field(default_factory=dict)
    selected: Slot | None = None
    is_shared: bool = False  # the selector names no slot
    led_to: frozenset[Slot] = frozenset()  # what the endpoints follow
    annotations: Mapping[str, str] = field(default_factory=dict)
    route: Route = field(default_factory=Route)
    pods: list[Pod] = field(default_factory=list)
    slots: dict[Slot, Deployment] = field(default_factory=lambda: {slot: Deployment() for slot in Slot})
    names: Iterator[int] = field(default_factory=count)

    def of(self, slot: Slot | None) -> list[Pod]:
        """The slot's pods that are to stay."""
        return [pod for pod in self.pods if pod.slot == slot and not pod.is_leaving]

    def ready(self, slot: Slot | None) -> list[Pod]:
        return [pod for pod in self.of(slot) if pod.is_ready]

    def endpoints(self) -> Endpoints:
        inside = [pod for pod in self.pods if pod.slot in self.led_to and not pod.is_leaving]
        return Endpoints(frozenset(pod.name for pod in inside if pod.is_ready), frozenset(pod.name for pod in inside))

    def write(self, slot: Slot, plan: SlotPlan | None) -> None:
        """A Deployment is applied, or deleted with its pods."""
        deployment = self.slots[slot]
        if plan is None and deployment.plan is not None:
            _end(self.of(slot))
        deployment.write(plan)

    def let_the_controllers_act(self) -> None:
        for slot, deployment in self.slots.items():
            if deployment.plan is not None:
                self._roll(slot, deployment.plan)
                mine = self.of(slot)
                updated = [pod for pod in mine if pod.revision == deployment.plan.revision]
                deployment.status = (len(mine), len(updated), sum(pod.is_ready for pod in mine))
                deployment.is_observed = True

    def let_the_nodes_act(self, now: datetime) -> None:
        """Those that were leaving are gone; others get a place if there is one, and are up a moment later."""
        self.pods = [pod for pod in self.pods if not pod.is_leaving]
        for pod in self.pods:
            if pod.is_placed:
                well = "never ready" if pod.is_sick else "ready"
                pod.tell(self.ills.get(pod.revision, well), now)
            elif sum(other.is_placed for other in self.pods) < self.places:
                pod.is_placed = True
                pod.tell("loading", now)
            else:
                pod.tell("without a node", now)

    def let_the_endpoints_follow(self) -> None:
        selected = [self.selected] if self.selected else []
        self.led_to = frozenset(Slot if self.is_shared else selected)

    def _roll(self, slot: Slot, plan: SlotPlan) -> None:
        """As the Deployment controller does it, with few pods."""
        new = [pod for pod in self.of(slot) if pod.revision == plan.revision]
        old = [pod for pod in self.of(slot) if pod.revision != plan.revision]
        if plan.is_paused and old:
            return
        if plan.way == "Recreate" and any(pod.slot == slot and pod.revision != plan.revision for pod in self.pods):
            _end(old)
            return
        missing = 1 if plan.max_surge == 0 else 0
        most = plan.replicas + (1 - missing if old else 0)
        new += self._created(slot, plan.revision, min(plan.replicas - len(new), most - len(new) - len(old)))
        _end(_worst_first(new)[: max(len(new) - plan.replicas, 0)])
        least = plan.replicas - missing if plan.replicas else 0
        spare = len(new) + len(old) - least - sum(not pod.is_ready for pod in new)
        ill = [pod for pod in old if not pod.is_ready][: max(spare, 0)]
        _end(ill)
        over = sum(pod.is_ready for pod in new + old) - least
        well = [pod for pod in old if pod.is_ready]
        _end(well[: max(min(over, spare - len(ill)), 0)] if plan.replicas else old)

    def _created(self, slot: Slot, revision: str, number: int) -> list[Pod]:
        allowed = max(min(number, self.places - len(self.pods)), 0) if self.has_quota else number
        made = [Pod(f"{slot}-{revision}-{next(self.names)}", slot, revision) for _ in range(allowed)]
        self.pods += made
        self.slots[slot].is_refused = allowed < number
        return made


def _worst_first(pods: Collection[Pod]) -> list[Pod]:
    return sorted(pods, key=lambda pod: (pod.is_ready, pod.is_placed))


def _end(pods: Collection[Pod]) -> None:
    for pod in pods:
        pod.is_leaving = True
