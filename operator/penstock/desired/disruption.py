"""The PodDisruptionBudget of a service with two or more pods."""

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import metadata
from penstock.kinds import DISRUPTION_BUDGET, Manifest


def is_wanted(replicas: int) -> bool:
    """From two pods on: one pod's budget would allow its eviction just the same, and cost a thousand writes."""
    return replicas >= 2


def disruption_budget(service: InferenceService, slot: names.Slot | None) -> Manifest:
    """Of the slot that serves, or with None of both."""
    spec = {
        "selector": {"matchLabels": metadata.selector(service.metadata.name, slot)},
        "maxUnavailable": service.spec.disruption.max_unavailable,
        # A pod that is not ready serves nobody: it must not hold up the drain of its node.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return metadata.child(service, DISRUPTION_BUDGET, service.metadata.name, {"spec": spec})
