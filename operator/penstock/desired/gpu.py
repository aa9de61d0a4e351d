"""Accelerators in a container: tolerations for the nodes that have them, requests equal to limits."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from penstock import names


def resources(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The container's resources with the requests of extended resources set to their limits, as Kubernetes demands."""
    limits = dict(wanted.get("limits") or {})
    extended = {name: amount for name, amount in limits.items() if names.is_extended(name)}
    requests = {**(wanted.get("requests") or {}), **extended}
    return {key: value for key, value in (("requests", requests), ("limits", limits)) if value}


def requested(container: Mapping[str, Any]) -> list[str]:
    """The accelerator resources that a container asks for, sorted by name."""
    wanted = container.get("resources") or {}
    asked = {**(wanted.get("requests") or {}), **(wanted.get("limits") or {})}
    return sorted(name for name, amount in asked.items() if names.is_gpu(name) and str(amount) != "0")


def tolerations(resource_names: Iterable[str], users: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The user's tolerations, and one per vendor's taint that the user does not tolerate yet."""
    keys = dict.fromkeys(_taint_key(name) for name in resource_names)
    ours = [
        {"key": key, "operator": "Exists", "effect": "NoSchedule"}
        for key in keys
        if not any(_tolerates(toleration, key) for toleration in users)
    ]
    return [*(dict(toleration) for toleration in users), *ours]


def _taint_key(resource: str) -> str:
    # NVIDIA's MIG slices (nvidia.com/mig-1g.5gb) live on nodes that carry the whole GPU's taint.
    return names.GPU if resource.startswith("nvidia.com/") else resource


def _tolerates(toleration: Mapping[str, Any], key: str) -> bool:
    if toleration.get("effect") not in (None, "", "NoSchedule"):
        return False
    if not toleration.get("key"):
        return toleration.get("operator") == "Exists"
    return bool(toleration["key"] == key)
