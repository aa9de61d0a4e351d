"""The settings of `penstock router`."""

import socket
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from penstock.environment import NAME, ProcessSettings, split


class Settings(ProcessSettings):
    """Everything that can be set for `penstock router`."""

    namespaces: Annotated[tuple[Annotated[str, Field(pattern=NAME)], ...], BeforeValidator(split)] = Field(
        default=(), description="Namespaces whose services' requests are held, separated by commas; none means all."
    )
    first_port: int = Field(
        default=20000, ge=1024, le=65535, description="First of the ports that services may be given."
    )
    last_port: int = Field(default=27999, ge=1024, le=65535, description="Last of them.")
    max_held_requests: int = Field(
        default=10000, ge=1, description="Requests that are held at once, of all services together."
    )
    replicas: int = Field(
        default=2, ge=1, description="Routers that share the requests which a pod admits at once, this one included."
    )
    pod_name: str = Field(
        default_factory=socket.gethostname, max_length=253, description="What it calls itself in its answers."
    )
    drain_seconds: float = Field(
        default=10,
        ge=0,
        le=3600,
        description="Seconds after SIGTERM in which new connections are accepted, while the endpoints follow.",
    )
    grace_seconds: float = Field(
        default=130,
        ge=0,
        le=86400,
        description="Seconds after those in which requests that are held or under way may end.",
    )
    metrics_port: int = Field(default=8080, ge=1, le=65535, description="Port of /healthz, /readyz and /metrics.")

    @model_validator(mode="after")
    def _has_ports(self) -> Self:
        if self.last_port < self.first_port:
            raise ValueError("PENSTOCK_LAST_PORT (--last-port) must not be below PENSTOCK_FIRST_PORT (--first-port)")
        if self.first_port <= self.metrics_port <= self.last_port:
            raise ValueError("PENSTOCK_METRICS_PORT (--metrics-port) must not be one of the services' ports")
        return self

    @property
    def ports(self) -> range:
        return range(self.first_port, self.last_port + 1)
