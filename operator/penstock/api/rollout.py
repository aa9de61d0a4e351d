"""`spec.rollout`, `spec.disruption` and `predictor.deploymentStrategy`: how running pods are replaced."""

from typing import Literal

from pydantic import ConfigDict, Field

from penstock.api.schema import CountOrPercent, Model, rule, rules

Strategy = Literal["RollingUpdate", "Recreate"]


class Rollout(Model):
    """How a new revision replaces the one that serves."""

    strategy: Strategy | None = Field(
        default=None,
        description=(
            "RollingUpdate replaces pods a few at a time, each new one ready before the next old one goes; Recreate "
            "stops all old pods before it starts new ones (needs no spare capacity, but interrupts the service). "
            "Default: predictor.deploymentStrategy.type if that is set, else RollingUpdate."
        ),
    )
    progress_deadline_seconds: int = Field(
        default=1800,
        ge=1,
        description=(
            "Seconds that a new revision may go without progress before it counts as failed and the stable revision "
            "is restored. A new available pod is progress, and so is a model that is still downloading or loading. "
            "Time spent paused does not count."
        ),
    )
    revision_history_limit: int = Field(
        default=5, ge=1, le=100, description="How many old revisions are kept as ControllerRevisions, to go back to."
    )


class RollingUpdate(Model):
    """The pace of a rolling update, as in a Deployment."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(string(self.maxSurge) in ['0', '0%'] && string(self.maxUnavailable) in ['0', '0%'])",
                "maxUnavailable may not be 0 when maxSurge is 0: no pod could ever be replaced",
                path=".maxUnavailable",
            )
        )
    )

    max_surge: CountOrPercent = Field(
        default="25%",
        description="Pods above the wanted number that may exist during the update: a count, or a share rounded up.",
    )
    max_unavailable: CountOrPercent = Field(
        default="25%",
        description="Pods that may be missing during the update: a count, or a share (such as 25%) rounded down.",
    )


class DeploymentStrategy(Model):
    """The strategy of the Deployment underneath, in the words of apps/v1."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(has(self.type) && self.type == 'Recreate' && has(self.rollingUpdate))",
                "rollingUpdate may not be set when type is Recreate",
                path=".rollingUpdate",
                reason="FieldValueForbidden",
            )
        )
    )

    type: Strategy | None = Field(
        default=None, description="RollingUpdate or Recreate; must agree with spec.rollout.strategy if both are set."
    )
    rolling_update: RollingUpdate = Field(
        default_factory=RollingUpdate, description="The pace of a rolling update, as in a Deployment."
    )


class Disruption(Model):
    """How many pods voluntary disruptions, such as a node drain, may take away."""

    max_unavailable: CountOrPercent = Field(
        default=1,
        description=(
            "Pods that evictions may have down at the same time: a count, or a share such as 25%. It becomes the "
            "service's PodDisruptionBudget, which exists while two or more pods are wanted."
        ),
    )
