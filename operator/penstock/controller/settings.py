"""The settings of `penstock run`."""

import socket
import uuid
from importlib.metadata import version
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from penstock.api.autoscaling import ADDRESS
from penstock.desired.installation import Installation
from penstock.environment import NAME, ProcessSettings, split
from penstock.kube.leader import LeaseTiming

_IMAGE = r"^[a-z0-9]([a-zA-Z0-9._/:-]*[a-zA-Z0-9])?(@sha256:[0-9a-f]{64})?$"
_HOST = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_GATEWAY = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"

PodAccess = Literal["Direct", "ApiServer", "None"]


def _identity() -> str:
    # The host name for people; the rest because two processes may share a host.
    return f"{socket.gethostname()}_{uuid.uuid4()}"


class Settings(ProcessSettings):
    """Everything that can be set for `penstock run`."""

    namespaces: Annotated[tuple[Annotated[str, Field(pattern=NAME)], ...], BeforeValidator(split)] = Field(
        default=(), description="Namespaces to serve, separated by commas; none means all."
    )
    workers: int = Field(default=32, ge=1, le=256, description="Services reconciled at the same time.")
    api_qps: float = Field(default=400, gt=0, description="Writes to the API server per second in the long run.")
    api_burst: int = Field(default=800, ge=1, description="Writes to the API server at once.")
    resync_seconds: float = Field(
        default=600, ge=10, description="How often each kind is listed to find what the watches missed."
    )
    lease_namespace: str = Field(
        default="penstock-system", pattern=NAME, description="Namespace of the leader election's Lease."
    )
    lease_name: str = Field(default="penstock", pattern=NAME, description="Name of the leader election's Lease.")
    lease_identity: str = Field(
        default_factory=_identity,
        min_length=1,
        max_length=253,
        description="This replica's name in the Lease, unique among those alive; by default the host name and a UUID.",
    )
    lease_duration_seconds: int = Field(
        default=15, ge=3, description="After how long without renewal another replica takes over."
    )
    lease_renew_deadline_seconds: float = Field(
        default=10, gt=0, description="After how long without renewal the leader itself stops."
    )
    lease_retry_seconds: float = Field(default=2, gt=0, description="Time between attempts to take or renew the Lease.")
    service_account: str = Field(
        default="penstock",
        min_length=1,
        max_length=253,
        description="ServiceAccount of this operator in the Lease's namespace; other releases ask what it may write.",
    )
    pod_name: str = Field(
        default_factory=socket.gethostname,
        min_length=1,
        max_length=253,
        description="This operator's pod, for Events about it; by default the host name.",
    )
    pod_uid: str = Field(default="", max_length=128, description="Its UID, by which kubectl describe finds them.")
    server_image: str = Field(
        default=f"penstock-server:{version('penstock')}",
        pattern=_IMAGE,
        description="Image of the model server, by tag or by digest.",
    )
    fixed_users: bool = Field(
        default=True,
        description="Run model pods as the server's own user, 10001; false leaves it to the cluster (OpenShift).",
    )
    allowed_gateways: Annotated[tuple[Annotated[str, Field(pattern=_GATEWAY)], ...], BeforeValidator(split)] = Field(
        default=(),
        description="Gateways that routes may be attached to, as NAMESPACE/NAME, separated by commas; none means any.",
    )
    allowed_host_suffixes: Annotated[tuple[Annotated[str, Field(pattern=_HOST)], ...], BeforeValidator(split)] = Field(
        default=(),
        description="Domains that the hosts of routes must be or be under, separated by commas; none means any.",
    )
    prometheus_address: str = Field(
        default="",
        pattern=f"^$|{ADDRESS}",
        description="URL of the Prometheus that KEDA asks, for services that do not name one; none by default.",
    )
    pod_access: PodAccess = Field(
        default="Direct",
        description=(
            "How pods are asked for their progress, the smoke test and their counters: Direct, on their own addresses; "
            "ApiServer, through its pod proxy; None, not at all."
        ),
    )
    router_service: str = Field(
        default="",
        pattern=f"{NAME}|^$",
        description="Service whose endpoints are the routers; none: no router is installed, and no service sleeps.",
    )
    router_namespace: str = Field(default="penstock-system", pattern=NAME, description="Namespace of that Service.")
    router_replicas: int = Field(default=2, ge=1, description="Routers that there are to be.")
    router_first_port: int = Field(
        default=20000, ge=1024, le=65535, description="First port of the routers; each service that may sleep gets one."
    )
    router_last_port: int = Field(default=27999, ge=1024, le=65535, description="Last port of the routers.")
    metrics_port: int = Field(default=8080, ge=1, le=65535, description="Port of /healthz, /readyz and /metrics.")

    @property
    def installation(self) -> Installation:
        return Installation(
            self.server_image,
            self.fixed_users,
            frozenset(self.allowed_gateways),
            self.allowed_host_suffixes,
            self.router_replicas if self.router_service else 0,
            (self.router_first_port, self.router_last_port),
            self.prometheus_address,
        )

    @property
    def lease_timing(self) -> LeaseTiming:
        return LeaseTiming(self.lease_duration_seconds, self.lease_renew_deadline_seconds, self.lease_retry_seconds)

    @model_validator(mode="after")
    def _ports_are_in_order(self) -> Self:
        if self.router_first_port > self.router_last_port:
            raise ValueError(
                f"PENSTOCK_ROUTER_FIRST_PORT ({self.router_first_port}) must not be above "
                f"PENSTOCK_ROUTER_LAST_PORT ({self.router_last_port})"
            )
        return self

    @model_validator(mode="after")
    def _lease_times_are_in_order(self) -> Self:
        assert self.lease_timing  # Its own check raises the ValueError.
        return self
