"""Whom the adapter may ask: the ready pods of services that scale on what pods count. It lives on the event loop."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from penstock import names
from penstock.api.v1alpha1 import InferenceServiceSpec
from penstock.desired import container, scraping
from penstock.desired.serving import serving_container
from penstock.kinds import INFERENCE_SERVICE, POD, Kind, Manifest
from penstock.pod_metrics import PodMetrics
from penstock.watch.store import Key, ObjectId, identify

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pod:
    """One that can be asked."""

    service: Key
    name: str
    uid: str
    ip: str
    port: int  # the one that serves
    labels: Mapping[str, str]


class Targets:
    """What the watches have shown of services and pods."""

    def __init__(self) -> None:
        self._versions: dict[ObjectId, int] = {}
        self._services: dict[Key, PodMetrics] = {}
        self._pods: defaultdict[Key, dict[str, Pod]] = defaultdict(dict)
        self._services_of: dict[ObjectId, Key] = {}  # of each pod in _pods: its labels may be changed

    def metrics(self, key: Key) -> PodMetrics | None:
        """What the service's pods count; None unless it scales on that."""
        return self._services.get(key)

    def services(self, namespace: str) -> Iterator[Key]:
        return (key for key in self._services if key.namespace == namespace)

    def pods(self, key: Key) -> Iterable[Pod]:
        """Those that are ready: Kubernetes' autoscaler takes an unready pod's sample for a ready one's."""
        return self._pods.get(key, {}).values()

    def pod(self, key: Key, name: str) -> Pod | None:
        return self._pods.get(key, {}).get(name)

    @property
    def numbers(self) -> tuple[int, int]:
        """Of services that scale on pod metrics, and of their ready pods."""
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
        found = _pod_metrics(obj)
        if found is None:
            self._services.pop(key, None)
        else:
            self._services[key] = found
        return {key}

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


def _pod_metrics(obj: Manifest) -> PodMetrics | None:
    try:
        return scraping.of_service(InferenceServiceSpec.model_validate(obj["spec"]))
    except ValidationError:
        return None  # The operator says on the service what is wrong with it.
    except Exception:
        # One service, whatever it says, must not end the adapter for all.
        log.exception("a service cannot be read", service=obj["metadata"]["name"])
        return None


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
