"""How many pods a service is to have. Pure: the autoscaler's number, the user's, and the bounds of the spec."""

from dataclasses import dataclass

from penstock.api.v1alpha1 import InferenceService
from penstock.names import Reason


@dataclass(frozen=True, slots=True)
class Scale:
    """`replicas` is what the active slot gets; `seed` is written to `/scale` once, when an autoscaler lacks a start."""

    replicas: int
    seed: int | None = None
    off: Reason | None = None  # why there are to be no pods at all


def scale(service: InferenceService, serving: int) -> Scale:
    """Map `spec.replicas` onto pods; `serving` is how many serve now (0 if none do yet)."""
    spec, predictor = service.spec, service.spec.predictor
    if spec.suspend:
        return Scale(0, off=Reason.SUSPENDED)
    if spec.replicas == 0:
        return Scale(0, off=Reason.SCALED_TO_ZERO_BY_USER)
    if not predictor.autoscales:
        # The last number of an autoscaler that was turned off stays in the spec: it must not keep the service below.
        return Scale(max(spec.replicas or 0, predictor.min_replicas))
    # While the field is absent, GET /scale fails and an HPA never starts: it needs a first number from us.
    start = spec.replicas or serving or predictor.min_replicas
    replicas = min(max(start, predictor.min_replicas, 1), predictor.replica_limit)
    return Scale(replicas, seed=replicas if spec.replicas is None else None)
