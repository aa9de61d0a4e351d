"""How many pods a service is to have. Pure: the autoscaler's number, the user's, and the bounds of the spec."""

from dataclasses import dataclass

from penstock.api.v1alpha1 import InferenceService
from penstock.names import Condition, Reason


@dataclass(frozen=True, slots=True)
class Scale:
    """`replicas` is what the active slot gets; `seed` is written to `/scale` once, if an autoscaler needs a number."""

    replicas: int
    seed: int | None = None
    off: Reason | None = None  # why there are to be no pods at all


def scale(service: InferenceService, serving: int, *, least: int) -> Scale:
    """Map `spec.replicas` onto pods; `serving` is how many serve now, and `least` how many are to be there at least."""
    spec, predictor = service.spec, service.spec.predictor
    if spec.suspend:
        return Scale(0, off=Reason.SUSPENDED)
    if spec.replicas == 0:
        return Scale(0, off=Reason.SCALED_TO_ZERO_BY_USER)
    if not predictor.autoscales:
        # The last number of an autoscaler that was turned off stays in the spec: it must not keep the service below.
        replicas = max(spec.replicas or 0, least, 1)
        # A vertical one finds the pods by /scale, too. One pod is a number that keeps no service above its minReplicas.
        return Scale(replicas, seed=1 if spec.replicas is None and spec.autoscaling.vertical is not None else None)
    # While the field is absent, GET /scale fails and an HPA never starts: it needs a first number from us.
    start = spec.replicas or serving or least
    if _had_fixed_size(service):
        # No autoscaler has set the number that is there: it would take pods away that serve.
        start = max(start, serving)
    replicas = min(max(start, least, 1), predictor.replica_limit)
    is_less = _had_fixed_size(service) and (spec.replicas or 0) < replicas
    return Scale(replicas, seed=replicas if spec.replicas is None or is_less else None)


def _had_fixed_size(service: InferenceService) -> bool:
    """By what was reported last."""
    found = (each for each in service.status.conditions if each.type == Condition.AUTOSCALING_ACTIVE)
    return any(each.reason == Reason.FIXED_SIZE for each in found)
