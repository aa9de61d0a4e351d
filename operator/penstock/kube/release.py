"""What a release tells the others on its Lease, and which of them must not act beside it.

docs/decisions/0011-one-release-for-each-namespace.md says why it is told there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

from penstock import names

Lease = dict[str, Any]  # the JSON of a coordination.k8s.io/v1 Lease

_LABELS: Final = {names.LABEL_PART_OF: names.PRODUCT, names.LABEL_COMPONENT: "operator"}
SELECTOR: Final = ",".join(f"{name}={value}" for name, value in _LABELS.items())
_EVERYWHERE: Final = "*"


@dataclass(frozen=True, slots=True)
class Release:
    """One installation: its Lease, its ServiceAccount in the same namespace, and the namespaces that it serves."""

    namespace: str
    lease: str
    service_account: str = ""
    serves: frozenset[str] = frozenset()  # none means all

    def __str__(self) -> str:
        return f"{self.namespace}/{self.lease}"

    @classmethod
    def of(cls, lease: Lease) -> Self:
        """The release that wrote the lease, in its own words: only what the API server allows it shows them true."""
        metadata = lease["metadata"]
        annotations = metadata.get("annotations") or {}
        listed = annotations.get(names.ANNOTATION_SERVES, _EVERYWHERE)
        serves = frozenset() if listed == _EVERYWHERE else frozenset(listed.split(","))
        account = annotations.get(names.ANNOTATION_SERVICE_ACCOUNT, "")
        return cls(metadata["namespace"], metadata["name"], account, serves)

    def marked(self, lease: Lease) -> Lease:
        """The lease with what the other releases read in it."""
        metadata = lease["metadata"]
        annotations = {
            names.ANNOTATION_SERVES: ",".join(sorted(self.serves)) or _EVERYWHERE,
            names.ANNOTATION_SERVICE_ACCOUNT: self.service_account,
        }
        labels = {**(metadata.get("labels") or {}), **_LABELS}
        annotations = {**(metadata.get("annotations") or {}), **annotations}
        return {**lease, "metadata": {**metadata, "labels": labels, "annotations": annotations}}

    def shared_with(self, other: "Release") -> list[str]:
        """The namespaces that both serve; an empty name stands for all of them."""
        if not self.serves or not other.serves:
            return sorted(self.serves | other.serves) or [""]
        return sorted(self.serves & other.serves)

    def refusal(self, other: "Release") -> str:
        """Why this one does not act while the other one does, and how to mend it."""
        return (
            f"the release {other} serves {_listed(other.serves)}, this one serves {_listed(self.serves)}, and only one "
            "may act in a namespace: uninstall one of them, or set their watchNamespaces so that they share none"
        )


def _listed(namespaces: Iterable[str]) -> str:
    return ", ".join(sorted(namespaces)) or "all namespaces"
