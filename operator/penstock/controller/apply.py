"""Bringing the children to what is wanted: the one place that writes them.

A write happens only on a real difference. A child that the store does not know is applied such that it can only be
created: an apply would otherwise take over an object of somebody else's that has the name.
"""

import asyncio
from typing import Final

import structlog

from penstock import errors
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import drift
from penstock.desired.metadata import controller, is_owned_by, is_service, made_for
from penstock.kinds import (
    BY_NAME,
    ENDPOINT_SLICE,
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    SCALED_OBJECT,
    SERVICE,
    VERTICAL_AUTOSCALER,
    Kind,
    Manifest,
    kind_of,
)
from penstock.kube.api_server import Cluster
from penstock.names import LABEL_SERVICE, Reason
from penstock.status.conditions import Problem
from penstock.watch.store import Child, ObjectId, Store

log = structlog.get_logger(__name__)


# No object that we could meet has this version, so that a server-side apply with it creates or is a Conflict. The API
# server checks it before the schema's rules (k8s.io/apiserver, registry/generic/registry/store.go, Update).
_OF_NOBODY: Final = "1"


# For each optional kind: the reason, the field that asks for it, and the way out.
_IF_NOT_SERVED: Final = {
    HTTP_ROUTE: (
        Reason.GATEWAY_API_MISSING,
        "spec.networking.gateway",
        "install its definitions, or leave the field out",
    ),
    SCALED_OBJECT: (Reason.KEDA_MISSING, "spec.autoscaling.provider", "install KEDA, or set provider to Auto"),
    VERTICAL_AUTOSCALER: (
        Reason.VPA_MISSING,
        "spec.autoscaling.vertical",
        "install the Vertical Pod Autoscaler, or leave the field out",
    ),
}


class Vanished(Exception):
    """The service or a child changed or went while we wrote: look again at once."""


async def apply(
    cluster: Cluster,
    store: Store,
    service: InferenceService,
    wanted: list[Manifest],
    *,
    guard: str | None = None,
    prunes: bool = True,
) -> Problem | None:
    """Write what differs and delete what is no longer wanted; what the user has to mend first, if anything.

    `guard` is the version that the active Service must still have when it is written. Without `prunes` nothing is
    deleted but a slice that leads to routers: the addresses in it would outlive them.
    Raises Vanished, errors.ApiError, errors.Unreachable.
    """
    live = store.children(service.metadata.uid)
    # A spec that has just changed wants children that there never were.
    is_reported = service.status.observed_generation == service.metadata.generation
    if is_reported and not _keys(wanted) <= live.keys():
        await _check_alive(cluster, store, service)
    guards = {(SERVICE.name, service.metadata.name): guard}
    results = await asyncio.gather(
        *(
            _ensure(cluster, store, service, manifest, live.get(_key(manifest)), guard=guards.get(_key(manifest)))
            for manifest in wanted
        ),
        return_exceptions=True,
    )
    unexpected = [r for r in results if isinstance(r, BaseException) and not isinstance(r, _Refused)]
    if unexpected:
        raise unexpected[0]
    refused = [r for r in results if isinstance(r, _Refused)]
    problem = refused[0].problem if refused else None
    takes_all = prunes and problem is None
    keep = _keys(wanted)
    unwanted = [child for key, child in live.items() if key not in keep]
    await _delete(cluster, store, service, [each for each in unwanted if takes_all or each.kind == ENDPOINT_SLICE.name])
    return problem


async def _check_alive(cluster: Cluster, store: Store, service: InferenceService) -> None:
    """Children that were there have gone: make sure that they did not go with their service. Raises Vanished.

    The watches of different kinds keep no order among each other, so the news of its end may come after theirs.
    """
    metadata = service.metadata
    found = await cluster.get(INFERENCE_SERVICE, metadata.namespace, metadata.name)
    if found is None:
        store.drop(ObjectId(INFERENCE_SERVICE.name, metadata.namespace, metadata.name))
        raise Vanished("the service is gone")
    # What the store learns here, no watch event will tell again: the pass must not go on with what was before.
    is_going = found["metadata"]["uid"] != metadata.uid or "deletionTimestamp" in found["metadata"]
    if store.put(INFERENCE_SERVICE, found) or is_going:
        raise Vanished("the service has changed, or is being deleted")


class _Refused(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


async def _ensure(
    cluster: Cluster,
    store: Store,
    service: InferenceService,
    manifest: Manifest,
    child: Child | None,
    *,
    guard: str | None,
) -> None:
    """Apply one child if it needs it; `child` is what is there. Raises _Refused, Vanished."""
    kind, metadata = kind_of(manifest), manifest["metadata"]
    if child is None:
        why, write = "is missing", _create(cluster, service, manifest)
    else:
        found = drift.differs(manifest, child.manifest())
        if found is None:
            return
        why, write = f"{found} differs", _update(cluster, manifest, child.uid, guard)
    try:
        applied = await write
    except (errors.Rejected, errors.NotFound) as error:
        problem = _problem(kind, metadata["name"], error)
        if problem is None:
            raise
        raise _Refused(problem) from error
    except errors.Conflict as error:
        live = None if guard is None else await cluster.get(kind, metadata["namespace"], metadata["name"])
        if live is None:
            store.drop(ObjectId(kind.name, metadata["namespace"], metadata["name"]))
        else:
            store.put(kind, live)
        raise Vanished(error.message) from error
    store.put(kind, applied)
    log.info("applied", kind=kind.name, name=metadata["name"], namespace=metadata["namespace"], reason=why)


def not_served(kind: Kind) -> Problem:
    """The cluster has no objects of this optional kind."""
    reason, field, way_out = _IF_NOT_SERVED[kind]
    return Problem(reason, f"{field}: this cluster does not serve {kind.api_version}: {way_out}")


def _problem(kind: Kind, name: str, error: errors.ApiError) -> Problem | None:
    """What the user has to mend; None if it is not the user's turn."""
    if isinstance(error, errors.NotFound):
        return not_served(kind) if kind in _IF_NOT_SERVED else None
    reason = Reason.QUOTA_EXCEEDED if isinstance(error, errors.QuotaExceeded) else Reason.INVALID_SPEC
    return Problem(reason, f"{kind} {name}: {error.message}")


async def _create(cluster: Cluster, service: InferenceService, manifest: Manifest) -> Manifest:
    """Apply a child that nobody has, as far as we know: one request where that is so."""
    try:
        return await cluster.apply(_with(manifest, resourceVersion=_OF_NOBODY))
    except errors.Conflict:
        found = await _ours(cluster, service, manifest)
    # A stored template can never be changed, and the one that is there is the one to go by.
    stored = {"data": found["data"]} if "data" in found else {}
    return await cluster.apply(_with({**manifest, **stored}, uid=found["metadata"]["uid"]))


async def _update(cluster: Cluster, manifest: Manifest, uid: str, guard: str | None) -> Manifest:
    """Apply a child that is there. With its UID an apply never creates: one deleted meanwhile is a Conflict.

    So is one that has another version than `guard`, if that is given: the watch, or the next look, tells what changed.
    """
    update = _with(manifest, uid=uid, **({"resourceVersion": guard} if guard else {}))
    try:
        return await cluster.apply(update)
    except errors.Rejected:
        if kind_of(manifest) is ENDPOINT_SLICE:
            # It was of the other family of addresses, as its Service was before somebody deleted that.
            await cluster.delete(
                ENDPOINT_SLICE, manifest["metadata"]["namespace"], manifest["metadata"]["name"], uid=uid
            )
            return await cluster.apply(_with(manifest, resourceVersion=_OF_NOBODY))
        if kind_of(manifest) is not SERVICE:
            raise
    # Somebody changed our port's number. To an apply theirs is one more port, and two may not have the name http.
    ports = {"metadata": {"uid": uid}, "spec": {"ports": manifest["spec"]["ports"]}}
    await cluster.merge(SERVICE, manifest["metadata"]["namespace"], manifest["metadata"]["name"], ports)
    return await cluster.apply(update)


async def _ours(cluster: Cluster, service: InferenceService, manifest: Manifest) -> Manifest:
    """Look at what has the child's name, and return it if it is ours after all. Raises _Refused, Vanished."""
    kind, metadata = kind_of(manifest), manifest["metadata"]
    found = await cluster.get(kind, metadata["namespace"], metadata["name"])
    if found is None:
        raise Vanished(f"{kind} {metadata['name']} was there for a moment")
    if _is_ours(found, service):
        return found
    if _is_of_an_earlier_life(found, service):
        await cluster.delete(kind, metadata["namespace"], metadata["name"], uid=found["metadata"]["uid"])
        raise Vanished(f"{kind} {metadata['name']} belonged to a deleted service of this name")
    raise _Refused(Problem(Reason.NAME_CONFLICT, f"{kind} {metadata['name']} {_conflict(found)}"))


def _is_ours(found: Manifest, service: InferenceService) -> bool:
    """Owned by this very service; or owned by nobody, but last applied for it: somebody took the owner off."""
    owner = controller(found["metadata"])
    if owner is None:
        return made_for(found) == service.metadata.uid
    return is_service(owner) and bool(owner["uid"] == service.metadata.uid)


def _is_of_an_earlier_life(found: Manifest, service: InferenceService) -> bool:
    """Made for a service of this name that is gone; deleting a service may have orphaned it (`--cascade=orphan`)."""
    owner = controller(found["metadata"])
    if owner is None:
        labels = found["metadata"].get("labels") or {}
        return bool(made_for(found)) and labels.get(LABEL_SERVICE) == service.metadata.name
    return is_owned_by(found, service.metadata.name)


def _conflict(found: Manifest) -> str:
    """Whose object has the name, and what the user can do: a controller makes again what is deleted under it."""
    owner = controller(found["metadata"])
    if owner is None:
        return "exists and is not ours; rename the service, or delete that object"
    whose = f"{owner['kind']} {owner['name']} of {owner['apiVersion']}"
    return f"exists and belongs to {whose}; rename the service, or delete that owner"


def _with(manifest: Manifest, **metadata: str) -> Manifest:
    return {**manifest, "metadata": {**manifest["metadata"], **metadata}}


async def _delete(cluster: Cluster, store: Store, service: InferenceService, unwanted: list[Child]) -> None:
    for child in unwanted:
        await cluster.delete(BY_NAME[child.kind], service.metadata.namespace, child.name, uid=child.uid)
        store.drop(ObjectId(child.kind, service.metadata.namespace, child.name))
        log.info("deleted", kind=child.kind, name=child.name, namespace=service.metadata.namespace, reason="unwanted")


def _keys(manifests: list[Manifest]) -> set[tuple[str, str]]:
    return {_key(manifest) for manifest in manifests}


def _key(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]
