"""What the watches have shown of services and of their ready pods, for a process that talks to pods itself.

What is kept of a service is for each process to say. It lives on the event loop.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from penstock import names
from penstock.desired import container
from penstock.desired.serving import serving_container
from penstock.kinds import INFERENCE_SERVICE, POD, Kind, Manifest
from penstock.kube.api_server import ApiServer
from penstock.watch.reflector import Enqueue, EventCounter, Reflector
from penstock.watch.store import Key, ObjectId, identify

log = structlog.get_logger(__name__)

Service = TypeVar("Service")


@dataclass(frozen=True, slots=True)
class Pod:
    """One that can be asked."""

    service: Key
    name: str
    uid: str
    ip: str
    port: int  # the one that serves
    labels: Mapping[str, str]


class ReadyPods(Generic[Service]):
    """`read` says what is kept of an InferenceService; None: it is none of ours."""

    def __init__(self, read: Callable[[Manifest], Service | None]) -> None:
        self._read = read
        self._versions: dict[ObjectId, int] = {}
        self._services: dict[Key, Service] = {}
        self._pods: defaultdict[Key, dict[str, Pod]] = defaultdict(dict)
        self._services_of: dict[ObjectId, Key] = {}  # of each pod in _pods: its labels may be changed

    def service(self, key: Key) -> Service | None:
        return self._services.get(key)

    def services(self, namespace: str | None = None) -> Iterator[Key]:
        return (key for key in self._services if namespace in (None, key.namespace))

    def pods(self, key: Key) -> Iterable[Pod]:
        """Those that are ready and stay."""
        return self._pods.get(key, {}).values()

    def pod(self, key: Key, name: str) -> Pod | None:
        return self._pods.get(key, {}).get(name)

    @property
    def numbers(self) -> tuple[int, int]:
        """Of services, and of their ready pods."""
        return len(self._services), sum(len(self._pods.get(key, {})) for key in self._services)

    def put(self, kind: Kind, obj: Manifest) -> set[Key]:
        """Take in an object as a watch or a list returned it; an older version than known is ignored."""
        identity, version = identify(kind, obj), int(obj["metadata"]["resourceVersion"])
        if self._versions.get(identity, -1) >= version:
            return set()
        self._versions[identity] = version
        if kind is INFERENCE_SERVICE:
            return self._put_service(Key(identity.namespace, identity.name), obj)
        return self._put_pod(identity, obj) if kind is POD else set()

    def drop(self, identity: ObjectId, *, version: int | None = None) -> set[Key]:
        """Forget an object that is gone; `version`, where given, is that of its deletion."""
        known = self._versions.get(identity)
        if known is None or (version is not None and known > version):
            return set()
        del self._versions[identity]
        if identity.kind == POD.name:
            return self._drop_pod(identity)
        key = Key(identity.namespace, identity.name)
        self._services.pop(key, None)
        return {key}

    def retain(self, kind: Kind, namespace: str | None, listed: Iterable[ObjectId], *, version: int) -> set[Key]:
        """After a list: forget what it does not have any more. Objects newer than the list stay."""
        of_kind = {
            each
            for each in self._versions
            if each.kind == kind.name and (namespace is None or each.namespace == namespace)
        }
        return set().union(*(self.drop(gone, version=version) for gone in of_kind - set(listed)))

    def _put_service(self, key: Key, obj: Manifest) -> set[Key]:
        found = self._try_to_read(obj)
        if found is None:
            self._services.pop(key, None)
        else:
            self._services[key] = found
        return {key}

    def _try_to_read(self, obj: Manifest) -> Service | None:
        try:
            return self._read(obj)
        except Exception:
            # One service, whatever it says, must not end the process for all.
            log.exception("a service cannot be read", service=obj["metadata"]["name"])
            return None

    def _put_pod(self, identity: ObjectId, obj: Manifest) -> set[Key]:
        pod = _read_pod(obj)
        concerned = self._drop_pod(identity)
        if pod is None:
            return concerned
        self._pods[pod.service][pod.name] = pod
        self._services_of[identity] = pod.service
        return concerned | {pod.service}

    def _drop_pod(self, identity: ObjectId) -> set[Key]:
        service = self._services_of.pop(identity, None)
        if service is None:
            return set()
        del self._pods[service][identity.name]
        if not self._pods[service]:
            del self._pods[service]
        return {service}


def reflectors(
    server: ApiServer,
    sink: ReadyPods[Service],
    namespaces: Iterable[str],
    *,
    enqueue: Enqueue,
    metrics: EventCounter,
) -> list[Reflector]:
    """What keeps `sink` in step: services and pods of these namespaces, or of all where none is named."""

    def reflector(kind: Kind, namespace: str | None, selector: str | None = None) -> Reflector:
        return Reflector(
            server,
            sink,
            kind,
            enqueue=enqueue,
            metrics=metrics,
            namespace=namespace,
            selector=selector,
            # A namespace that is gone, and the right to read it with it, must not keep the others from being served.
            is_waited_for=namespace is None,
        )

    return [
        each
        for namespace in tuple(namespaces) or (None,)
        for each in (
            reflector(INFERENCE_SERVICE, namespace),
            # Every pod of ours has this label; those of others are never fetched.
            reflector(POD, namespace, selector=names.LABEL_SERVICE),
        )
    ]


def _read_pod(obj: Manifest) -> Pod | None:
    try:
        return _ready_pod(obj)
    except Exception:  # Nor may one pod.
        log.exception("a pod cannot be read", pod=obj["metadata"]["name"])
        return None


def _ready_pod(obj: Manifest) -> Pod | None:
    metadata, status = obj["metadata"], obj.get("status") or {}
    labels = metadata.get("labels") or {}
    service, ip = labels.get(names.LABEL_SERVICE), status.get("podIP")
    is_ready = any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in status.get("conditions") or ()
    )
    if not service or not ip or not is_ready or metadata.get("deletionTimestamp"):
        return None
    key = Key(metadata["namespace"], service)
    return Pod(key, metadata["name"], metadata["uid"], ip, container.port_number(serving_container(obj)), labels)
