"""`spec.predictor.metrics`: what pods that run another server than ours call the things that autoscaling asks about."""

from typing import Annotated, Literal

from pydantic import Field

from penstock.api.schema import Model

Preset = Literal["vLLM", "SGLang", "TGI", "Triton", "TEI"]
SeriesName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]


class PodMetricsSpec(Model):
    """Where the pods' Prometheus exposition is, and its names. Without a preset, the names of Penstock's own server."""

    preset: Preset | None = Field(
        default=None, description="A server whose names are known. The fields below win over it, one by one."
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of the exposition. Default: the one that serves; 8002 for Triton.",
    )
    path: str | None = Field(
        default=None, max_length=1024, pattern=r"^/[!-~]*$", description="Path of the exposition. Default: /metrics."
    )
    requests: SeriesName | None = Field(
        default=None, description="The counter of finished requests, which scaleMetric rps is the rate of."
    )
    in_flight: SeriesName | None = Field(
        default=None, description="The gauge of requests under way, waiting ones included: scaleMetric concurrency."
    )
    queue_depth: SeriesName | None = Field(
        default=None, description="The gauge of requests that wait: scaleMetric queueDepth."
    )
