"""`spec.networking`: how requests reach the service from outside the cluster."""

from typing import Annotated

from pydantic import Field

from penstock.api.schema import Model

Hostname = Annotated[
    str,
    Field(max_length=253, pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"),
]


class ParentRef(Model):
    """The Gateway that takes the route, as in an HTTPRoute."""

    name: str = Field(min_length=1, max_length=253, description="Name of the Gateway.")
    namespace: str | None = Field(
        default=None, min_length=1, max_length=63, description="Its namespace. Default: the service's own."
    )
    section_name: str | None = Field(
        default=None, min_length=1, max_length=253, description="Name of its listener. Default: all that allow it."
    )
    port: int | None = Field(
        default=None, ge=1, le=65535, description="Port of its listener. Default: all that allow it."
    )


class Gateway(Model):
    """An HTTPRoute of the service's own name, and a Service for each slot that it can share the requests between."""

    parent_refs: list[ParentRef] = Field(
        min_length=1,
        max_length=32,
        description="The Gateways that take the route; their listeners must allow routes from this namespace.",
    )
    hostnames: list[Hostname] = Field(
        default_factory=list,
        max_length=16,
        description="Host names whose requests are meant. Default: those of the Gateway's listener, or any.",
    )


class Networking(Model):
    """How requests reach the service from outside the cluster."""

    gateway: Gateway | None = Field(
        default=None,
        description=(
            "Requests through the Gateway API: a canary's shares are then exact, and A/B tests are possible. Needs the "
            "Gateway API's definitions and an implementation in the cluster. Default: none."
        ),
    )
