"""The settings of `penstock metrics-adapter`."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from penstock.environment import NAME, ProcessSettings, split


class Settings(ProcessSettings):
    """Everything that can be set for `penstock metrics-adapter`."""

    namespaces: Annotated[tuple[Annotated[str, Field(pattern=NAME)], ...], BeforeValidator(split)] = Field(
        default=(), description="Namespaces whose services' metrics are served, separated by commas; none means all."
    )
    service_namespace: str = Field(
        default="penstock-system", pattern=NAME, description="Namespace of the adapter's own Service and Secret."
    )
    service_name: str = Field(
        default="penstock-metrics-adapter",
        pattern=NAME,
        description="The adapter's own Service, which the API server sends the questions to.",
    )
    secret_name: str = Field(
        default="penstock-metrics-adapter-tls",
        pattern=NAME,
        description="Secret in which the adapter keeps the certificates that it issues itself.",
    )
    owner_cluster_role: str = Field(
        default="",
        max_length=253,
        description="ClusterRole that owns the APIServices, so that they go when it is deleted; none: they stay.",
    )
    port: int = Field(default=8443, ge=1, le=65535, description="Port of the metrics API, over TLS.")
    metrics_port: int = Field(default=8080, ge=1, le=65535, description="Port of /healthz, /readyz and /metrics.")
