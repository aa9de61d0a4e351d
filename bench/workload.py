"""What is created: services for the operator, and the same children without one."""

from typing import Any, Final

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import pod
from penstock.desired.children import ServicePlan, children
from penstock.desired.history import Stored
from penstock.kinds import AUTOSCALER, CONTROLLER_REVISION, DEPLOYMENT, Manifest
from penstock.slot_plan import SlotPlan

from tests.harness.kwok import TAINT

SERVER_IMAGE: Final = "penstock-server:bench"  # kwok pulls nothing.
RELEASE: Final = "RELEASE"  # the environment variable whose change is a new revision


def inference_service(name: str, namespace: str, *, pods: int = 1, rollout: dict[str, Any] | None = None) -> Manifest:
    """A service of `pods` pods that an HPA may double, on kwok's nodes."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            # As the Deployments beside it are updated; bench/rollouts.py has two slots.
            "rollout": rollout or {"strategy": "RollingUpdate"},
            "predictor": {
                "minReplicas": pods,
                "maxReplicas": 2 * pods,
                "scaleMetric": "rps",
                "tolerations": [{"key": TAINT["key"], "operator": "Exists"}],
                "model": {
                    "storageUri": "s3://models/smollm2",
                    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
                },
            },
        },
    }


def release(value: str) -> dict[str, Any]:
    """The merge patch that makes a new revision of a service."""
    return {"spec": {"predictor": {"model": {"env": [{"name": RELEASE, "value": value}]}}}}


def has_release(service: Manifest, value: str) -> bool:
    return bool(service["spec"]["predictor"]["model"].get("env") == [{"name": RELEASE, "value": value}])


def without_operator(name: str, namespace: str, *, value: str | None = None) -> list[Manifest]:
    """The Deployment, Service and HPA that the operator would write, owned by nobody; `value` is the release."""
    manifest = inference_service(name, namespace)
    if value is not None:
        manifest["spec"]["predictor"]["model"]["env"] = [{"name": RELEASE, "value": value}]
    service = InferenceService.model_validate(manifest)
    template = pod.template(service, "0", server_image=SERVER_IMAGE)
    stored = {"0": Stored(1, template)}
    blue = names.Slot.BLUE
    plan = ServicePlan(active=blue, slots={blue: SlotPlan("0", 1, "RollingUpdate")}, stored=stored)
    wanted = [child for child in children(service, plan) if child["kind"] != CONTROLLER_REVISION.name]
    for child in wanted:
        del child["metadata"]["ownerReferences"]
        if child["kind"] == AUTOSCALER.name:
            target = {"apiVersion": DEPLOYMENT.api_version, "kind": DEPLOYMENT.name}
            child["spec"]["scaleTargetRef"] = {**target, "name": names.deployment(name, blue)}
    return wanted


def second_slot(name: str, namespace: str) -> Manifest:
    """The Deployment of the next release beside the first one, owned by nobody."""
    found = next(o for o in without_operator(name, namespace, value="2") if o["kind"] == DEPLOYMENT.name)
    found["metadata"]["name"] = names.deployment(name, names.Slot.GREEN)
    for labels in (found["spec"]["selector"]["matchLabels"], found["spec"]["template"]["metadata"]["labels"]):
        labels[names.LABEL_SLOT] = names.Slot.GREEN.value
    return found
