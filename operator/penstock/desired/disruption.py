"""The PodDisruptionBudget of a service with two or more pods."""

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import metadata
from penstock.kinds import DISRUPTION_BUDGET, Manifest


def is_wanted(service: InferenceService) -> bool:
    """A budget over a single pod would either do nothing or block every node drain."""
    return max(service.spec.replicas or 0, service.spec.predictor.replica_limit) >= 2


def disruption_budget(service: InferenceService, slot: names.Slot) -> Manifest:
    spec = {
        "selector": {"matchLabels": metadata.slot_selector(service.metadata.name, slot)},
        "maxUnavailable": service.spec.disruption.max_unavailable,
        # A pod that is not ready serves nobody: it must not hold up the drain of its node.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return metadata.child(service, DISRUPTION_BUDGET, service.metadata.name, {"spec": spec})
