"""What a pod takes from its node, as https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/ says.

All amounts are in the resource's base unit: cores, bytes, devices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import Any

from penstock import quantity

Amounts = Mapping[str, Decimal]
PodKey = tuple[str, str]  # namespace, name

ZERO = Decimal(0)
NOTHING: Amounts = {}
PODS = "pods"  # Every pod also takes one of the node's `pods`.


@dataclass(frozen=True, slots=True)
class PodRequests:
    """What one pod that has not ended takes from its node."""

    namespace: str
    name: str
    node: str | None
    requests: Amounts
    priority_class: str | None = None
    is_best_effort: bool = False  # no container asks for CPU or memory

    @property
    def key(self) -> PodKey:
        return self.namespace, self.name


def project_pod(obj: Mapping[str, Any]) -> PodRequests | None:
    """Return what a v1 Pod requests; None once it has ended."""
    if obj.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return None
    metadata, spec = obj["metadata"], obj["spec"]
    return of_spec(spec, metadata["namespace"], metadata["name"], node=spec.get("nodeName"))


def of_spec(pod_spec: Mapping[str, Any], namespace: str, name: str = "", *, node: str | None = None) -> PodRequests:
    """Return what a pod of this v1 PodSpec requests."""
    return PodRequests(
        namespace,
        name,
        node,
        requests(pod_spec),
        priority_class=pod_spec.get("priorityClassName") or None,
        is_best_effort=_is_best_effort(pod_spec),
    )


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
            sidecars = added(sidecars, asked)
            continue
        start = _maximum(start, added(sidecars, asked))
    running = added(sidecars, *(_asked(container) for container in pod_spec.get("containers") or []))
    total = {**_maximum(start, running), **_asked(pod_spec)}
    total = added(total, _amounts(pod_spec.get("overhead")), {PODS: Decimal(1)})
    return {resource: amount for resource, amount in total.items() if amount > 0}


def added(*many: Amounts) -> dict[str, Decimal]:
    """Return the sum, resource by resource."""
    total: dict[str, Decimal] = {}
    for amounts in many:
        for resource, amount in amounts.items():
            total[resource] = total.get(resource, ZERO) + amount
    return total


def copies(asked: Amounts, free: Amounts) -> int:
    """Return how many pods that ask for so much go into what is free."""
    return min(int(free.get(resource, ZERO) // amount) for resource, amount in asked.items())


def can_take_turns(left: Decimal, given_back: Sequence[Decimal], need: Decimal) -> bool:
    """Whether one goes and a new one comes, again and again, whichever goes first: the smallest, at worst."""
    freed = accumulate(sorted(given_back))
    return all(left + amount >= need * number for number, amount in enumerate(freed, start=1))


def _is_best_effort(pod_spec: Mapping[str, Any]) -> bool:
    """As https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/ says; a zero asks for nothing."""
    containers = [*(pod_spec.get("initContainers") or []), *(pod_spec.get("containers") or []), pod_spec]
    given = (
        _amounts((each.get("resources") or {}).get(side)) for each in containers for side in ("requests", "limits")
    )
    return not any(amounts.get(resource, ZERO) > 0 for amounts in given for resource in ("cpu", "memory"))


def _asked(holder: Mapping[str, Any]) -> dict[str, Decimal]:
    resources = holder.get("resources") or {}
    return _amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _amounts(quantities: Mapping[str, quantity.Quantity] | None) -> dict[str, Decimal]:
    return {resource: quantity.parse(amount) for resource, amount in (quantities or {}).items()}


def _maximum(one: Amounts, other: Amounts) -> dict[str, Decimal]:
    return {resource: max(one.get(resource, ZERO), other.get(resource, ZERO)) for resource in {**one, **other}}
