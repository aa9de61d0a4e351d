"""`status.autoscaling`: what the autoscaler sees and wants, and what keeps it from having its way. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from penstock import quantity
from penstock.api.status import AutoscalingStatus, LimitedBy
from penstock.names import Reason
from penstock.observed.values import SeenAutoscaler
from penstock.status.conditions import Facts

# A smaller move of the metric is not worth a write: a thousand services would write a thousand times in 15 seconds.
_WORTH_TELLING: Final = Decimal("0.1")


# By the HorizontalPodAutoscaler's own reasons.
_BOUNDS: Final[Mapping[str, LimitedBy]] = {"TooManyReplicas": "maxReplicas", "TooFewReplicas": "minReplicas"}


def autoscaling(facts: Facts) -> AutoscalingStatus | None:
    """None at a fixed size that never is zero."""
    seen = facts.seen
    predictor = seen.service.spec.predictor
    if not predictor.autoscales and facts.sleep is None:
        return None
    scaler = seen.autoscaler
    old = seen.service.status.autoscaling
    target = predictor.effective_scale_target
    return AutoscalingStatus(
        metric=predictor.scale_metric,
        current=_current(scaler.current if scaler else None, old.current if old else None, target),
        target=target,
        desired=scaler.desired if scaler else None,
        ready=sum(deployment.ready for deployment in facts.deployments),
        min_replicas=facts.least.pods if seen.service.spec.autoscaling.schedules else None,
        limited_by=_limited_by(facts, scaler),
        last_scale_time=scaler.last_scale_time if scaler else None,
        sleep=facts.sleep.status if facts.sleep else None,
    )


def _current(now: str | None, before: str | None, target: int) -> str | None:
    """The metric as a plain decimal; the one already reported while it has hardly moved."""
    if now is None:
        return None
    amount = quantity.parse(now)
    if before is not None and abs(amount - Decimal(before)) < _WORTH_TELLING * target:
        return before
    return f"{amount.quantize(Decimal('0.1')).normalize():f}"


def _limited_by(facts: Facts, scaler: SeenAutoscaler | None) -> LimitedBy | None:
    conditions = scaler.conditions if scaler else {}
    if conditions.get("ScalingActive", ("",))[0] == "False" and facts.scale.off is None:
        return "MetricMissing"
    reasons = {cause.reason for cause in facts.causes}
    if Reason.INSUFFICIENT_GPU in reasons:
        return "InsufficientGPU"
    if Reason.QUOTA_EXCEEDED in reasons:
        return "QuotaExceeded"
    limited = conditions.get("ScalingLimited", ("", "", ""))
    return _BOUNDS.get(limited[1]) if limited[0] == "True" else None
