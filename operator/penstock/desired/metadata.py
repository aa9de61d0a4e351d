"""What every child carries: labels, the owner, and the mark of what was applied."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.kinds import Kind, Manifest

Item: TypeAlias = dict[str, Any]  # Of a list that Kubernetes merges by a key: an env variable, a volume, a mount.

COMPONENT = "predictor"


def labels(service: str) -> dict[str, str]:
    return {
        names.LABEL_NAME: "model-server",
        names.LABEL_INSTANCE: service,
        names.LABEL_COMPONENT: COMPONENT,
        names.LABEL_PART_OF: names.PRODUCT,
        names.LABEL_MANAGED_BY: names.PRODUCT,
        names.LABEL_SERVICE: service,
    }


def selector(service: str, slot: names.Slot | None) -> dict[str, str]:
    """The labels that pick the pods of one slot, or with None of both."""
    return {names.LABEL_SERVICE: service, **({names.LABEL_SLOT: slot.value} if slot else {})}


def owner(service: InferenceService) -> Manifest:
    """The owner reference of a child. Without blockOwnerDeletion: deletion needs neither us nor a finalizer."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": service.metadata.name,
        "uid": service.metadata.uid,
        "controller": True,
    }


def target(service: InferenceService) -> dict[str, str]:
    """How an autoscaler names the service, whose `/scale` it reads and writes."""
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": service.metadata.name}


def child(
    service: InferenceService,
    kind: Kind,
    name: str,
    content: dict[str, Any],
    *,
    extra_labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> Manifest:
    """A complete manifest of a child, marked with whose it is and the hash of what we set in it."""
    manifest: Manifest = {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {
            "name": name,
            "namespace": service.metadata.namespace,
            "labels": labels(service.metadata.name) | (extra_labels or {}),
            "annotations": dict(annotations or {}),
            "ownerReferences": [owner(service)],
        },
        **content,
    }
    manifest["metadata"]["annotations"][names.ANNOTATION_APPLIED] = f"{service.metadata.uid}/{_digest(manifest)}"
    return manifest


def controller(metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The owner reference of the object's controller, whoever that is."""
    owners = metadata.get("ownerReferences") or []
    return next((each for each in owners if each.get("controller")), None)


def is_service(owner: Mapping[str, Any]) -> bool:
    """Whether an owner is one of our services. KServe's have the same kind, and often the same name."""
    group = owner.get("apiVersion", "").partition("/")[0]
    return bool(group == names.GROUP and owner["kind"] == names.KIND)


def is_owned_by(found: Manifest, name: str) -> bool:
    """Whether a service of ours with that name, now or earlier, is the object's controller."""
    owner = controller(found["metadata"])
    return owner is not None and is_service(owner) and bool(owner["name"] == name)


def made_for(child: Manifest) -> str:
    """The UID of the service that a live child was last applied for; empty if it bears no mark of ours.

    Unlike the owner reference, the mark stays when a service is deleted and its children are not.
    """
    mark: str = (child["metadata"].get("annotations") or {}).get(names.ANNOTATION_APPLIED, "")
    return mark.partition("/")[0]


def merged(ours: Sequence[Item], users: Sequence[Item], *, key: str) -> list[Item]:
    """Both lists, item by item of that key: where the user has one of the name, ours gives way."""
    taken = {item[key] for item in users}
    return [*(item for item in ours if item[key] not in taken), *users]


def _digest(manifest: Manifest) -> str:
    return hashlib.sha256(orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
