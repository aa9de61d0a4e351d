"""The operator's settings: each field is its own environment variable, flag, bound and documentation.

`workers` is read from `--workers`, else from `PENSTOCK_WORKERS`, else it is the default.
"""

import argparse
import socket
import uuid
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from penstock import logs
from penstock.desired.installation import Installation
from penstock.kube.leader import LeaseTiming

_IMAGE = r"^[a-z0-9]([a-zA-Z0-9._/:-]*[a-zA-Z0-9])?(@sha256:[0-9a-f]{64})?$"
_HOST = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_GATEWAY = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"
_NAME = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"

PodAccess = Literal["Direct", "ApiServer", "None"]


class SettingsError(Exception):
    """A setting is unusable; the message has one line per setting, naming its variable and its flag."""


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _identity() -> str:
    # The host name for people; the rest because two processes may share a host.
    return f"{socket.gethostname()}_{uuid.uuid4()}"


class Settings(BaseModel):
    """Everything that can be set for `penstock run`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespaces: Annotated[tuple[Annotated[str, Field(pattern=_NAME)], ...], BeforeValidator(_split)] = Field(
        default=(), description="Namespaces to serve, separated by commas; none means all."
    )
    workers: int = Field(default=32, ge=1, le=256, description="Services reconciled at the same time.")
    api_qps: float = Field(default=400, gt=0, description="Writes to the API server per second in the long run.")
    api_burst: int = Field(default=800, ge=1, description="Writes to the API server at once.")
    resync_seconds: float = Field(
        default=600, ge=10, description="How often each kind is listed to find what the watches missed."
    )
    lease_namespace: str = Field(
        default="penstock-system", pattern=_NAME, description="Namespace of the leader election's Lease."
    )
    lease_name: str = Field(default="penstock", pattern=_NAME, description="Name of the leader election's Lease.")
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
    allowed_gateways: Annotated[tuple[Annotated[str, Field(pattern=_GATEWAY)], ...], BeforeValidator(_split)] = Field(
        default=(),
        description="Gateways that routes may be attached to, as NAMESPACE/NAME, separated by commas; none means any.",
    )
    allowed_host_suffixes: Annotated[tuple[Annotated[str, Field(pattern=_HOST)], ...], BeforeValidator(_split)] = Field(
        default=(),
        description="Domains that the hosts of routes must be or be under, separated by commas; none means any.",
    )
    pod_access: PodAccess = Field(
        default="Direct",
        description=(
            "How pods are asked for their progress, the smoke test and their counters: Direct, on their own addresses; "
            "ApiServer, through its pod proxy; None, not at all."
        ),
    )
    metrics_port: int = Field(default=8080, ge=1, le=65535, description="Port of /healthz, /readyz and /metrics.")
    log_level: logs.Level = Field(default="info", description="debug, info, warning or error.")
    log_format: logs.Format = Field(
        default="auto", description="json, console, or auto: console on a terminal, else json."
    )

    @property
    def installation(self) -> Installation:
        return Installation(
            self.server_image, self.fixed_users, frozenset(self.allowed_gateways), self.allowed_host_suffixes
        )

    @property
    def lease_timing(self) -> LeaseTiming:
        return LeaseTiming(self.lease_duration_seconds, self.lease_renew_deadline_seconds, self.lease_retry_seconds)

    @model_validator(mode="after")
    def _lease_times_are_in_order(self) -> Self:
        assert self.lease_timing  # Its own check raises the ValueError.
        return self

    @classmethod
    def from_env(cls, environ: Mapping[str, str], flags: Mapping[str, Any] | None = None) -> Self:
        """Return the settings; flags (None where not given) come before variables. Raises SettingsError.

        An empty variable counts as unset, as charts write them so.
        """
        found = {name: environ[_variable(name)] for name in cls.model_fields if environ.get(_variable(name))}
        given = {name: value for name, value in (flags or {}).items() if name in cls.model_fields and value is not None}
        try:
            return cls.model_validate({**found, **given})
        except ValidationError as error:
            raise SettingsError("\n".join(_complaint(detail) for detail in error.errors())) from None


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add one flag per setting; what they parse to goes into `Settings.from_env(environ, vars(namespace))`."""
    for name, setting in Settings.model_fields.items():
        default = "" if setting.default_factory or setting.default == () else f" (default: {setting.default})"
        text = f"{setting.description}{default} [{_variable(name)}]"
        parser.add_argument(_flag(name), dest=name, metavar="VALUE", help=text.replace("%", "%%"))


def _variable(name: str) -> str:
    return f"PENSTOCK_{name.upper()}"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _complaint(detail: ErrorDetails) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return message
    name = str(detail["loc"][0])
    return f"{_variable(name)} ({_flag(name)}): {message}, not {detail['input']!r}"
