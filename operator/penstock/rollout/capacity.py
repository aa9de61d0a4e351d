"""GPU and other capacity arithmetic: how many more copies of a pod fit, and what they wait for when none does.

The rules are the scheduler's own filters, NodeResourcesFit, NodeAffinity, TaintToleration and NodeUnschedulable
(https://kubernetes.io/docs/concepts/scheduling-eviction/), over projections of nodes and pods. A pod's request is what
https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers says.
All amounts are in the resource's base unit: cores, bytes, devices.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from penstock import names, quantity
from penstock.rollout import placement
from penstock.rollout.placement import Node

Amounts = Mapping[str, Decimal]
PodKey = tuple[str, str]  # namespace, name

_ZERO = Decimal(0)
_NOTHING: Amounts = {}
_PODS = "pods"  # Every pod also takes one of the node's `pods`.


@dataclass(frozen=True, slots=True)
class PodClaim:
    """What one pod that has not ended takes from its node."""

    namespace: str
    name: str
    node: str | None
    requests: Amounts
    service: str | None  # name of the InferenceService it belongs to

    @property
    def key(self) -> PodKey:
        return self.namespace, self.name


@dataclass(frozen=True, slots=True)
class Fit:
    """How many more copies fit: in all, and per node where at least one does."""

    by_node: Mapping[str, int]
    message: str  # one sentence: the copies that fit, or what is missing where
    short_of: str | None = None  # the resource no matching node has enough of; None also when no node matches

    @property
    def copies(self) -> int:
        return sum(self.by_node.values())


@dataclass(frozen=True, slots=True)
class Scarce:
    """The scarcest kind of resource that a pod asks for, over the nodes that match it."""

    resource: str
    need: Decimal  # of one pod
    free: Decimal
    total: Decimal

    @property
    def have(self) -> str:
        return f"{_shown(self.resource, self.free)} of {_shown(self.resource, self.total)} {self.resource} free"

    def needed(self, pods: int) -> str:
        return _shown(self.resource, self.need * pods)


@dataclass(frozen=True, slots=True)
class Room:
    """What there is for more copies of a pod, beside everything that runs and if the service's own pods were gone."""

    fit: Fit
    fit_without_own: Fit
    scarce: Scarce | None  # None where the pod asks for nothing but its place among the node's `pods`

    @property
    def is_for_gpus(self) -> bool:
        return self.scarce is not None and names.is_gpu(self.scarce.resource)


def project_pod(obj: Mapping[str, Any]) -> PodClaim | None:
    """Return what a v1 Pod claims; None once it has ended, when it claims nothing."""
    if obj.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return None
    metadata, spec = obj["metadata"], obj["spec"]
    service = (metadata.get("labels") or {}).get(names.LABEL_SERVICE)
    return PodClaim(metadata["namespace"], metadata["name"], spec.get("nodeName"), requests(spec), service)


def requests(pod_spec: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return the effective request of a v1 PodSpec, without the zeroes, plus one of `pods`.

    max(containers + sidecars, each init container + the sidecars started before it) + overhead; what the pod itself
    requests (`spec.resources`) comes before what its containers do. A limit without a request is the request.
    """
    sidecars: Amounts = {}
    start: Amounts = {}
    for container in pod_spec.get("initContainers") or []:
        asked = _asked(container)
        if container.get("restartPolicy") == "Always":
            sidecars = _sum(sidecars, asked)
            continue
        start = _maximum(start, _sum(sidecars, asked))
    running = _sum(sidecars, *(_asked(container) for container in pod_spec.get("containers") or []))
    total = {**_maximum(start, running), **_asked(pod_spec)}
    total = _sum(total, _amounts(pod_spec.get("overhead")), {_PODS: Decimal(1)})
    return {resource: amount for resource, amount in total.items() if amount > 0}


@dataclass
class Capacity:
    """Nodes and claims, kept up to date object by object, so that asking costs O(nodes) and not O(pods).

    The changing methods return whether anything that matters for scheduling changed; a heartbeat does not.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    claims: dict[PodKey, PodClaim] = field(default_factory=dict)
    _used: defaultdict[str, dict[str, Decimal]] = field(default_factory=lambda: defaultdict(dict))

    def put_node(self, node: Node) -> bool:
        changed = self.nodes.get(node.name) != node
        self.nodes[node.name] = node
        return changed

    def drop_node(self, name: str) -> bool:
        return self.nodes.pop(name, None) is not None

    def put_pod(self, claim: PodClaim) -> bool:
        if self.claims.get(claim.key) == claim:
            return False
        self.drop_pod(claim.key)
        self.claims[claim.key] = claim
        if claim.node is not None:
            used = self._used[claim.node]
            used.update(_sum(used, claim.requests))
        return True

    def drop_pod(self, key: PodKey) -> bool:
        claim = self.claims.pop(key, None)
        if claim is None:
            return False
        if claim.node is not None:
            self._give_back(claim.node, claim.requests)
        return True

    def requested(self, node: str) -> Amounts:
        """Return what the pods on the node request together, without zeroes."""
        return self._used.get(node, {})

    def free(self, node: Node, gone: Amounts = _NOTHING) -> Amounts:
        """Return what is left of the node, if pods with the requests `gone` were; never below zero.

        Static pods may overcommit a node: what goes then pays that debt first.
        """
        used = self.requested(node.name)
        return {
            name: max(amount - used.get(name, _ZERO) + gone.get(name, _ZERO), _ZERO)
            for name, amount in node.allocatable.items()
        }

    def fit(self, pod_spec: Mapping[str, Any]) -> Fit:
        """Return how many more copies of the pod fit now, or why none does."""
        return self._fit(requests(pod_spec), self._obstacles(pod_spec), {})

    def room(self, pod_spec: Mapping[str, Any], own: Collection[PodKey]) -> Room:
        """Return what there is for more copies of the pod; `own` are the pods that it may replace.

        Costs O(nodes + own): what the own pods claim is subtracted node by node, and nothing is copied.
        """
        asked, obstacles = requests(pod_spec), self._obstacles(pod_spec)
        now, without_own = (self._fit(asked, obstacles, gone) for gone in ({}, self._claimed(own)))
        return Room(now, without_own, self._scarce(asked, obstacles))

    def _obstacles(self, pod_spec: Mapping[str, Any]) -> dict[str, str | None]:
        return {node.name: placement.obstacle(pod_spec, node) for node in self.nodes.values()}

    def _claimed(self, pods: Iterable[PodKey]) -> dict[str, Amounts]:
        """Return what these pods take together, by node; one that is not known (any more) takes nothing."""
        taken: dict[str, Amounts] = {}
        for claim in (self.claims[key] for key in set(pods) if key in self.claims):
            if claim.node is not None:
                taken[claim.node] = _sum(taken.get(claim.node, _NOTHING), claim.requests)
        return taken

    def _scarce(self, asked: Amounts, obstacles: Mapping[str, str | None]) -> Scarce | None:
        resource = min(asked, key=_scarcity)
        if resource == _PODS:
            return None
        matching = [node for node in self.nodes.values() if obstacles[node.name] is None]
        free = sum((self.free(node).get(resource, _ZERO) for node in matching), _ZERO)
        total = sum((node.allocatable.get(resource, _ZERO) for node in matching), _ZERO)
        return Scarce(resource, asked[resource], free, total)

    def _fit(self, asked: Amounts, obstacles: Mapping[str, str | None], gone: Mapping[str, Amounts]) -> Fit:
        matching = [node for node in self.nodes.values() if obstacles[node.name] is None]
        free = {node.name: self.free(node, gone.get(node.name, _NOTHING)) for node in matching}
        room = {name: _copies(asked, left) for name, left in free.items()}
        by_node = {name: copies for name, copies in room.items() if copies > 0}
        if by_node:
            copies = sum(by_node.values())
            return Fit(by_node, f"{_count(copies, 'more copy', 'more copies')} fit on {_count(len(by_node), 'node')}")
        return _shortfall(asked, matching, free) or self._mismatch(asked, obstacles)

    def _mismatch(self, asked: Amounts, obstacles: Mapping[str, str | None]) -> Fit:
        """Say why no node may take the pod: nobody offers the resource, or what excludes the nodes that do."""
        wanted = next(resource for resource in sorted(asked, key=_scarcity))
        need = f"needs {_shown(wanted, asked[wanted])} {wanted}"
        offering = [node for node in self.nodes.values() if node.allocatable.get(wanted, _ZERO) > 0]
        if not offering:
            return Fit({}, f"{need}; {self._offers(wanted)}", wanted)
        reasons: defaultdict[str, int] = defaultdict(int)
        for node in offering:
            reasons[obstacles[node.name] or "lacks another requested resource"] += 1
        listed = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
        return Fit({}, f"{need}; of {_count(len(offering), 'node')} with it none matches: {listed}")

    def _offers(self, wanted: str) -> str:
        """Say that no node offers the resource and, for an accelerator, which other ones there are."""
        totals: defaultdict[str, Decimal] = defaultdict(Decimal)
        for node in self.nodes.values():
            for resource, amount in node.allocatable.items():
                if names.is_gpu(wanted) and names.is_gpu(resource) and amount > 0:
                    totals[resource] += amount
        if not totals:
            return f"none of {_count(len(self.nodes), 'node')} offers it"
        others = ", ".join(f"{_shown(resource, amount)} {resource}" for resource, amount in sorted(totals.items()))
        return f"none of {_count(len(self.nodes), 'node')} offers it (there is {others})"

    def _give_back(self, node: str, amounts: Amounts) -> None:
        used = self._used[node]
        for resource, amount in amounts.items():
            used[resource] -= amount
            if not used[resource]:
                del used[resource]
        if not used:
            del self._used[node]


def build(nodes: Iterable[Node], claims: Iterable[PodClaim]) -> Capacity:
    """Return the capacity of a whole listing."""
    capacity = Capacity()
    for node in nodes:
        capacity.put_node(node)
    for claim in claims:
        capacity.put_pod(claim)
    return capacity


def _shortfall(asked: Amounts, matching: list[Node], free: Mapping[str, Amounts]) -> Fit | None:
    """Name the first resource, the scarcest kind first, that no remaining node has enough of."""
    enough: list[str] = []
    for resource in sorted(asked, key=_scarcity):
        offering = [node for node in matching if node.allocatable.get(resource, _ZERO) > 0]
        if not offering:
            return None
        matching = [node for node in offering if free[node.name][resource] >= asked[resource]]
        if not matching:
            left = [free[node.name][resource] for node in offering]
            total = sum((node.allocatable[resource] for node in offering), _ZERO)
            return Fit({}, _arithmetic(resource, asked[resource], left, total, enough), resource)
        enough.append(resource)
    return None


def _arithmetic(resource: str, need: Decimal, free: list[Decimal], total: Decimal, enough: list[str]) -> str:
    """Say what is missing; `free` is what each of the matching nodes has left."""
    where = _count(len(free), "matching node")
    if enough:
        where += f" with enough {' and '.join(enough)}"
    if sum(free) >= need:
        where += f", at most {_shown(resource, max(free))} on one"
    have = f"{_shown(resource, sum(free, _ZERO))} of {_shown(resource, total)} free on {where}"
    return f"needs {_shown(resource, need)} {resource}; {have}"


def _copies(asked: Amounts, free: Amounts) -> int:
    return min(int(free.get(resource, _ZERO) // amount) for resource, amount in asked.items())


def _asked(holder: Mapping[str, Any]) -> dict[str, Decimal]:
    resources = holder.get("resources") or {}
    return _amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _amounts(quantities: Mapping[str, quantity.Quantity] | None) -> dict[str, Decimal]:
    return {resource: quantity.parse(amount) for resource, amount in (quantities or {}).items()}


def _sum(*many: Amounts) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for amounts in many:
        for resource, amount in amounts.items():
            total[resource] = total.get(resource, _ZERO) + amount
    return total


def _maximum(one: Amounts, other: Amounts) -> dict[str, Decimal]:
    return {resource: max(one.get(resource, _ZERO), other.get(resource, _ZERO)) for resource in {**one, **other}}


def _scarcity(resource: str) -> tuple[int, str]:
    """Order accelerators first, then other extended resources, then the rest; `pods` last."""
    if resource == _PODS:
        return 3, resource
    return (0 if names.is_gpu(resource) else 1 if "/" in resource else 2), resource


def _shown(resource: str, amount: Decimal) -> str:
    """Write an amount for people: memory in GiB, everything else as a plain number."""
    if resource in ("memory", "ephemeral-storage") or resource.startswith("hugepages-"):
        return f"{float(amount / 1024**3):.3g}Gi"
    return f"{amount.normalize():f}"


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
