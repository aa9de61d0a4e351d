"""Scaling on requests per second after one `helm install`, without Prometheus: the adapter, the HPA, pods."""

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e import sharing, specs
from tests.e2e.service import POLL_SECONDS, Isvc, eventually
from tests.e2e.traffic import Traffic
from tests.harness.cluster import Cluster, KubectlError
from tests.harness.release import NAMESPACE, Penstock

ADAPTER = "deployment/penstock-metrics-adapter"
# Back as soon as the load is gone, so that a test need not wait two minutes for it.
QUICK_DOWN = {
    "scaleDown": {"stabilizationWindowSeconds": 10, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 5}]}
}
BY_RATE: dict[str, Any] = {"scaleMetric": "rps", "scaleTarget": 10, "metrics": {"requests": "hits_total"}}


def wanted(service: Isvc) -> int:
    return int(service.object()["spec"].get("replicas", 0))


def per_pod(service: Isvc) -> float:
    return float(service.status()["autoscaling"].get("current", "inf"))


def numbers(service: Isvc, *, seconds: float) -> list[int]:
    """Every number of pods that is wanted in that time."""
    until, found = time.monotonic() + seconds, []
    while time.monotonic() < until:
        found.append(wanted(service))
        time.sleep(POLL_SECONDS)
    return found


@sharing.models
def test_a_step_in_load_brings_a_model_four_pods_and_takes_them_back_without_a_failed_request(
    service: Callable[[str], Isvc], model_secret: str
) -> None:
    busy = service("rate")
    spec = specs.model(
        "s3://models/sentiment", model_secret, minReplicas=1, maxReplicas=4, scaleMetric="rps", scaleTarget=5
    )
    busy.apply({**spec, "autoscaling": {"behavior": QUICK_DOWN}})
    eventually(busy.is_ready, busy, within=180)
    # Without a single request the metric is there already: 0 per second.
    eventually(lambda: busy.condition("AutoscalingActive")[0] == "True", busy, within=60)
    url, body = f"{busy.url()}/predict", {"texts": ["I would buy it again."]}
    with Traffic(url, body, clients=0, fresh=1, pause_seconds=0.5) as trickle:
        with Traffic(url, body, clients=0, fresh=8, pause_seconds=0.15) as load:
            began = time.monotonic()
            first = eventually(lambda: wanted(busy) > 1, busy, within=60)
            eventually(lambda: busy.status().get("readyReplicas") == 4, busy, within=180)
        rate = load.answered / (time.monotonic() - began)
        print(f"\n{rate:.1f} requests per second, aim 5 per pod: more pods wanted after {first:.1f} s")
        autoscaling = busy.status()["autoscaling"]
        assert (autoscaling["metric"], autoscaling["target"], autoscaling["desired"]) == ("rps", 5, 4)
        back = eventually(lambda: wanted(busy) == 1, busy, within=120)
        eventually(lambda: len(busy.pods()) == 1, busy, within=60)
        print(f"one pod wanted {back:.1f} s after the load ended")
    assert load.failures == []
    assert trickle.failures == []


def test_a_rate_that_wavers_by_a_tenth_moves_no_pod(service: Callable[[str], Isvc], penstock: Penstock) -> None:
    steady = service("steady")
    steady.apply(
        {**specs.own_server(penstock.operator_image, **BY_RATE, maxReplicas=6), "autoscaling": {"behavior": QUICK_DOWN}}
    )
    eventually(steady.is_ready, steady, within=60)
    # 22 a second, and 5 more that come and go: three pods at either end, as the aim is 10.
    seen: list[int] = []
    with Traffic(steady.url(), {}, clients=0, fresh=9, pause_seconds=0.4) as load:
        eventually(lambda: steady.status().get("readyReplicas") == 3, steady, within=120)
        eventually(lambda: per_pod(steady) < 10, steady, within=60)  # no pod's rate is the one of fewer pods any more
        began, before = time.monotonic(), load.answered
        for _ in range(4):
            with Traffic(steady.url(), {}, clients=0, fresh=2, pause_seconds=0.4) as more:
                seen += numbers(steady, seconds=5)
            seen += numbers(steady, seconds=5)
        rate = (load.answered - before) / (time.monotonic() - began)
    print(f"\n{rate:.1f} requests per second, and 5 more half of the time: {sorted(set(seen))} pods wanted")
    assert set(seen) == {3}
    assert [*load.failures, *more.failures] == []


def test_pods_come_for_a_step_in_load_while_a_blue_green_rollout_waits_at_its_gate_and_after_it(
    service: Callable[[str], Isvc], penstock: Penstock
) -> None:
    moving = service("moving")

    def version(number: str) -> specs.Spec:
        spec = specs.own_server(penstock.operator_image, version=number, **BY_RATE, maxReplicas=4)
        rollout = specs.blue_green(hold=5, autoPromote=False)
        return {**spec, "rollout": rollout, "autoscaling": {"behavior": QUICK_DOWN}}

    moving.apply(version("1"))
    eventually(moving.is_rolled_out, moving, within=60)
    eventually(lambda: moving.condition("AutoscalingActive")[0] == "True", moving, within=60)
    moving.apply(version("2"))
    moving.wait_for_phase("Waiting", within=90)
    with Traffic(moving.url(), {}, clients=0, fresh=8, pause_seconds=0.2) as load:
        up = eventually(lambda: wanted(moving) > 1, moving, within=60)
        eventually(lambda: moving.status().get("readyReplicas", 0) >= 3, moving, within=90)
        assert moving.rollout()["phase"] == "Waiting"
        moving.act("promote")
        eventually(moving.is_rolled_out, moving, within=120)
        assert {answer.version for answer in load.answers[-5:]} == {"2"}
        assert len(moving.pods()) >= 3
        print(f"\nmore pods wanted {up:.1f} s after the step, at the gate; {wanted(moving)} at the end")
    assert load.failures == []


def test_the_adapter_answers_the_api_server_and_nobody_else(cluster: Cluster, penstock: Penstock) -> None:
    del penstock
    path = "/apis/custom.metrics.k8s.io/v1beta2"
    listed = json.loads(cluster.kubectl("get", "--raw", path))
    assert "pods/inference_requests_per_second" in {each["name"] for each in listed["resources"]}
    address = cluster.kubectl(
        "get", "service", "penstock-metrics-adapter", f"--namespace={NAMESPACE}", "--output=jsonpath={.spec.clusterIP}"
    )
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    headers = {"X-Remote-User": "system:admin", "X-Remote-Group": "system:masters"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"https://{address}{path}", headers=headers), context=context)
    with refused.value as answer:
        assert answer.code == 401


def test_a_user_without_the_right_reads_no_metric(cluster: Cluster, namespace: str, penstock: Penstock) -> None:
    del penstock
    path = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}/pods/*/inference_requests_per_second"
    assert json.loads(cluster.kubectl("get", "--raw", path))["items"] == []
    with pytest.raises(KubectlError, match="orbidden"):
        cluster.kubectl("get", "--raw", path, "--as=jane")


@pytest.mark.alone
def test_the_number_of_pods_stands_still_while_the_adapter_is_away(
    cluster: Cluster, service: Callable[[str], Isvc], penstock: Penstock
) -> None:
    """A server of the user's own, whose counter the service names."""
    own = service("held")
    spec = specs.own_server(
        penstock.operator_image, maxReplicas=3, scaleMetric="rps", scaleTarget=5, metrics={"requests": "hits_total"}
    )
    own.apply({**spec, "autoscaling": {"behavior": QUICK_DOWN}})
    eventually(own.is_ready, own, within=60)
    adapter = (ADAPTER, f"--namespace={NAMESPACE}")
    with Traffic(own.url(), {}, clients=0, fresh=4, pause_seconds=0.2) as traffic:
        eventually(lambda: own.status().get("readyReplicas") == 3, own, within=120)
        cluster.kubectl("scale", *adapter, "--replicas=0")
        try:
            eventually(lambda: own.condition("AutoscalingActive") == ("False", "MetricMissing"), own, within=90)
        finally:
            cluster.kubectl("scale", *adapter, "--replicas=2")
    # Without load it would take the pods back; what it does not know it does not act on.
    assert wanted(own) == 3
    cluster.kubectl("rollout", "status", *adapter, "--timeout=120s")
    eventually(lambda: own.condition("AutoscalingActive")[0] == "True", own, within=60)
    eventually(lambda: wanted(own) == 1, own, within=120)
    assert traffic.failures == []
