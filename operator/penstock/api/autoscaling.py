"""`spec.autoscaling`: what decides on the number of pods besides `predictor.scaleMetric`, and how fast it changes."""

from typing import Literal

from pydantic import ConfigDict, Field

from penstock.api.pod_metrics import SeriesName
from penstock.api.schema import Fragment, Model, Quantity, rule, rules

SeriesKind = Literal["Rate", "Value"]


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


class Autoscaling(Model):
    """Further metrics, and the pace. The metric that asks for the most pods decides."""

    metrics: list[AutoscalingMetric] = Field(
        default_factory=list, max_length=16, description="Further metrics beside predictor.scaleMetric."
    )
    behavior: Fragment | None = Field(
        default=None,
        description=(
            "How fast the number of pods changes, as in a HorizontalPodAutoscaler. Default: up at once, by all that "
            "there are or by 4 in 15 seconds, whichever is more; down after 120 seconds."
        ),
    )
