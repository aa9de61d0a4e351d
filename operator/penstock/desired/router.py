"""The EndpointSlice that leads a service's requests to the routers while it sleeps or wakes."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import metadata
from penstock.kinds import ENDPOINT_SLICE, Manifest

_MANAGER = "penstock.dev"


@dataclass(frozen=True, slots=True)
class Redirection:
    """Where the active Service is to lead.

    `routers` are addresses, none while the Service leads to pods alone; `is_alone`: it selects no pods any more.
    `family` is the Service's: IPv4 or IPv6. No proxy looks at a slice of another one.
    """

    port: int
    family: str
    routers: Sequence[str] = ()
    has_slice: bool = False
    is_alone: bool = False


def endpoint_slice(owner: InferenceService, to: Redirection) -> Manifest:
    """List the routers as endpoints of the active Service."""
    listed = [address for address in to.routers if f"IPv{ipaddress.ip_address(address).version}" == to.family]
    content = {
        "addressType": to.family,
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in listed],
        "ports": [{"name": names.PORT, "port": to.port, "protocol": "TCP"}],
    }
    labels = {"kubernetes.io/service-name": owner.metadata.name, "endpointslice.kubernetes.io/managed-by": _MANAGER}
    return metadata.child(owner, ENDPOINT_SLICE, names.router_slice(owner.metadata.name), content, extra_labels=labels)
