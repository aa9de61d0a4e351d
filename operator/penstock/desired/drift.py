"""Does the live object still say what we want? Pure comparison of a manifest with what the API server holds.

A field that others add is theirs and stays; a field that we set and that differs is drift. The API server
fills in defaults and rewrites quantities, so equality is of meaning: `1000m` is `1`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from penstock import quantity

# Lists that server-side apply merges by key (listType=map in the API's schema): others may add items.
# Source: x-kubernetes-list-map-keys of the built-in types.
_MERGE_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    # Of a Service by port, of a container by containerPort.
    "ports": ("port", "containerPort", "protocol"),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "ownerReferences": ("uid",),
}
# Maps that server-side apply replaces as a whole (x-kubernetes-map-type: atomic): what others add there is drift.
_ATOMIC: Final = frozenset({"selector", "matchLabels", "nodeSelector"})
# Of an HTTPRoute, what others add to a list that is ours alone sends requests astray (x-kubernetes-list-type: atomic).
_OURS_ALONE: Final = frozenset({"rules", "hostnames", "parentRefs"})
_ASTRAY: Final = frozenset({"filters", "headers", "queryParams", "method", "namespace", "backendRequest", "retry"})
# Numbers that the API server may hand back in another spelling.
_QUANTITY_MAPS: Final = frozenset({"limits", "requests"})
_QUANTITY_FIELDS: Final = frozenset({"sizeLimit", "averageValue", "divisor"})
# Left out, these mean true: their false is a word that must stand there.
_TRUE_BY_DEFAULT: Final = frozenset({"automountServiceAccountToken", "enableServiceLinks", "allowPrivilegeEscalation"})


def differs(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> str | None:
    """The dotted path of the first field of `wanted` that `live`, an object of the same kind, does not match."""
    content = {key: value for key, value in wanted.items() if key not in ("apiVersion", "kind")}
    return _mapping(content, live, "") or _added(wanted, live)


def _added(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> str | None:
    """The first thing that others put into a list which we alone write, and which sends requests elsewhere."""
    ours, theirs = wanted.get("spec") or {}, live.get("spec") or {}
    found = (_astray(ours.get(key), theirs.get(key), f"spec.{key}") for key in sorted(_OURS_ALONE & ours.keys()))
    return next((path for path in found if path), None)


def _astray(wanted: Any, live: Any, path: str) -> str | None:
    if isinstance(wanted, list) and isinstance(live, list):
        pairs = enumerate(zip(wanted, live, strict=False))
        found = (_astray(ours, theirs, f"{path}[{index}]") for index, (ours, theirs) in pairs)
        return next((each for each in found if each), f"{path}[{len(wanted)}]" if len(live) > len(wanted) else None)
    if not isinstance(wanted, dict) or not isinstance(live, dict):
        return None
    added = next((key for key in sorted(live.keys() & _ASTRAY - wanted.keys()) if not _is_empty(live[key])), None)
    if added is not None:
        return f"{path}.{added}"
    found = (_astray(wanted[key], live.get(key), f"{path}.{key}") for key in wanted)
    return next((each for each in found if each), None)


def _mapping(wanted: Mapping[str, Any], live: Mapping[str, Any], path: str) -> str | None:
    for key, value in wanted.items():
        here = f"{path}.{key}" if path else key
        if key not in live:
            if _is_empty(value) and key not in _TRUE_BY_DEFAULT:
                continue
            return here
        are_maps = isinstance(value, dict) and isinstance(live[key], dict)
        if key in _ATOMIC and are_maps and live[key].keys() - value.keys():
            return here
        is_of_quantities = key in _QUANTITY_MAPS and are_maps
        found = _quantities(value, live[key], here) if is_of_quantities else _value(value, live[key], here, key)
        if found:
            return found
    return None


def _value(wanted: Any, live: Any, path: str, key: str) -> str | None:
    if isinstance(wanted, dict) and isinstance(live, dict):  # Mapping would ask an ABC, at ten times the cost.
        return _mapping(wanted, live, path)
    if isinstance(wanted, list) and isinstance(live, list):
        return _sequence(wanted, live, path, key)
    if wanted == live or (key in _QUANTITY_FIELDS and _same_amount(wanted, live)):
        return None
    return path


def _quantities(wanted: Mapping[str, Any], live: Mapping[str, Any], path: str) -> str | None:
    for name, amount in wanted.items():
        if name not in live or not _same_amount(amount, live[name]):
            return f"{path}.{name}"
    return None


def _sequence(wanted: Sequence[Any], live: Sequence[Any], path: str, key: str) -> str | None:
    keys = _MERGE_KEYS.get(key)
    if keys:
        return _merged(wanted, live, path, keys)
    if len(wanted) != len(live):
        return path
    for index, (ours, theirs) in enumerate(zip(wanted, live, strict=True)):
        found = _value(ours, theirs, f"{path}[{index}]", key)
        if found:
            return found
    return None


def _merged(wanted: Sequence[Any], live: Sequence[Any], path: str, keys: tuple[str, ...]) -> str | None:
    try:
        by_key = {tuple(item.get(key) for key in keys): item for item in live}
        pairs = [(item, by_key.get(tuple(item.get(key) for key in keys))) for item in wanted]
    except (AttributeError, TypeError):
        return path  # No list of objects with plain keys: it is the API server's to refuse.
    for item, theirs in pairs:
        here = f"{path}[{'/'.join(str(item.get(key)) for key in keys)}]"
        found = here if theirs is None else _mapping(item, theirs, here)
        if found:
            return found
    return None


def _same_amount(one: Any, other: Any) -> bool:
    try:
        return quantity.equal(one, other)
    except (TypeError, ValueError):  # Neither a number nor text, or no quantity.
        return False


def _is_empty(value: Any) -> bool:
    """The API server leaves out what has its type's zero value."""
    return value is None or value in ({}, [], 0, "")
