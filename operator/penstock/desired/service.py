"""The Service that clients talk to."""

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import container, metadata, pod
from penstock.kinds import SERVICE, Manifest


def service(owner: InferenceService, slot: names.Slot, *, template: Manifest, annotations: dict[str, str]) -> Manifest:
    """The active Service: it selects the slot that serves, and remembers what a wiped status would forget."""
    port = {
        "name": names.PORT,
        "port": names.SERVICE_PORT,
        "targetPort": container.target_port(pod.serving_container(template)),
        "protocol": "TCP",
    }
    spec = {"selector": metadata.slot_selector(owner.metadata.name, slot), "ports": [port]}
    return metadata.child(owner, SERVICE, owner.metadata.name, {"spec": spec}, annotations=annotations)
