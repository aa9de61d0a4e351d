"""Whether a pod may be placed on a node at all, by the scheduler's own rules, whatever is free there.

Sources: https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/ and
https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from penstock import quantity

_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint that keeps pods away; `PreferNoSchedule` ones are not kept."""

    key: str
    value: str
    effect: str  # NoSchedule or NoExecute

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


@dataclass(frozen=True, slots=True)
class Node:
    """What scheduling needs to know of a node; amounts in base units."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    allocatable: Mapping[str, Decimal]
    ready: bool


def project_node(obj: Mapping[str, Any]) -> Node:
    """Return the projection of a v1 Node."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    taints = {
        Taint(taint["key"], taint.get("value", ""), taint["effect"]): None
        for taint in spec.get("taints") or []
        if taint["effect"] in ("NoSchedule", "NoExecute")
    }
    if spec.get("unschedulable"):
        # The scheduler treats the field as this taint, which the node controller adds a moment later.
        taints[Taint(_UNSCHEDULABLE, "", "NoSchedule")] = None
    return Node(
        name=metadata["name"],
        labels=metadata.get("labels") or {},
        taints=tuple(taints),
        allocatable={name: quantity.parse(amount) for name, amount in (status.get("allocatable") or {}).items()},
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or []),
    )


def obstacle(pod_spec: Mapping[str, Any], node: Node) -> str | None:
    """Return why the pod may not be placed there, to be read after "1 node …", or None."""
    if not node.ready:
        return "is not ready"
    for label, value in (pod_spec.get("nodeSelector") or {}).items():
        if node.labels.get(label) != value:
            return f"lacks the label {label}={value}"
    if not _affinity_matches(pod_spec, node):
        return "is excluded by the node affinity"
    tolerations = pod_spec.get("tolerations") or []
    taint = next((taint for taint in node.taints if not _is_tolerated(taint, tolerations)), None)
    return None if taint is None else f"has the untolerated taint {taint}"


def _affinity_matches(pod_spec: Mapping[str, Any], node: Node) -> bool:
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_term_matches(term, node) for term in required.get("nodeSelectorTerms") or [])


def _term_matches(term: Mapping[str, Any], node: Node) -> bool:
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    # An empty term matches no node.
    if not expressions and not fields:
        return False
    return all(_expression_matches(e, node.labels) for e in expressions) and all(
        _expression_matches(f, {"metadata.name": node.name}) for f in fields
    )


def _expression_matches(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    operator = _OPERATORS.get(expression["operator"])
    # An operator from a later Kubernetes matches nothing: better to wait than to promise room.
    return operator is not None and operator(labels.get(expression["key"]), expression.get("values") or [])


def _compares(value: str | None, values: Sequence[str], sign: int) -> bool:
    """Whether both are integers and sign * (value - values[0]) is above 0."""
    try:
        return sign * (int(value or "") - int(values[0])) > 0
    except (ValueError, IndexError):
        return False


_OPERATORS: Mapping[str, Callable[[str | None, Sequence[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
    "Gt": lambda value, values: _compares(value, values, 1),
    "Lt": lambda value, values: _compares(value, values, -1),
}


def _is_tolerated(taint: Taint, tolerations: Sequence[Mapping[str, Any]]) -> bool:
    return any(_tolerates(toleration, taint) for toleration in tolerations)


def _tolerates(toleration: Mapping[str, Any], taint: Taint) -> bool:
    if toleration.get("effect") not in (None, "", taint.effect):
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return toleration.get("key") in (None, "", taint.key)
    return operator == "Equal" and toleration.get("key") == taint.key and toleration.get("value", "") == taint.value
