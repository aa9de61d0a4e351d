"""The Services: the one that clients talk to, one that shows what is to come, and a gateway's for the slots.

`port` is the name of the pods' port.
"""

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import metadata
from penstock.kinds import SERVICE, Manifest


def active(
    owner: InferenceService,
    slot: names.Slot | None,
    *,
    port: str,
    annotations: dict[str, str],
    is_redirected: bool = False,
) -> Manifest:
    """Select the slot that serves, or both with None, and remember what a wiped status would forget.

    One that is redirected selects no pods: its endpoints are the routers.
    """
    if is_redirected:
        annotations = {**annotations, names.ANNOTATION_REDIRECTED: "true"}
    selector = metadata.selector(owner.metadata.name, slot) | ({names.LABEL_SLOT: "asleep"} if is_redirected else {})
    return _service(owner, owner.metadata.name, selector, port, annotations)


def preview(owner: InferenceService, slot: names.Slot, *, port: str) -> Manifest:
    """Select the slot where the newest revision is; it stays there when that slot takes over."""
    return _service(owner, names.preview(owner.metadata.name), metadata.selector(owner.metadata.name, slot), port, {})


def of_slot(owner: InferenceService, slot: names.Slot, *, port: str) -> Manifest:
    """Select one slot, for as long as there is a gateway that may share requests between the two."""
    name = owner.metadata.name
    return _service(owner, names.slot_service(name, slot), metadata.selector(name, slot), port, {})


def _service(
    owner: InferenceService, name: str, selector: dict[str, str], port: str, annotations: dict[str, str]
) -> Manifest:
    ports = [{"name": names.PORT, "port": names.SERVICE_PORT, "targetPort": port, "protocol": "TCP"}]
    spec = {"selector": selector, "ports": ports}
    return metadata.child(owner, SERVICE, name, {"spec": spec}, annotations=annotations)
