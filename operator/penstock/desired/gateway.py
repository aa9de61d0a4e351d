"""What the Gateway API needs: the HTTPRoute, and for each slot a Service that it can name.

At rest the route leads to the active Service, so that a switch of its selector is one for everybody. Only while both
revisions serve does it name the slots.
"""

from collections.abc import Mapping

from penstock import names
from penstock.api.networking import Gateway
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import metadata
from penstock.kinds import HTTP_ROUTE, Manifest
from penstock.names import Slot


def http_route(owner: InferenceService, gateway: Gateway, shares: Mapping[Slot, int]) -> Manifest:
    """Lead the requests for the gateway's hosts to the active Service, or share them by percent between the slots."""
    name = owner.metadata.name
    backends = [_backend(names.slot_service(name, slot), share) for slot, share in sorted(shares.items())]
    spec = {
        "parentRefs": [ref.to_dict() for ref in gateway.parent_refs],
        **({"hostnames": list(gateway.hostnames)} if gateway.hostnames else {}),
        "rules": [_rule(owner, backends or [_backend(name)])],
    }
    return metadata.child(owner, HTTP_ROUTE, name, {"spec": spec})


def _rule(owner: InferenceService, backends: list[Manifest]) -> Manifest:
    # A gateway's own limit, often 15 seconds, is none that a model could keep.
    return {"backendRefs": backends, "timeouts": {"request": f"{owner.spec.predictor.timeout}s"}}


def _backend(service: str, weight: int = 1) -> Manifest:
    return {"name": service, "port": names.SERVICE_PORT, "weight": weight}
