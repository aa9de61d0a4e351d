"""What whoever installs Penstock decides for all services, and which services' wishes that leaves out."""

from collections.abc import Iterator
from dataclasses import dataclass

from penstock.api.networking import Gateway
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import scaled_object
from penstock.desired.validation import FieldError


@dataclass(frozen=True, slots=True)
class Installation:
    """`server_image` is what model pods run unless the spec says otherwise; a bound that is empty bounds nothing."""

    server_image: str
    fixed_users: bool = True  # model pods run as the server's own user, not as one that the cluster assigns
    gateways: frozenset[str] = frozenset()  # that routes may be attached to, as NAMESPACE/NAME
    host_suffixes: tuple[str, ...] = ()  # that hosts of routes must have
    routers: int = 0  # that there are to be; 0: none is installed, and nothing sleeps
    router_ports: tuple[int, int] = (20000, 27999)  # the first and the last
    prometheus_address: str = ""  # that KEDA asks where the spec names none


def forbidden_routes(service: InferenceService, installation: Installation) -> list[FieldError]:
    """What the service asks of the Gateway API and the installation does not allow."""
    gateway = service.spec.gateway
    if gateway is None:
        return []
    return [
        *_forbidden_gateways(gateway, service.metadata.namespace, installation.gateways),
        *_forbidden_hosts(gateway, installation.host_suffixes),
    ]


def missing_prometheus(service: InferenceService, installation: Installation) -> list[FieldError]:
    """KEDA is to ask a Prometheus, and nobody has said which."""
    keda = service.spec.autoscaling.keda
    if not scaled_object.needs_prometheus(service) or (keda and keda.server_address) or installation.prometheus_address:
        return []
    why = (
        "KEDA needs the address of a Prometheus: set it here, or for all services by the operator's "
        "--prometheus-address (settings.prometheusAddress of the chart)"
    )
    return [FieldError("spec.autoscaling.keda.serverAddress", why)]


def _forbidden_gateways(gateway: Gateway, namespace: str, allowed: frozenset[str]) -> Iterator[FieldError]:
    for number, ref in enumerate(gateway.parent_refs):
        name = f"{ref.namespace or namespace}/{ref.name}"
        if allowed and name not in allowed:
            yield FieldError(
                f"spec.networking.gateway.parentRefs[{number}]",
                f"the Gateway {name} is not allowed here; name one of {', '.join(sorted(allowed))}",
            )


def _forbidden_hosts(gateway: Gateway, suffixes: tuple[str, ...]) -> Iterator[FieldError]:
    if not suffixes:
        return
    listed = ", ".join(suffixes)
    if not gateway.hostnames:
        # Without a host the route takes the requests for all hosts of the listener.
        yield FieldError("spec.networking.gateway.hostnames", f"is required here; name a host under one of {listed}")
    for number, host in enumerate(gateway.hostnames):
        if not any(host == suffix or host.endswith(f".{suffix}") for suffix in suffixes):
            yield FieldError(
                f"spec.networking.gateway.hostnames[{number}]",
                f"{host} is not allowed here; name a host under one of {listed}",
            )
