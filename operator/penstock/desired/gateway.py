"""What the Gateway API needs: the HTTPRoute, and for each slot a Service that it can name.

At rest the route selects the active Service, so that a switch of its selector is one for everybody. Only while both
revisions serve does it name the slots.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock import names
from penstock.api.networking import Gateway
from penstock.api.rollout import AbTest
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import metadata
from penstock.kinds import HTTP_ROUTE, Manifest
from penstock.names import Slot


@dataclass(frozen=True, slots=True)
class Routes:
    """Where requests that come through a gateway go, other than to the active Service."""

    shares: Mapping[Slot, int] = field(default_factory=dict)  # percent by slot, of those that nothing marks
    variant: Slot | None = None  # gets those that an A/B test marks


def http_route(owner: InferenceService, gateway: Gateway, routes: Routes) -> Manifest:
    """Lead the requests for the gateway's hosts to the service."""
    name, test = owner.metadata.name, owner.spec.rollout.ab_test
    shared = [_backend(names.slot_service(name, slot), share) for slot, share in sorted(routes.shares.items())]
    rules = [_rule(owner, shared or [_backend(name)])]
    if test is not None and routes.variant is not None:
        rules.insert(0, _rule(owner, [_backend(names.slot_service(name, routes.variant))], marked_by(test)))
    spec = {
        "parentRefs": [ref.to_dict() for ref in gateway.parent_refs],
        "hostnames": list(gateway.hostnames),  # always: an apply without them would leave other managers' in place
        "rules": rules,
    }
    return metadata.child(owner, HTTP_ROUTE, name, {"spec": spec})


def marked_by(test: AbTest) -> Manifest:
    """The match for requests of arm B. Raises ValueError if nothing marks them, which the CRD's rules refuse."""
    if test.header is not None:
        return {"headers": [{"type": "Exact", "name": test.header.name, "value": test.header.value}]}
    if test.cookie is None:
        raise ValueError("spec.rollout.abTest has neither header nor cookie")
    # The Gateway API matches no cookies, but headers as a whole, by what is RE2 in the gateways that we know of.
    cookie = f"{re.escape(test.cookie.name)}={re.escape(test.cookie.value)}"
    return {"headers": [{"type": "RegularExpression", "name": "Cookie", "value": rf"^(?:.*;\s*)?{cookie}(?:;.*)?$"}]}


def _rule(owner: InferenceService, backends: list[Manifest], match: Manifest | None = None) -> Manifest:
    return {
        "matches": [match or {"path": {"type": "PathPrefix", "value": "/"}}],
        "backendRefs": backends,
        # A gateway's own limit, often 15 seconds, is none that a model could keep.
        "timeouts": {"request": f"{_longest(owner)}s"},
    }


def _longest(owner: InferenceService) -> int:
    """Seconds that an answer may take; one that is held for a sleeping service comes later by those."""
    sleep = owner.spec.scale_to_zero
    return owner.spec.predictor.timeout + (sleep.wake_timeout_seconds if sleep is not None else 0)


def _backend(service: str, weight: int = 1) -> Manifest:
    return {"name": service, "port": names.SERVICE_PORT, "weight": weight}
