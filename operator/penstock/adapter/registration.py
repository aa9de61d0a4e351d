"""The APIServices that route `custom.metrics.k8s.io` to the adapter. Pure.

A cluster has one of them for each version: somebody else's is never taken over.
"""

import base64
from dataclasses import dataclass
from typing import Any, Final

from penstock import names
from penstock.adapter.answers import GROUP, VERSIONS
from penstock.kinds import API_SERVICE, CLUSTER_ROLE, Manifest

SERVICE_PORT: Final = 443
# Others of the group are asked first if they have a higher one; within the group the newer version.
_GROUP_PRIORITY: Final = 100
_VERSION_PRIORITIES: Final = dict(zip(VERSIONS, (200, 100), strict=True))


@dataclass(frozen=True, slots=True)
class Installation:
    """Whose adapter this is. `owner_name`: the ClusterRole with which the APIServices go; empty: they stay."""

    namespace: str
    service: str
    secret: str
    owner_name: str = ""

    @property
    def host(self) -> str:
        return f"{self.service}.{self.namespace}.svc"


def api_service_name(version: str) -> str:
    return f"{version}.{GROUP}"


def owner(role: Manifest) -> Manifest:
    """A reference to the ClusterRole: what it owns goes with it, also when nobody of ours is left to clean up."""
    metadata = role["metadata"]
    return {
        "apiVersion": CLUSTER_ROLE.api_version,
        "kind": CLUSTER_ROLE.name,
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def api_service(version: str, installation: Installation, ca_bundle: bytes, owners: list[Manifest]) -> Manifest:
    return {
        "apiVersion": API_SERVICE.api_version,
        "kind": API_SERVICE.name,
        "metadata": {
            "name": api_service_name(version),
            "labels": {names.LABEL_MANAGED_BY: names.PRODUCT, names.LABEL_COMPONENT: "metrics-adapter"},
            **({"ownerReferences": owners} if owners else {}),
        },
        "spec": {
            "group": GROUP,
            "version": version,
            "groupPriorityMinimum": _GROUP_PRIORITY,
            "versionPriority": _VERSION_PRIORITIES[version],
            "caBundle": base64.b64encode(ca_bundle).decode(),
            "service": {"namespace": installation.namespace, "name": installation.service, "port": SERVICE_PORT},
        },
    }


def is_ours(live: Manifest, installation: Installation) -> bool:
    """Whether it routes to this installation's Service. A label alone says nothing: anybody may copy it."""
    service = live.get("spec", {}).get("service") or {}
    return (service.get("namespace"), service.get("name")) == (installation.namespace, installation.service)


def changed(live: Manifest, wanted: Manifest) -> Manifest | None:
    """The live object with what we set put right; None if nothing differs. It keeps its resourceVersion as a guard."""
    metadata = live["metadata"]
    labels = {**(metadata.get("labels") or {}), **wanted["metadata"]["labels"]}
    others = [each for each in metadata.get("ownerReferences") or [] if each.get("kind") != "ClusterRole"]
    owners = [*others, *wanted["metadata"].get("ownerReferences", [])] or metadata.get("ownerReferences") or []
    new: dict[str, Any] = {
        **live,
        "metadata": {**metadata, "labels": labels, **({"ownerReferences": owners} if owners else {})},
        # insecureSkipTLSVerify may not stand beside a caBundle.
        "spec": {
            **{key: value for key, value in live["spec"].items() if key != "insecureSkipTLSVerify"},
            **wanted["spec"],
        },
    }
    return None if new == live else new
