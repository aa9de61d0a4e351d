"""How long a child stays wrong: edited by somebody else, or deleted."""

from collections.abc import Mapping
from typing import Any, Final

from penstock import names
from penstock.kinds import AUTOSCALER, CONTROLLER_REVISION, DEPLOYMENT, DISRUPTION_BUDGET, SERVICE, Kind, Manifest
from penstock.kube.api_server import ApiServer

from bench.timing import spread, stopwatch
from bench.view import View

SAMPLES: Final = 20  # of edits, and as many of deletions, of each kind
# A field that the operator sets and that starts no pod, and a value that it never has here.
EDITS: Final[Mapping[Kind, tuple[tuple[str, ...], Any]]] = {
    DEPLOYMENT: (("spec", "minReadySeconds"), 7),
    SERVICE: (("spec", "selector", names.LABEL_SLOT), "green"),
    AUTOSCALER: (("spec", "maxReplicas"), 7),
    CONTROLLER_REVISION: (("metadata", "labels", names.LABEL_COMPONENT), "other"),
    DISRUPTION_BUDGET: (("spec", "maxUnavailable"), 5),
}


async def repairs(server: ApiServer, kind: Kind, namespace: str, owners: set[str]) -> dict[str, Any]:
    """Spoil one child of each owner after another, by an edit and then by deletion; seconds until it is as it was."""
    async with View.of(server, kind, namespace) as view:
        chosen = [obj for obj in view.objects.values() if obj["metadata"]["labels"][names.LABEL_SERVICE] in owners]
        edited = [await _edited(server, kind, view, obj) for obj in chosen[:SAMPLES]]
        deleted = [await _deleted(server, kind, view, obj) for obj in chosen[:SAMPLES]]
    return {"samples": len(edited) + len(deleted), "edited": spread(edited), "deleted": spread(deleted)}


async def _edited(server: ApiServer, kind: Kind, view: View, obj: Manifest) -> float:
    path, value = EDITS[kind]
    before, name = _field(obj, path), obj["metadata"]["name"]
    with stopwatch() as watch:
        spoiled = await server.merge(
            kind, obj["metadata"]["namespace"], name, _patch(path, value), subresource="", manager="bench"
        )
        await view.until(name, lambda now: _version(now) > _version(spoiled) and _field(now, path) == before)
    return watch.seconds


async def _deleted(server: ApiServer, kind: Kind, view: View, obj: Manifest) -> float:
    name, uid = obj["metadata"]["name"], obj["metadata"]["uid"]
    with stopwatch() as watch:
        await server.delete(kind, obj["metadata"]["namespace"], name, uid=uid)
        await view.until(name, lambda now: bool(now["metadata"]["uid"] != uid))
    return watch.seconds


def _version(obj: Manifest) -> int:
    return int(obj["metadata"]["resourceVersion"])


def _field(obj: Manifest, path: tuple[str, ...]) -> Any:
    found: Any = obj
    for key in path:
        found = found.get(key, {})
    return found


def _patch(path: tuple[str, ...], value: Any) -> Manifest:
    for key in reversed(path):
        value = {key: value}
    patch: Manifest = value
    return patch
