"""Scaling on CPU and memory from end to end: metrics-server, the HPA on our own /scale, pods."""

from collections.abc import Callable

import pytest

from tests.e2e import sharing, specs
from tests.e2e.service import Isvc, eventually
from tests.e2e.traffic import Traffic
from tests.harness.release import Penstock

pytestmark = pytest.mark.usefixtures("resource_metrics_api")


@sharing.models
def test_a_busy_service_gets_more_pods_and_says_so(service: Callable[[str], Isvc], model_secret: str) -> None:
    busy = service("busy")
    spec = specs.model(
        "s3://models/sentiment", model_secret, minReplicas=1, maxReplicas=2, scaleMetric="cpu", scaleTarget=50
    )
    busy.apply(spec)
    eventually(busy.is_ready, busy, within=180)
    eventually(lambda: busy.condition("AutoscalingActive")[0] == "True", busy, within=120)
    text = "I love it, and I would buy it again. " * 8
    with Traffic(f"{busy.url()}/predict", {"texts": [text] * 8}, clients=4, pause_seconds=0.0) as traffic:
        eventually(lambda: busy.object()["spec"].get("replicas") == 2, busy, within=120)
        eventually(lambda: busy.status().get("readyReplicas") == 2, busy, within=120)
    assert traffic.failures == []
    autoscaling = busy.status()["autoscaling"]
    assert (autoscaling["metric"], autoscaling["target"], autoscaling["desired"]) == ("cpu", 50, 2)
    assert autoscaling["limitedBy"] in ("maxReplicas", None)
    managers = busy.kubectl(
        "get", "isvc", busy.name, "--show-managed-fields", "--output=jsonpath={.metadata.managedFields[*].manager}"
    )
    assert "penstock-seed" not in managers.split()


def test_a_service_that_fills_its_memory_gets_more_pods(service: Callable[[str], Isvc], penstock: Penstock) -> None:
    full = service("full")
    # An interpreter alone takes more than a tenth of what the container asks for.
    full.apply(
        specs.own_server(penstock.operator_image, minReplicas=1, maxReplicas=2, scaleMetric="memory", scaleTarget=10)
    )
    eventually(lambda: full.object()["spec"].get("replicas") == 2, full, within=120)
    eventually(lambda: full.status().get("readyReplicas") == 2, full, within=60)
    autoscaling = full.status()["autoscaling"]
    assert (autoscaling["metric"], autoscaling["target"], autoscaling["desired"]) == ("memory", 10, 2)
    assert full.condition("AutoscalingActive")[0] == "True"
