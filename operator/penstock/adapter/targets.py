"""Whom the adapter may ask: the ready pods of services that scale on what pods count."""

from pydantic import ValidationError

from penstock.api.v1alpha1 import InferenceServiceSpec
from penstock.desired import scraping
from penstock.kinds import Manifest
from penstock.pod_metrics import PodMetrics
from penstock.watch.ready_pods import ReadyPods
from penstock.watch.store import Key


class Targets(ReadyPods[PodMetrics]):
    """Only ready pods: Kubernetes' autoscaler takes an unready pod's sample for a ready one's."""

    def __init__(self) -> None:
        super().__init__(_pod_metrics)

    def metrics(self, key: Key) -> PodMetrics | None:
        """What the service's pods count; None unless it scales on that."""
        return self.service(key)


def _pod_metrics(obj: Manifest) -> PodMetrics | None:
    try:
        return scraping.of_service(InferenceServiceSpec.model_validate(obj["spec"]))
    except ValidationError:
        return None  # The operator says on the service what is wrong with it.
