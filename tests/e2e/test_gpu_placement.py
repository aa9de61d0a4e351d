"""GPUs on a node that really has two of them to give, as far as Kubernetes can tell."""

import json
import time
from collections.abc import Callable

from tests.e2e import sharing, specs
from tests.e2e.service import Isvc, eventually
from tests.harness.release import Penstock

pytestmark = sharing.gpus

TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


def test_two_gpu_services_run_and_a_third_says_what_it_lacks(
    service: Callable[[str], Isvc], penstock: Penstock
) -> None:
    first, second, third = (service(name) for name in ("first", "second", "third"))
    spec = specs.own_server(penstock.operator_image, gpus=1)
    for each in (first, second):
        each.apply(spec)
    for each in (first, second):
        eventually(each.is_ready, each, within=60)
    (pod,) = first.pods()
    assert TOLERATION in pod["spec"]["tolerations"]
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["spec"]["containers"][0]["resources"]["requests"]["nvidia.com/gpu"] == "1"

    applied = time.monotonic()
    third.apply(spec)
    eventually(lambda: "InsufficientGPU" in third.blockers(), third, within=5)
    print(f"InsufficientGPU after {time.monotonic() - applied:.1f} s")
    assert "needs 1 nvidia.com/gpu; 0 of 2 free on 1 matching node" in third.blockers()["InsufficientGPU"]
    assert third.condition("Ready") == ("False", "InsufficientGPU")

    second.kubectl("delete", "isvc", second.name)
    eventually(third.is_ready, third, within=60)
    assert third.blockers() == {}


def test_a_service_without_gpus_tolerates_no_gpu_node(service: Callable[[str], Isvc], penstock: Penstock) -> None:
    plain = service("plain")
    plain.apply(specs.own_server(penstock.operator_image))
    eventually(plain.is_ready, plain, within=60)
    assert "nvidia.com/gpu" not in json.dumps(plain.pods()[0]["spec"]["tolerations"])
