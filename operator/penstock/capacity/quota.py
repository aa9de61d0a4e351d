"""What the ResourceQuotas of a namespace leave for more pods of a service.

Sources: https://kubernetes.io/docs/concepts/policy/resource-quotas/ and, for what a pod costs a quota, kubernetes'
pkg/quota/v1/evaluator/core/pods.go. Quotas of limits, and those with a scope that is not known here, are not counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from penstock import quantity
from penstock.capacity.requests import PODS, ZERO, Amounts

# A quota names these as a pod does; of all other resources it counts `requests.<name>` alone.
_ALSO_PLAIN: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
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
    limits = (
        Limit(resource, name, quantity.parse(hard[name]), quantity.parse(used[name]))
        for name in sorted(hard.keys() & used.keys())
        if (resource := _resource(name)) is not None
    )
    selected = (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    scopes = [Scope(name) for name in spec.get("scopes") or []]
    scopes += [Scope(each["scopeName"], each["operator"], tuple(each.get("values") or [])) for each in selected]
    return Quota(metadata["namespace"], metadata["name"], tuple(limits), tuple(scopes))


def allowance(
    quotas: Iterable[Quota], pod_spec: Mapping[str, Any], asked: Amounts, own: Sequence[Amounts]
) -> Allowance | None:
    """Return what the quotas leave for pods that ask for so much, or None if they limit no such pod.

    `own` is what each of the pods that may be replaced requests.
    """
    found = [
        _allowed(each.name, limit, asked[limit.resource], own)
        for each in quotas
        if _is_for(each, pod_spec, asked)
        for limit in each.limits
        if limit.resource in asked
    ]
    if not found:
        return None
    tightest = min(found, key=lambda each: (each.more, each.without_own))
    return Allowance(
        more=tightest.more,
        without_own=min(each.without_own for each in found),
        can_take_turns=all(each.can_take_turns for each in found),
        quota=tightest.quota,
        limit=tightest.limit,
        need=tightest.need,
    )


def _allowed(quota: str, limit: Limit, need: Decimal, own: Sequence[Amounts]) -> Allowance:
    given_back = [amounts.get(limit.resource, ZERO) for amounts in own]
    without_own = _copies(limit.left + sum(given_back, ZERO), need)
    can_take_turns = all(limit.left + each >= need for each in given_back) and without_own >= len(own)
    return Allowance(_copies(limit.left, need), without_own, can_take_turns, quota, limit, need)


def _copies(left: Decimal, need: Decimal) -> int:
    return int(max(left, ZERO) // need)


def _resource(name: str) -> str | None:
    """What a pod calls the resource that a quota counts under this name; None if it is not one that pods request."""
    if name in _OF_PODS:
        return PODS
    if name in _ALSO_PLAIN or name.startswith("hugepages-"):
        return name
    return name.removeprefix("requests.") if name.startswith("requests.") else None


def _is_for(quota: Quota, pod_spec: Mapping[str, Any], asked: Amounts) -> bool:
    return all(_matches(scope, pod_spec, asked) for scope in quota.scopes)


def _matches(scope: Scope, pod_spec: Mapping[str, Any], asked: Amounts) -> bool:
    match scope.name:
        # A Deployment's pods have no deadline.
        case "NotTerminating":
            return True
        case "BestEffort" | "NotBestEffort":
            is_best_effort = not {"cpu", "memory"} & asked.keys()
            return is_best_effort is (scope.name == "BestEffort")
        case "PriorityClass":
            return _selects(scope, pod_spec.get("priorityClassName") or None)
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
