"""What the watches have shown: projections, indexed the way a pass reads them.

Objects that a pass compares with its manifests are kept as JSON bytes: a tenth of the memory of nested dicts, and
decoded only when their service is worked on. `put` and `drop` say which services a change concerns; a change that
no pass would read (another controller's heartbeat, managedFields) concerns none.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from penstock import names
from penstock.api.meta import ObjectMeta
from penstock.api.v1alpha1 import InferenceService
from penstock.capacity import placement, quota, requests
from penstock.capacity.free import Capacity
from penstock.desired.metadata import controller, is_service
from penstock.kinds import (
    CHILDREN,
    ENDPOINT_SLICE,
    INFERENCE_SERVICE,
    NODE,
    POD,
    RESOURCE_QUOTA,
    ROUTER_SLICE,
    SCALED_OBJECT,
    Kind,
    Manifest,
)
from penstock.observed import parse
from penstock.observed.values import Endpoints, Router, SeenPod
from penstock.watch.capacity_waiters import CapacityWaiters


class Key(NamedTuple):
    """A service by namespace and name: the unit of work."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class ObjectId(NamedTuple):
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Child:
    """A live child as a pass needs it."""

    kind: str
    name: str
    uid: str
    body: bytes  # of observe.project_child

    def manifest(self) -> Manifest:
        decoded: Manifest = orjson.loads(self.body)
        return decoded


@dataclass(frozen=True, slots=True)
class _Known:
    """The version of an object that the store holds, and the service it belongs to."""

    version: int
    uid: str
    owner: str = ""  # UID of the owning service, for children
    service: Key | None = None


@dataclass
class Store:
    """Not thread-safe: it lives on the event loop."""

    capacity: Capacity = field(default_factory=Capacity)
    waiting_for_room: CapacityWaiters[Key] = field(
        default_factory=CapacityWaiters
    )  # services with a pod that found no node
    _known: dict[ObjectId, _Known] = field(default_factory=dict)
    _services: dict[Key, bytes] = field(default_factory=dict)
    _moving: set[Key] = field(default_factory=set)
    _sleepers: set[Key] = field(default_factory=set)  # services that may sleep, or did
    _routers: dict[ObjectId, tuple[Router, ...]] = field(default_factory=dict)  # by the slice that lists them
    _children: defaultdict[str, dict[tuple[str, str], Child]] = field(default_factory=lambda: defaultdict(dict))
    _pods: defaultdict[Key, dict[str, SeenPod]] = field(default_factory=lambda: defaultdict(dict))
    _endpoints: defaultdict[Key, dict[str, Endpoints]] = field(default_factory=lambda: defaultdict(dict))

    def service(self, key: Key) -> InferenceService | None:
        """The service as parsed; a status that makes no sense to us counts as wiped. Raises ValidationError."""
        body = self._services.get(key)
        if body is None:
            return None
        try:
            return InferenceService.model_validate_json(body)
        except ValidationError:
            # A newer version may have written it, before somebody went back to this one.
            return InferenceService.model_validate({**orjson.loads(body), "status": {}})

    def metadata(self, key: Key) -> ObjectMeta | None:
        """That of the service, which can be read whatever its spec says."""
        body = self._services.get(key)
        return ObjectMeta.model_validate(orjson.loads(body)["metadata"]) if body else None

    def raw_status(self, key: Key) -> Manifest:
        """The status as the API server holds it, for comparing with a new one."""
        body = self._services.get(key)
        found: Manifest = orjson.loads(body).get("status") or {} if body else {}
        return found

    def version(self, key: Key) -> str:
        """The resourceVersion of the service that the store holds, to guard a write with."""
        known = self._known.get(ObjectId(INFERENCE_SERVICE.name, *key))
        return str(known.version) if known else ""

    def services(self) -> Iterator[Key]:
        return iter(tuple(self._services))

    def is_moving(self, key: Key) -> bool:
        """A rollout of the service is under way: pods, and perhaps traffic, wait for its next step."""
        return key in self._moving

    def children(self, owner: str) -> dict[tuple[str, str], Child]:
        """The children of the service with that UID, by (kind, name)."""
        return dict(self._children.get(owner, {}))

    def pods(self, key: Key) -> tuple[SeenPod, ...]:
        return tuple(self._pods.get(key, {}).values())

    def endpoints(self, key: Key) -> Endpoints:
        """The pods behind the active Service, from all of its slices."""
        slices = self._endpoints.get(key, {}).values()
        return Endpoints(
            ready=frozenset().union(*(each.ready for each in slices)),
            lasting=frozenset().union(*(each.lasting for each in slices)),
        )

    @property
    def routers(self) -> tuple[Router, ...]:
        """Those that are ready, in the order of their names."""
        return tuple(sorted({each for listed in self._routers.values() for each in listed}, key=lambda each: each.name))

    def numbers(self) -> Counter[str]:
        """How many objects of each kind are known."""
        return Counter(known.kind for known in self._known)

    def versions(self, kind: Kind, namespace: str | None) -> dict[ObjectId, int]:
        """What is known of a kind, for comparison with a fresh list."""
        return {
            known: held.version
            for known, held in self._known.items()
            if known.kind == kind.name and namespace in (None, known.namespace)
        }

    def held(self, identity: ObjectId) -> str | None:
        """The resourceVersion of an object as the store has it."""
        held = self._known.get(identity)
        return str(held.version) if held else None

    def put(self, kind: Kind, obj: Manifest) -> set[Key]:
        """Take in an object as a watch, a list or our own write returned it; an older version than known is ignored."""
        identity, version = identify(kind, obj), int(obj["metadata"]["resourceVersion"])
        known = self._known.get(identity)
        if known is not None and known.version >= version:
            return set()
        new = _known(kind, obj, version)
        # Also when it went over to another owner or service: the one that lost it has to know.
        replaced = known is not None and replace(known, version=version) != new
        concerned = self.drop(identity) if replaced else set()
        self._known[identity] = new
        return concerned | self._put(kind, identity, obj, new)

    def drop(self, identity: ObjectId, *, version: int | None = None) -> set[Key]:
        """Forget an object that is gone; `version`, where given, is that of its deletion."""
        known = self._known.get(identity)
        if known is None or (version is not None and known.version > version):
            return set()
        del self._known[identity]
        return self._drop(identity, known)

    def retain(self, kind: Kind, namespace: str | None, listed: Iterable[ObjectId], *, version: int) -> set[Key]:
        """After a list: forget what it does not have any more. Objects newer than the list stay."""
        gone = self.versions(kind, namespace).keys() - set(listed)
        return set().union(*(self.drop(identity, version=version) for identity in gone))

    def _put(self, kind: Kind, identity: ObjectId, obj: Manifest, known: _Known) -> set[Key]:
        if kind is INFERENCE_SERVICE:
            return self._put_service(Key(identity.namespace, identity.name), obj)
        # Those of the cluster's own controller list pods, and bear our labels too: it copies the Service's.
        if kind in CHILDREN and (kind is not ENDPOINT_SLICE or known.owner):
            return self._put_child(kind, known, obj)
        if kind is NODE:
            return self._woken_by_node(is_changed=self.capacity.put_node(placement.project_node(obj)))
        if kind is RESOURCE_QUOTA:
            # Read where a plan is made. Who waits for room in one tries again without us.
            self.capacity.put_quota(quota.project_quota(obj))
        if kind is POD:
            return self._put_pod(known.service, obj)
        if kind is ENDPOINT_SLICE and known.service is not None:
            return self._put_endpoints(known.service, identity.name, obj)
        return self._put_routers(identity, parse.routers(obj)) if kind is ROUTER_SLICE else set()

    def _put_service(self, key: Key, obj: Manifest) -> set[Key]:
        metadata = {name: obj["metadata"][name] for name in _SERVICE_METADATA if name in obj["metadata"]}
        body = _encoded({"metadata": metadata, "spec": obj["spec"], "status": obj.get("status") or {}})
        if self._services.get(key) == body:
            return set()
        self._services[key] = body
        # One that never will again may lead to the routers still.
        told = ((obj.get("status") or {}).get("autoscaling") or {}).get("sleep")
        may_sleep = told is not None or (obj["spec"].get("autoscaling") or {}).get("scaleToZero") is not None
        (self._sleepers.add if may_sleep else self._sleepers.discard)(key)
        phase = ((obj.get("status") or {}).get("rollout") or {}).get("phase")
        (self._moving.discard if phase in _AT_REST else self._moving.add)(key)
        return {key}

    def _put_routers(self, identity: ObjectId, listed: tuple[Router, ...]) -> set[Key]:
        before = self._routers.get(identity, ())
        self._routers[identity] = listed
        return set() if listed == before else set(self._sleepers)

    def _put_child(self, kind: Kind, known: _Known, obj: Manifest) -> set[Key]:
        metadata = obj["metadata"]
        slot = self._children[known.owner]
        child = Child(kind.name, metadata["name"], metadata["uid"], orjson.dumps(parse.project_child(kind, obj)))
        before = slot.get((child.kind, child.name))
        slot[child.kind, child.name] = child
        return {known.service} if known.service is not None and child != before else set()

    def _put_pod(self, service: Key | None, obj: Manifest) -> set[Key]:
        taken = requests.project_pod(obj)
        key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        changed = self.capacity.drop_pod(key) if taken is None else self.capacity.put_pod(taken)
        woken = self.waiting_for_room.for_some_of(changed)
        if service is None:
            return woken
        pod = parse.pod(obj)
        before = self._pods[service].get(pod.name)
        self._pods[service][pod.name] = pod
        return woken if pod == before else woken | {service}

    def _put_endpoints(self, service: Key, name: str, obj: Manifest) -> set[Key]:
        # The preview Service has slices, too: nothing rests on them.
        if parse.service_of_slice(obj) != service.name:
            return set()
        listed = parse.endpoints(obj)
        before = self._endpoints[service].get(name)
        self._endpoints[service][name] = listed
        return set() if listed == before else {service}

    def _drop(self, identity: ObjectId, known: _Known) -> set[Key]:
        concerned = {known.service} if known.service is not None else set()
        if identity.kind == INFERENCE_SERVICE.name:
            key = Key(identity.namespace, identity.name)
            self._services.pop(key, None)
            self._moving.discard(key)
            self._sleepers.discard(key)
            self.waiting_for_room.discard(key)
        elif identity.kind == POD.name:
            changed = self.capacity.drop_pod((identity.namespace, identity.name))
            concerned |= self.waiting_for_room.for_some_of(changed)
            _discard(self._pods, known.service, identity.name)
        elif identity.kind == NODE.name:
            concerned |= self._woken_by_node(is_changed=self.capacity.drop_node(identity.name))
        elif identity.kind == RESOURCE_QUOTA.name:
            self.capacity.drop_quota(identity.namespace, identity.name)
        elif identity.kind == ROUTER_SLICE.name:
            self._routers.pop(identity, None)
            concerned |= self._sleepers
        elif identity.kind == ENDPOINT_SLICE.name and not known.owner:
            _discard(self._endpoints, known.service, identity.name)
        else:
            _discard(self._children, known.owner, (identity.kind, identity.name))
        return concerned

    def _woken_by_node(self, *, is_changed: bool) -> set[Key]:
        return self.waiting_for_room.for_any() if is_changed else set()


# A first deployment has no traffic yet that its next step could move.
_AT_REST = frozenset({None, "Deploying", "Stable", "RolledBack"})
_SERVICE_METADATA = (
    "name",
    "namespace",
    "uid",
    "generation",
    "annotations",
    "labels",
    "deletionTimestamp",
)


def _encoded(service: Manifest) -> bytes:
    try:
        return orjson.dumps(service)
    except orjson.JSONEncodeError:
        # Nested beyond its bounds. The next pass cannot read it either, and the service's status says so.
        return json.dumps(service).encode()


def identify(kind: Kind, obj: Manifest) -> ObjectId:
    return ObjectId(kind.name, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def _owner(metadata: Manifest) -> str:
    """The UID of the service that controls the object, or of the ScaledObject; empty if none does.

    KEDA puts the labels of a ScaledObject on the autoscaler that it makes, so the watch for our labels shows it.
    """
    owner = controller(metadata)
    is_known = owner is not None and (is_service(owner) or owner["kind"] == SCALED_OBJECT.name)
    return owner["uid"] if owner is not None and is_known else ""


def _known(kind: Kind, obj: Manifest, version: int) -> _Known:
    metadata = obj["metadata"]
    service = Key(metadata["namespace"], metadata["name"]) if kind is INFERENCE_SERVICE else _service_of(metadata)
    return _Known(version, metadata.get("uid", ""), _owner(metadata) if kind in CHILDREN else "", service)


def _service_of(metadata: Manifest) -> Key | None:
    name = (metadata.get("labels") or {}).get(names.LABEL_SERVICE)
    return Key(metadata["namespace"], name) if name else None


def _discard(index: defaultdict[Any, dict[Any, Any]], key: object, name: object) -> None:
    inner = index.get(key)
    if inner is None:
        return
    inner.pop(name, None)
    if not inner:
        del index[key]
