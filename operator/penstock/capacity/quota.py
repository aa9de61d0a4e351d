"""What the ResourceQuotas of a namespace leave for more pods of a service.

Sources: https://kubernetes.io/docs/concepts/policy/resource-quotas/ and, for what a pod costs a quota, kubernetes'
pkg/quota/v1/evaluator/core/pods.go. Quotas of limits, and those with a scope that is not known here, are not counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from penstock import quantity
from penstock.capacity import requests
from penstock.capacity.requests import PODS, ZERO, Amounts, PodRequests

# A quota names these as a pod does, too, and a LimitRange may add them to a pod that does not say them.
_STANDARD: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
_OF_PODS: Final = frozenset({PODS, "count/pods"})


@dataclass(frozen=True, slots=True)
class Limit:
    """One line of a quota, in the resource's base unit: how much pods may request together, and do."""

    resource: str  # as a pod names it
    name: str  # as the quota does
    hard: Decimal
    used: Decimal

    @property
    def left(self) -> Decimal:
        """Below zero where the quota was lowered under pods that run."""
        return self.hard - self.used


@dataclass(frozen=True, slots=True)
class Scope:
    """Which pods a quota is for: a v1 ScopedResourceSelectorRequirement."""

    name: str
    operator: str = "Exists"
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quota:
    """A ResourceQuota, as far as it counts pods."""

    namespace: str
    name: str
    limits: tuple[Limit, ...]
    scopes: tuple[Scope, ...] = ()


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many more pods the quotas allow now, and if the service's own were gone; the limit that allows the fewest."""

    more: int
    without_own: int
    can_take_turns: bool  # what each own pod gives back is enough for a new one, to the last of them
    quota: str
    limit: Limit
    need: Decimal  # of one pod


def project_quota(obj: Mapping[str, Any]) -> Quota:
    """Return the projection of a v1 ResourceQuota; what its controller has not counted yet limits nothing."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    limits = (_limit(name, hard[name], used[name]) for name in sorted(hard.keys() & used.keys()))
    selected = (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    scopes = [Scope(name) for name in spec.get("scopes") or []]
    scopes += [
        Scope(each["scopeName"], each.get("operator", "Exists"), tuple(each.get("values") or [])) for each in selected
    ]
    return Quota(metadata["namespace"], metadata["name"], tuple(each for each in limits if each), tuple(scopes))


def _limit(name: str, hard: Any, used: Any) -> Limit | None:
    resource = _resource(name)
    try:
        return None if resource is None else Limit(resource, name, quantity.parse(hard), quantity.parse(used))
    except ValueError:
        return None  # The API server admits none such; one line must not end the watch, and with it the operator.


def allowance(quotas: Iterable[Quota], pod: PodRequests, own: Sequence[PodRequests]) -> Allowance | None:
    """Return what the quotas leave for more such pods, or None if they limit none; `own` are those to be replaced."""
    asked = _as_admitted(pod, own)
    found = [
        _allowed(each, limit, asked[limit.resource], own)
        for each in quotas
        if _is_for(each, pod)
        for limit in each.limits
        if limit.resource in asked
    ]
    if not found:
        return None
    tightest = min(found, key=lambda each: (each.more, each.without_own))
    return replace(
        tightest,
        without_own=min(each.without_own for each in found),
        can_take_turns=all(each.can_take_turns for each in found),
    )


def _as_admitted(pod: PodRequests, own: Sequence[PodRequests]) -> Amounts:
    """What the pod will request: a LimitRange gives the new ones what it gave those that are there."""
    defaults = {
        resource: max((each.requests.get(resource, ZERO) for each in own), default=ZERO)
        for resource in _STANDARD - pod.requests.keys()
    }
    return {**pod.requests, **{resource: amount for resource, amount in defaults.items() if amount > 0}}


def _allowed(quota: Quota, limit: Limit, need: Decimal, own: Sequence[PodRequests]) -> Allowance:
    # A pod outside the quota's scopes gives nothing back to it.
    given_back = [each.requests.get(limit.resource, ZERO) if _is_for(quota, each) else ZERO for each in own]
    return Allowance(
        more=_copies(limit.left, need),
        without_own=_copies(limit.left + sum(given_back, ZERO), need),
        can_take_turns=requests.can_take_turns(limit.left, given_back, need),
        quota=quota.name,
        limit=limit,
        need=need,
    )


def _copies(left: Decimal, need: Decimal) -> int:
    return int(max(left, ZERO) // need)


def _resource(name: str) -> str | None:
    """What a pod calls the resource that a quota counts under this name; None if it is not one that pods request."""
    if name in _OF_PODS:
        return PODS
    if name in _STANDARD or name.startswith("hugepages-"):
        return name
    return name.removeprefix("requests.") if name.startswith("requests.") else None


def _is_for(quota: Quota, pod: PodRequests) -> bool:
    return all(_matches(scope, pod) for scope in quota.scopes)


def _matches(scope: Scope, pod: PodRequests) -> bool:
    match scope.name:
        # A Deployment's pods have no deadline.
        case "NotTerminating":
            return True
        case "BestEffort" | "NotBestEffort":
            return pod.is_best_effort is (scope.name == "BestEffort")
        case "PriorityClass":
            return _selects(scope, pod.priority_class)
    return False


def _selects(scope: Scope, value: str | None) -> bool:
    match scope.operator:
        case "In":
            return value in scope.values
        case "NotIn":
            return value not in scope.values
        case "Exists":
            return value is not None
    return value is None
