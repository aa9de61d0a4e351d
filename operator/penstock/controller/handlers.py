"""kopf's part: it logs in and watches the InferenceServices. An event becomes a key in the queue, nothing more.

`on.event` only: every other kind of handler would write finalizers and annotations onto the users' objects.
"""

from collections.abc import Iterable
from typing import Any, cast

import kopf

from penstock import names
from penstock.api.group import VERSION
from penstock.kinds import INFERENCE_SERVICE, Manifest
from penstock.kube.api_server import credentials
from penstock.metrics import Metrics
from penstock.watch.reflector import Enqueue
from penstock.watch.store import Store, identify


def registry(store: Store, enqueue: Enqueue, metrics: Metrics, kubeconfig: str | None) -> kopf.OperatorRegistry:
    """The handlers of one operator."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        found = await credentials(kubeconfig)
        credential = await found.get_api_key_with_prefix("BearerToken")
        token = credential.split(" ", 1)[-1] if credential else None
        return kopf.ConnectionInfo(
            server=found.host,
            ca_path=found.ssl_ca_cert,
            insecure=not found.verify_ssl,
            token=token,
            certificate_path=found.cert_file,
            private_key_path=found.key_file,
        )

    @kopf.on.event(names.GROUP, VERSION, names.PLURAL, registry=handlers)
    async def service_changed(event: kopf.RawEvent, **_: Any) -> None:
        obj, kind = cast("Manifest", event["object"]), INFERENCE_SERVICE
        metrics.event_seen(kind.name, event["type"] or "LISTED")
        if event["type"] == "DELETED":
            enqueue(store.drop(identify(kind, obj), version=int(obj["metadata"]["resourceVersion"])))
            return
        enqueue(store.put(kind, obj))

    return handlers


def settings() -> kopf.OperatorSettings:
    """kopf as a guest among others: it posts nothing, marks nothing, and looks at no kind but ours."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.peering.standalone = True
    found.scanning.disabled = True
    found.persistence.finalizer = f"{names.GROUP}/kopf"
    found.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="kopf.penstock.dev")
    found.persistence.diffbase_storage = _NoDiffs()
    found.watching.chunk_size = 500
    # kopf's own default, said here because the health of the watch rests on it.
    found.watching.inactivity_timeout = 70
    found.watching.connect_timeout = 5
    found.queueing.idle_timeout = 1
    found.queueing.exit_timeout = 1
    found.networking.request_timeout = 30
    return found


class _NoDiffs(kopf.DiffBaseStorage):
    """kopf copies each object to compare it with what was handled last, though no handler of ours asks for that."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        return
