"""An API server in memory, for faults and orders of events that a real one cannot be made to produce.

It behaves like server-side apply in the few ways that a pass relies on: preconditions, fields of others that stay,
fields of ours that go when they are no longer applied, and versions that move only when something changed.
"""

from collections.abc import Callable
from copy import deepcopy
from itertools import count
from typing import Any

from penstock import errors
from penstock.kinds import (
    BY_NAME,
    CONTROLLER_REVISION,
    ENDPOINT_SLICE,
    INFERENCE_SERVICE,
    SERVICE,
    Kind,
    Manifest,
    kind_of,
)
from penstock.watch.store import Key, ObjectId, Store, identify


class FakeCluster:
    """`calls` has (verb, kind, name) of every request that was answered; `faults` are raised instead of an answer."""

    def __init__(self) -> None:
        self.objects: dict[ObjectId, Manifest] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.events: list[Manifest] = []
        self.faults: dict[tuple[str, str], Exception] = {}
        self.before_write: Callable[[], object] = lambda: None
        self.not_served: set[str] = set()  # kinds
        self.ip_family = "IPv4"  # of new Services
        self.after_get: Callable[[], object] = lambda: None  # what somebody else does between our read and our write
        self._applied: dict[ObjectId, Manifest] = {}
        self._versions = count(100)
        self._uids = count(1)

    @property
    def writes(self) -> list[tuple[str, str, str]]:
        return [call for call in self.calls if call[0] != "get"]

    def put(self, kind: Kind, obj: Manifest) -> Manifest:
        """Somebody else creates or replaces an object."""
        stored = deepcopy(obj)
        stored["metadata"].setdefault("uid", f"uid-{next(self._uids)}")
        stored["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[identify(kind, obj)] = stored
        return stored

    def edit(self, kind: Kind, name: str, **fields: Any) -> None:
        """Somebody else sets top-level fields of an object."""
        identity = ObjectId(kind.name, "ml", name)
        self._store(identity, {**self.objects[identity], **fields})

    def remove(self, kind: Kind, name: str) -> None:
        del self.objects[ObjectId(kind.name, "ml", name)]

    def deliver(self, store: Store) -> set[Key]:
        """All watches catch up; the services that hear of something."""
        version, concerned = next(self._versions), set[Key]()
        for kind in BY_NAME.values():
            present = [identity for identity in self.objects if identity.kind == kind.name]
            for identity in present:
                concerned |= store.put(kind, deepcopy(self.objects[identity]))
            concerned |= store.retain(kind, None, present, version=version)
        return concerned

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        self._answer("get", kind, name)
        found = deepcopy(self.objects.get(ObjectId(kind.name, namespace, name)))
        self.after_get()
        return found

    async def serves(self, kind: Kind, namespace: str) -> bool:
        del namespace
        return kind.name not in self.not_served

    async def apply(self, manifest: Manifest) -> Manifest:
        kind, identity = kind_of(manifest), identify(kind_of(manifest), manifest)
        self._answer("apply", kind, identity.name)
        before = self.objects.get(identity)
        if kind.name in self.not_served:
            raise errors.NotFound(404, "NotFound", "the server could not find the requested resource")
        self._check(before, manifest["metadata"])
        metadata = {k: v for k, v in manifest["metadata"].items() if k not in ("uid", "resourceVersion")}
        wanted = deepcopy({**manifest, "metadata": metadata})
        if kind is SERVICE and before is None:
            self._applied[identity] = wanted
            assigned = {**wanted["spec"], "clusterIP": "10.2.0.1", "ipFamilies": [self.ip_family]}
            return deepcopy(self.put(kind, {**wanted, "spec": assigned, "metadata": {**metadata, "generation": 1}}))
        if before is None:
            self._applied[identity] = wanted
            return deepcopy(self.put(kind, {**wanted, "metadata": {**metadata, "generation": 1}}))
        merged = _merged(before, self._applied.get(identity, {}), wanted)
        self._applied[identity] = wanted
        return deepcopy(self._store(identity, merged))

    async def merge(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: Manifest,
        *,
        subresource: str = "",
        manager: str = "penstock",
    ) -> Manifest:
        self._answer(f"merge {subresource}".rstrip(), kind, name)
        identity = ObjectId(kind.name, namespace, name)
        before = self.objects.get(identity)
        if before is None:
            raise errors.NotFound(404, "NotFound", f"{name} not found")
        self._check(before, patch["metadata"])
        part = "status" if subresource == "status" else "spec"
        after = {**before, part: merged_as_rfc_7386_says(before.get(part) or {}, patch[part])}
        stored = self._store(identity, after)
        # The answer to a write of /scale is a Scale, not the object.
        return deepcopy(stored) if subresource != "scale" else {"kind": "Scale", "metadata": stored["metadata"]}

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        self._answer("delete", kind, name)
        identity = ObjectId(kind.name, namespace, name)
        if identity in self.objects:
            self._check(self.objects[identity], {"uid": uid})
            del self.objects[identity]

    async def create(self, kind: Kind, manifest: Manifest) -> Manifest:
        self._answer("create", kind, manifest["metadata"].get("name", ""))
        self.events.append(manifest)
        return manifest

    def _answer(self, verb: str, kind: Kind, name: str) -> None:
        fault = self.faults.pop((verb, kind.name), None)
        if fault is not None:
            raise fault
        if verb != "get":
            self.before_write()
        self.calls.append((verb, kind.name, name))

    def _check(self, before: Manifest | None, preconditions: Manifest) -> None:
        live = before["metadata"] if before else {}
        for field in ("uid", "resourceVersion"):
            # A version that is asked of nothing is no obstacle to creating it; a UID is.
            if field in preconditions and preconditions[field] != live.get(field) and (before or field == "uid"):
                raise errors.Conflict(409, "Conflict", f"the object's {field} is another")

    def _store(self, identity: ObjectId, after: Manifest) -> Manifest:
        before = self.objects[identity]
        if after == before:
            return before
        if identity.kind == CONTROLLER_REVISION.name and after["data"] != before["data"]:
            raise errors.Rejected(422, "Invalid", "data: field is immutable")
        if identity.kind == ENDPOINT_SLICE.name and after.get("addressType") != before.get("addressType"):
            raise errors.Rejected(422, "Invalid", "addressType: field is immutable")
        metadata = {**after["metadata"], "resourceVersion": str(next(self._versions))}
        if after.get("spec") != before.get("spec"):
            metadata["generation"] = metadata.get("generation", 1) + 1
        self.objects[identity] = {**after, "metadata": metadata}
        return self.objects[identity]


def _merged(live: Any, last: Any, wanted: Any) -> Any:
    """Three ways: what is wanted wins, what was applied last and is no longer wanted goes, the rest is of others."""
    if not isinstance(live, dict) or not isinstance(wanted, dict):
        return wanted
    last = last if isinstance(last, dict) else {}
    kept = {key: value for key, value in live.items() if key in wanted or key not in last}
    return kept | {key: _merged(live.get(key), last.get(key), value) for key, value in wanted.items()}


def merged_as_rfc_7386_says(target: Any, patch: Any) -> Any:
    """MergePatch of RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged_as_rfc_7386_says(result.get(name), value)
    return result


def the_service(cluster: FakeCluster, name: str = "chat") -> Manifest:
    return cluster.objects[ObjectId(INFERENCE_SERVICE.name, "ml", name)]
