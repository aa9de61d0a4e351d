"""The Services: the one that clients talk to, one that shows what is to come, and a gateway's for the slots.

`port` is the name of the pods' port.
"""

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import metadata
from penstock.kinds import SERVICE, Manifest


def active(owner: InferenceService, slot: names.Slot | None, *, port: str, annotations: dict[str, str]) -> Manifest:
    """Select the slot that serves, or both with None, and remember what a wiped status would forget."""
    return _service(owner, owner.metadata.name, slot, port, annotations)


def preview(owner: InferenceService, slot: names.Slot, *, port: str) -> Manifest:
    """Select the slot where the newest revision is; it stays there when that slot takes over."""
    return _service(owner, names.preview(owner.metadata.name), slot, port, {})


def of_slot(owner: InferenceService, slot: names.Slot, *, port: str) -> Manifest:
    """Select one slot, for as long as there is a gateway that may share requests between the two."""
    return _service(owner, names.slot_service(owner.metadata.name, slot), slot, port, {})


def _service(
    owner: InferenceService, name: str, slot: names.Slot | None, port: str, annotations: dict[str, str]
) -> Manifest:
    ports = [{"name": names.PORT, "port": names.SERVICE_PORT, "targetPort": port, "protocol": "TCP"}]
    spec = {"selector": metadata.selector(owner.metadata.name, slot), "ports": ports}
    return metadata.child(owner, SERVICE, name, {"spec": spec}, annotations=annotations)
