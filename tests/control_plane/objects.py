"""The objects of a namespace through pykube: an independent look at what the operator wrote."""

import copy
from typing import Any

import pykube
from penstock import kinds
from penstock.kinds import INFERENCE_SERVICE, Kind

from tests.harness import kwok

Manifest = dict[str, Any]

TOLERATION = {"key": kwok.TAINT["key"], "operator": "Exists"}
MODEL = {"storageUri": "s3://models/smollm2", "image": "example/server:1"}
_MERGE = "application/merge-patch+json"
# No service sleeps here, and the slices that the cluster makes bear the labels of ours.
OWNED = tuple(kind for kind in kinds.CHILDREN if kind is not kinds.ENDPOINT_SLICE)
REPLICA_SET = Kind("ReplicaSet", "apps/v1", "replicasets")


class Missing(LookupError):
    """There is no such object."""


class Refused(Exception):
    """The API server said no; the message is its own."""


class Objects:
    """One namespace. `manager` is the field manager that its writes are made as."""

    def __init__(self, client: pykube.HTTPClient, namespace: str, *, manager: str = "somebody-else") -> None:
        self.client = client
        self.namespace = namespace
        self.manager = manager

    def get(self, kind: Kind, name: str) -> Manifest:
        """Raises Missing."""
        return self._call("GET", kind, name)

    def all(self, kind: Kind, selector: str = "") -> list[Manifest]:
        found: list[Manifest] = self._call("GET", kind, query={"labelSelector": selector})["items"]
        return found

    def create(self, manifest: Manifest) -> Manifest:
        kind = next(k for k in kinds.BY_NAME.values() if k.name == manifest["kind"])
        return self._call("POST", kind, body=manifest, query={"fieldManager": self.manager})

    def patch(self, kind: Kind, name: str, body: Manifest, *, subresource: str | None = None) -> Manifest:
        """A JSON merge patch."""
        query = {"fieldManager": self.manager}
        return self._call("PATCH", kind, name, body=body, query=query, subresource=subresource)

    def delete(self, kind: Kind, name: str, *, propagation: str = "Background") -> None:
        self._call("DELETE", kind, name, body={"propagationPolicy": propagation})

    def serve(self, name: str, *, annotations: dict[str, str] | None = None, **spec: Any) -> Manifest:
        """Create an InferenceService; `spec` as `a_service` takes it."""
        return self.create(a_service(name, self.namespace, annotations=annotations, **spec))

    def service(self, name: str) -> Manifest:
        return self.get(INFERENCE_SERVICE, name)

    def edit(self, name: str, **spec: Any) -> Manifest:
        """Merge into the spec of an InferenceService."""
        return self.patch(INFERENCE_SERVICE, name, {"spec": spec})

    def annotate(self, name: str, **annotations: str | None) -> Manifest:
        """Set annotations of an InferenceService: `paused` stands for penstock.dev/paused, and so on."""
        keys = {f"penstock.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
        return self.patch(INFERENCE_SERVICE, name, {"metadata": {"annotations": keys}})

    def _call(
        self,
        method: str,
        kind: Kind,
        name: str | None = None,
        *,
        body: Manifest | None = None,
        query: dict[str, str] | None = None,
        subresource: str | None = None,
    ) -> Manifest:
        answer = self.client.session.request(
            method,
            self.client.config.cluster["server"] + kind.path(self.namespace, name, subresource),
            json=body,
            params=query,
            headers={"Content-Type": _MERGE if method == "PATCH" else "application/json"},
            timeout=30,
        )
        found: Manifest = answer.json()
        if answer.status_code == 404:
            raise Missing(found["message"])
        if not answer.ok:
            raise Refused(found["message"])
        return found


def a_service(
    name: str, namespace: str, *, annotations: dict[str, str] | None = None, model: Manifest | None = None, **spec: Any
) -> Manifest:
    """An InferenceService for fake nodes, by the defaults, Auto above all; only the hold of five minutes is none.

    Further words are fields of the spec, those of the predictor among them.
    """
    own = {
        key: spec.pop(key) for key in ("replicas", "suspend", "disruption", "networking", "autoscaling") if key in spec
    }
    rollout = {"blueGreen": {"holdSeconds": 0}, **spec.pop("rollout", {})}
    predictor = {"model": MODEL | (model or {}), "tolerations": [TOLERATION], **copy.deepcopy(spec)}
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.name,
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations or {}},
        "spec": {"predictor": predictor, "rollout": rollout, **own},
    }


def image(tag: str) -> Manifest:
    """The predictor of a service that runs this tag: kwok makes the pod behave as the tag says."""
    return {"model": {"image": f"example/server:{tag}"}}


def condition(manifest: Manifest, name: str) -> Manifest:
    """Raises LookupError where the status does not have it."""
    conditions = manifest.get("status", {}).get("conditions", [])
    found: Manifest | None = next((each for each in conditions if each["type"] == name), None)
    if found is None:
        raise Missing(f"no condition {name} in {manifest.get('status')}")
    return found


def assert_condition(manifest: Manifest, name: str, status: str, reason: str | None = None) -> Manifest:
    """The condition, when it has that status (and reason). Raises AssertionError with all conditions."""
    found = condition(manifest, name)
    told = [f"{c['type']}={c['status']} {c['reason']}: {c['message']}" for c in manifest["status"]["conditions"]]
    assert found["status"] == status, told
    assert reason in (None, found["reason"]), told
    return found


def blockers(manifest: Manifest) -> dict[str, str]:
    """The messages of `status.blockedBy`, by reason."""
    return {each["reason"]: each["message"] for each in manifest.get("status", {}).get("blockedBy", [])}
