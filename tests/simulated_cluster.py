"""A small cluster in miniature: two Deployments, their pods on nodes with so many GPUs, one Service, and a gateway.

Everything acts when it is told to, so that a test can make each of them late, or cut the operator off between two of
its writes.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import count
from typing import Any, Final

from penstock import names
from penstock.capacity import requests
from penstock.capacity.free import Capacity
from penstock.capacity.placement import Node
from penstock.capacity.quota import Limit, Quota
from penstock.capacity.requests import PodRequests
from penstock.capacity.room import Room
from penstock.kinds import Manifest
from penstock.names import Slot
from penstock.observed import parse
from penstock.observed.http_route import SeenRoute
from penstock.observed.values import Endpoints, SeenDeployment, SeenPod
from penstock.slot_plan import SlotPlan

from tests.builders import T0, capacity_of

ILLS: Final = ("crash-looping", "never ready")
NAMESPACE: Final = "ml"


@dataclass
class Pod:
    """A pod, and what the kubelet has last said of it."""

    name: str
    slot: Slot
    revision: str
    has_sidecar: bool = False  # a webhook has put its own container before the model's
    node: int | None = None
    is_sick: bool = False  # misses its probes, and may be well again
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
        """As it is parsed from what the API server has of it."""
        return parse.pod(self._manifest())

    def _manifest(self) -> Manifest:
        leaving = {"deletionTimestamp": "2026-01-01T12:00:00Z"} if self.is_leaving else {}
        labels = {names.LABEL_SLOT: self.slot.value, names.LABEL_REVISION: self.revision}
        found = [_SIDECAR] if self.has_sidecar else []
        placed = self.told != "without a node"
        status = {"conditions": list(self._conditions(is_placed=placed)), "podIP": "10.0.0.7"}
        if placed:
            model = {"name": names.CONTAINER, **_MODEL[self.told], "ready": self.told == "ready"}
            status["containerStatuses"] = [*found, model]
        return {
            "metadata": {"name": self.name, "namespace": NAMESPACE, "labels": labels, **leaving},
            "spec": {"containers": [*({"name": each["name"]} for each in found), {"name": names.CONTAINER}]},
            "status": status,
        }

    def _conditions(self, *, is_placed: bool) -> Iterator[Manifest]:
        since = {"lastTransitionTime": self.since.isoformat()} if self.since else {}
        if not is_placed:
            waits = {"status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available"}
            yield {"type": "PodScheduled", **waits, **since}
            return
        yield {"type": "PodScheduled", "status": "True"}
        yield {"type": "Ready", "status": "True" if self.told == "ready" else "False", **since}


_RUNNING: Final[Mapping[str, Any]] = {"state": {"running": {"startedAt": T0.isoformat()}}}
_MODEL: Final[Mapping[str, Mapping[str, Any]]] = {
    "new": {**_RUNNING, "started": False},
    "loading": {**_RUNNING, "started": False},
    "ready": {**_RUNNING, "started": True},
    "never ready": {**_RUNNING, "started": True},
    "crash-looping": {
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
        "lastState": {"terminated": {"reason": "Error", "exitCode": 1, "finishedAt": T0.isoformat()}},
        "started": False,
        "restartCount": 3,
    },
}
_SIDECAR: Final[Mapping[str, Any]] = {"name": "istio-proxy", **_RUNNING, "started": True, "ready": True}


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
    """Where a route sends requests, other than to the active Service."""

    shares: Mapping[Slot, int] = field(default_factory=dict)
    variant: Slot | None = None

    def sends_to(self, slot: Slot) -> bool:
        return self.variant is slot or self.shares.get(slot, 0) > 0


@dataclass
class Route:
    """What is written of it, and by what the gateway routes."""

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
    """`ills` says which revisions do not work, and how. `nodes` are their GPUs, of which each pod needs `need`.

    Pods for which no node has enough wait; those beyond a quota are not even created. `foreign` are the slots whose
    Deployment's name somebody else has taken, `refused` those whose every change a policy refuses.
    """

    nodes: list[int] = field(default_factory=lambda: [8])
    need: int = 1
    resource: str = names.GPU
    quota: int | None = None  # pods
    has_sidecars: bool = False
    foreign: set[Slot] = field(default_factory=set)
    refused: set[Slot] = field(default_factory=set)
    ills: dict[str, str] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)  # the ControllerRevisions' numbers
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

    def running(self) -> frozenset[str]:
        """The revisions that the Deployments have."""
        return frozenset(each.plan.revision for each in self.slots.values() if each.plan is not None)

    def endpoints(self) -> Endpoints:
        inside = [pod for pod in self.pods if pod.slot in self.led_to and not pod.is_leaving]
        return Endpoints(frozenset(pod.name for pod in inside if pod.is_ready), frozenset(pod.name for pod in inside))

    def room(self, slot: Slot, *, serving: int) -> Room:
        """What there is for more pods, where those of the slot may be replaced."""
        own = [(NAMESPACE, pod.name) for pod in self.pods if pod.slot == slot]
        return self._capacity().room(NAMESPACE, self._pod_spec(), own, serving=serving)

    def holds(self, pods: int) -> bool:
        """Whether so many pods fit if there were no others."""
        by_nodes = sum(node // self.need for node in self.nodes)
        return min(by_nodes, by_nodes if self.quota is None else self.quota) >= pods

    def refuses(self, slot: Slot, plan: SlotPlan) -> str | None:
        """In what words a write of the slot's Deployment is refused."""
        there = self.slots[slot].plan
        if there is None and slot in self.foreign:
            return f"Deployment chat-{slot} exists and is not ours"
        return f"Deployment chat-{slot}: denied by policy" if slot in self.refused and there != plan else None

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
            if pod.node is not None:
                well = "never ready" if pod.is_sick else "ready"
                pod.tell(self.ills.get(pod.revision, well), now)
                continue
            pod.node = next((node for node in range(len(self.nodes)) if self._free(node) >= self.need), None)
            pod.tell("without a node" if pod.node is None else "loading", now)

    def let_the_endpoints_follow(self) -> None:
        selected = [self.selected] if self.selected else []
        self.led_to = frozenset(Slot if self.is_shared else selected)

    def _free(self, node: int) -> int:
        return self.nodes[node] - self.need * sum(pod.node == node for pod in self.pods)

    def _pod_spec(self) -> Manifest:
        return {"containers": [{"name": names.CONTAINER, "resources": {"limits": {self.resource: self.need}}}]}

    def _capacity(self) -> Capacity:
        asked = requests.requests(self._pod_spec())
        nodes = (
            Node(f"node-{number}", {}, (), {self.resource: Decimal(gpus), requests.PODS: Decimal(110)}, ready=True)
            for number, gpus in enumerate(self.nodes)
        )
        placed = (
            PodRequests(NAMESPACE, pod.name, None if pod.node is None else f"node-{pod.node}", asked)
            for pod in self.pods
        )
        found = capacity_of(nodes, placed)
        if self.quota is not None:
            limit = Limit(requests.PODS, requests.PODS, Decimal(self.quota), Decimal(len(self.pods)))
            found.put_quota(Quota(NAMESPACE, "pods", (limit,)))
        return found

    def _roll(self, slot: Slot, plan: SlotPlan) -> None:
        """As the Deployment controller does it; an unsaid pace is a quarter more and a quarter missing."""
        new = [pod for pod in self.of(slot) if pod.revision == plan.revision]
        old = [pod for pod in self.of(slot) if pod.revision != plan.revision]
        if plan.is_paused and old:
            return
        if plan.way == "Recreate" and any(pod.slot == slot and pod.revision != plan.revision for pod in self.pods):
            _end(old)
            return
        surge, missing = _pace(plan)
        most = plan.replicas + (surge if old else 0)
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
        allowed = number if self.quota is None else max(min(number, self.quota - len(self.pods)), 0)
        made = [Pod(f"{slot}-{revision}-{next(self.names)}", slot, revision, self.has_sidecars) for _ in range(allowed)]
        self.pods += made
        self.slots[slot].is_refused = allowed < number
        return made


def _pace(plan: SlotPlan) -> tuple[int, int]:
    """How many pods more, and how many fewer, than are wanted."""
    if plan.max_surge is None:
        return math.ceil(plan.replicas / 4), plan.replicas // 4
    return (1, 0) if plan.max_surge else (0, 1)


def _worst_first(pods: Collection[Pod]) -> list[Pod]:
    return sorted(pods, key=lambda pod: (pod.is_ready, pod.node is not None))


def _end(pods: Collection[Pod]) -> None:
    for pod in pods:
        pod.is_leaving = True
