"""The pieces of the core Kubernetes API that our builders look into, checked for the shape that they rely on.

The CRD types only their outside: whoever writes `mountpath` hears of it here, with the path, before anything is built.
What no builder looks into is the API server's to refuse, in its own words.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from penstock.api.predictor import Predictor

# An object by its fields, a list by its items, or a plain type, which as a field is required.
Shape: TypeAlias = "Mapping[str, Shape] | Sequence[Shape] | type[str] | type[int]"

_MOUNTS: Final[Shape] = [{"mountPath": str}]
_VARIABLES: Final[Shape] = [{"name": str}]
_CONTAINER: Final[Shape] = {
    "ports": [{"containerPort": int}],
    "env": _VARIABLES,
    "envFrom": [{}],
    "volumeMounts": _MOUNTS,
    "resources": {"requests": {}, "limits": {}},
    "securityContext": {},
    "lifecycle": {},
    "startupProbe": {},
    "readinessProbe": {},
    "livenessProbe": {},
}
_EXPRESSIONS: Final[Shape] = [{"key": str, "operator": str, "values": [str]}]
_TERMS: Final[Shape] = [{"matchExpressions": _EXPRESSIONS, "matchFields": _EXPRESSIONS}]
_AFFINITY: Final[Shape] = {
    "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": _TERMS}}
}
_WORDS: Final = {str: "a string", int: "a whole number"}


def misshapen(predictor: Predictor) -> Iterator[tuple[str, str]]:
    """The JSON path and the fault of each part that is not what the core API has there."""
    given: list[tuple[str, Any, Shape]] = [
        ("containers", predictor.containers or [], [_CONTAINER]),
        ("model.env", predictor.model.env if predictor.model else [], _VARIABLES),
        ("volumes", predictor.volumes, _VARIABLES),
        ("volumeMounts", predictor.volume_mounts, _MOUNTS),
        ("affinity", predictor.affinity or {}, _AFFINITY),
    ]
    for name, value, shape in given:
        yield from _faults(value, shape, f"spec.predictor.{name}")
    # The one plain value that a builder reads and that need not be there.
    for index, container in enumerate(predictor.containers or []):
        if "name" in container:
            yield from _faults(container["name"], str, f"spec.predictor.containers[{index}].name")


def _faults(value: Any, shape: Shape, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(shape, type):
        # To Python a truth value is a number.
        if not isinstance(value, shape) or isinstance(value, bool):
            yield path, f"must be {_WORDS[shape]}"
    elif isinstance(shape, Mapping):
        yield from _faults_of_object(value, shape, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _faults(item, shape[0], f"{path}[{index}]")
    else:
        yield path, "must be a list"


def _faults_of_object(value: Any, shape: Mapping[str, Shape], path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping):
        yield path, "must be an object"
        return
    for name, inner in shape.items():
        if name in value:
            yield from _faults(value[name], inner, f"{path}.{name}")
        elif isinstance(inner, type):
            yield f"{path}.{name}", "is required"
