"""serving.penstock.dev/v1alpha1: the InferenceService, the one kind that users write."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field

from penstock.api.autoscaling import Autoscaling, ScaleToZero
from penstock.api.meta import ObjectMeta
from penstock.api.networking import Gateway, Networking
from penstock.api.predictor import Predictor
from penstock.api.rollout import Disruption, Rollout, Strategy
from penstock.api.schema import Model, rule, rules
from penstock.api.status import InferenceServiceStatus


class InferenceServiceSpec(Model):
    """The wanted state of the service."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(has(self.rollout) && has(self.rollout.strategy) && has(self.predictor.deploymentStrategy) && "
                "has(self.predictor.deploymentStrategy.type)) || "
                "self.rollout.strategy == self.predictor.deploymentStrategy.type",
                "rollout.strategy must agree with predictor.deploymentStrategy.type; leave one of them out",
                path=".rollout.strategy",
            ),
            rule(
                "!(has(self.rollout) && has(self.rollout.abTest)) || "
                "(has(self.networking) && has(self.networking.gateway))",
                "rollout.abTest needs networking.gateway, which sends the marked requests to the new revision",
                path=".networking.gateway",
                reason="FieldValueRequired",
            ),
            rule(
                "self.predictor.minReplicas > 0 || (has(self.autoscaling) && has(self.autoscaling.scaleToZero))",
                "minReplicas 0 needs autoscaling.scaleToZero, which says when the last pods go: {} takes its defaults",
                path=".predictor.minReplicas",
            ),
            rule(
                "self.predictor.minReplicas == 0 || !(has(self.autoscaling) && has(self.autoscaling.scaleToZero))",
                "autoscaling.scaleToZero needs predictor.minReplicas: 0",
                path=".autoscaling.scaleToZero",
            ),
            rule(
                "!(has(self.autoscaling) && has(self.autoscaling.vertical)) || self.autoscaling.vertical.mode == 'Off' "
                "|| !(has(self.predictor.maxReplicas) && self.predictor.maxReplicas > 1 && "
                "self.predictor.maxReplicas > self.predictor.minReplicas) || !("
                "self.predictor.scaleMetric in ['cpu', 'memory'] || (has(self.autoscaling.metrics) && "
                "self.autoscaling.metrics.exists(each, has(each.resource))))",
                "two autoscalers would fight over cpu or memory: use vertical.mode Off, or scale on requests",
                path=".autoscaling.vertical.mode",
            ),
            rule(
                "!(has(self.autoscaling) && has(self.autoscaling.schedules)) || self.autoscaling.schedules.all(each, "
                "each.minReplicas <= (has(self.predictor.maxReplicas) ? self.predictor.maxReplicas : "
                "(self.predictor.minReplicas > 1 ? self.predictor.minReplicas : 1)))",
                "the minReplicas of schedules must be at most predictor.maxReplicas; raise maxReplicas",
                path=".autoscaling.schedules",
            ),
        )
    )

    predictor: Predictor = Field(
        description="The model or container to serve, how many pods of it, and how those pods run."
    )
    replicas: int | None = Field(
        default=None,
        ge=0,
        description=(
            "The number of pods now, as autoscalers and kubectl scale set it through /scale; leave it out of files "
            "kept in git. Kept between minReplicas and maxReplicas when autoscaling, and at least at minReplicas "
            "otherwise; 0 stops all pods and autoscaling. "
            "Default: predictor.minReplicas."
        ),
    )
    suspend: bool = Field(
        default=False, description="Stop all pods and keep everything else; false goes on where it was."
    )
    autoscaling: Autoscaling = Field(
        default_factory=Autoscaling, description="What else decides on the number of pods, and how fast it changes."
    )
    rollout: Rollout = Field(default_factory=Rollout, description="How a new revision replaces the one that serves.")
    networking: Networking = Field(
        default_factory=Networking, description="How requests reach the service from outside the cluster."
    )
    disruption: Disruption = Field(
        default_factory=Disruption,
        description="How many pods voluntary disruptions, such as a node drain, may take away.",
    )

    @property
    def strategy(self) -> Strategy:
        """How a new revision replaces the old one: `rollout.strategy`, else the Deployment's word for it."""
        return self.rollout.strategy or self.predictor.deployment_strategy.type or "Auto"

    @property
    def scale_to_zero(self) -> ScaleToZero | None:
        """When the service sleeps, if it ever does."""
        return self.autoscaling.scale_to_zero

    @property
    def gateway(self) -> Gateway | None:
        """The Gateways that requests come through, if any."""
        return self.networking.gateway


class InferenceService(Model):
    """A model served behind one URL: pods, a Service, autoscaling and safe updates."""

    metadata: ObjectMeta
    spec: InferenceServiceSpec
    status: InferenceServiceStatus = Field(default_factory=InferenceServiceStatus)

    @property
    def served_model_name(self) -> str:
        """The model's name in requests: `predictor.model.name`, else the service's own."""
        model = self.spec.predictor.model
        return (model and model.name) or self.metadata.name


def parse(obj: Mapping[str, Any]) -> InferenceService:
    """One object as the API server returned it; raises pydantic's ValidationError naming the field that is wrong."""
    return InferenceService.model_validate(obj)
