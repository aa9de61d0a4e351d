"""`spec.autoscaling`: what decides on the number of pods besides `predictor.scaleMetric`, and how fast it changes."""

from typing import Literal

from pydantic import ConfigDict, Field

from penstock.api.pod_metrics import SeriesName
from penstock.api.schema import Fragment, Model, Quantity, rule, rules

SeriesKind = Literal["Rate", "Value"]
Provider = Literal["Auto", "KEDA", "None"]
VerticalMode = Literal["Off", "Initial", "Recreate", "InPlaceOrRecreate"]
ADDRESS = r"^https?://[!-~]+$"  # of a Prometheus


class AutoscalingMetric(Model):
    """A further metric: a series of the pods, a resource, or an object's metric. Exactly one of the three is set."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "[has(self.series), has(self.resource), has(self.object)].filter(each, each).size() == 1",
                "exactly one of series, resource and object is required",
                path=".series",
            ),
            rule(
                "!has(self.series) || has(self.kind)",
                "kind says whether the rate of a counter (Rate) or the value of a gauge (Value) is meant",
                path=".kind",
                reason="FieldValueRequired",
            ),
            rule("has(self.series) || !has(self.kind)", "kind belongs to series", path=".kind"),
            rule(
                "has(self.object) != has(self.target)",
                "series and resource need a target; object holds its own",
                path=".target",
            ),
        )
    )

    series: SeriesName | None = Field(
        default=None, description="Name of a counter or gauge that the pods expose, summed over its labels."
    )
    kind: SeriesKind | None = Field(
        default=None, description="Rate: the increase of a counter per second. Value: that of a gauge."
    )
    resource: Literal["cpu", "memory"] | None = Field(default=None, description="A compute resource of the pods.")
    object: Fragment | None = Field(
        default=None, description="A metric of another object, as in a HorizontalPodAutoscaler."
    )
    target: Quantity | None = Field(
        default=None,
        description="The average per pod to aim at: in the series' unit, or in percent of the resource's request.",
    )


class ScaleToZero(Model):
    """When the service goes to sleep, and how long a request waits until it is awake again."""

    after_seconds: int = Field(
        default=300, ge=1, le=604800, description="Seconds without a request after which the last pods go."
    )
    wake_timeout_seconds: int = Field(
        default=120,
        ge=1,
        le=3600,
        description="Seconds that a request waits for the first pod before it is answered with 503 and the reason.",
    )
    max_held_requests: int = Field(
        default=1000,
        ge=1,
        le=10000,
        description="Requests that each replica of the router holds for the service; more are answered with 503.",
    )


class Schedule(Model):
    """Hours, such as those of an office, in which there are at least so many pods."""

    start: str = Field(
        min_length=1,
        max_length=128,
        description=(
            "Cron expression (minute, hour, day of the month, month, weekday) of the times from which it is in force, "
            "such as 0 8 * * 1-5. Its pods begin to load before that, by as long as the last ones took."
        ),
    )
    end: str = Field(
        min_length=1,
        max_length=128,
        description="Cron expression of the times at which it ends; a start in the same minute wins.",
    )
    timezone: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*$",
        description="Time zone of start and end, by its IANA name such as Europe/Berlin. Default: UTC.",
    )
    min_replicas: int = Field(
        ge=0, description="The least number of pods while it is in force; at most predictor.maxReplicas."
    )

    @property
    def zone(self) -> str:
        """The name of its time zone."""
        return self.timezone or "UTC"


class Keda(Model):
    """Where KEDA finds the metrics."""

    server_address: str | None = Field(
        default=None,
        max_length=1024,
        pattern=ADDRESS,
        description=(
            "URL of the Prometheus that scrapes the pods, such as http://prometheus.monitoring:9090. "
            "Default: the operator's setting prometheusAddress."
        ),
    )


class Amounts(Model):
    """An amount of each resource."""

    cpu: Quantity | None = Field(default=None, description="CPU, such as 500m or 2.")
    memory: Quantity | None = Field(default=None, description="Memory, such as 4Gi.")


class Vertical(Model):
    """What a VerticalPodAutoscaler does with the requests of the serving container."""

    mode: VerticalMode = Field(
        default="Off",
        description=(
            "Off only recommends; Initial sets the requests of new pods; Recreate also replaces pods; "
            "InPlaceOrRecreate resizes them where they run, and replaces them where that cannot be."
        ),
    )
    min_allowed: Amounts | None = Field(default=None, description="The least that is recommended.")
    max_allowed: Amounts | None = Field(default=None, description="The most that is recommended.")


class Autoscaling(Model):
    """Who decides on the number and the size of the pods, by which further metrics, and at which pace."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.keda) || self.provider == 'KEDA'",
                "keda belongs to provider KEDA",
                path=".keda",
                reason="FieldValueForbidden",
            ),
            rule(
                "self.provider != 'KEDA' || !has(self.metrics) || !self.metrics.exists(each, has(each.object))",
                "metrics with an object need provider Auto: KEDA has no trigger for them",
                path=".metrics",
            ),
        )
    )

    provider: Provider = Field(
        default="Auto",
        description=(
            "Who decides on the number of pods. Auto: a HorizontalPodAutoscaler on the metrics API. KEDA: a "
            "ScaledObject that asks Prometheus. None: whoever else writes /scale."
        ),
    )
    keda: Keda | None = Field(default=None, description="Settings of provider KEDA.")
    vertical: Vertical | None = Field(
        default=None,
        description="Have a VerticalPodAutoscaler recommend the pods' requests, and perhaps set them.",
    )
    metrics: list[AutoscalingMetric] = Field(
        default_factory=list, max_length=16, description="Further metrics beside predictor.scaleMetric."
    )
    scale_to_zero: ScaleToZero | None = Field(
        default=None,
        description=(
            "Let the service sleep, without any pod, while nobody asks; a request wakes it and is held meanwhile. "
            "Needs predictor.minReplicas: 0."
        ),
    )
    schedules: list[Schedule] = Field(
        default_factory=list,
        max_length=16,
        description=(
            "Hours with more pods at least than predictor.minReplicas. Of several in force the one with the most "
            "pods counts."
        ),
    )
    behavior: Fragment | None = Field(
        default=None,
        description=(
            "How fast the number of pods changes, as in a HorizontalPodAutoscaler. Default: up at once, by all that "
            "there are or by 4 in 15 seconds, whichever is more; down after 120 seconds."
        ),
    )
