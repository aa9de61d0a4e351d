"""GPUs: where pods that ask for them may run, and what is told when there is no room."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from penstock.kinds import DEPLOYMENT, NODE, POD

from tests.control_plane.objects import TOLERATION, Manifest, Objects, assert_condition, blockers
from tests.control_plane.waiting import eventually
from tests.harness import kwok

pytestmark = pytest.mark.usefixtures("operator")

GPU_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
TOLD_SECONDS = 2.0


class Pool:
    """GPU nodes of a test's own, picked by a label."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._name = f"pool-{secrets.token_hex(3)}"
        self._nodes: list[str] = []

    def grow(self, gpus: int) -> None:
        found: dict[str, Any] = kwok.node(f"{self._name}-{len(self._nodes)}", gpus=gpus)
        found["metadata"]["labels"]["pool"] = self._name
        name = self._objects.create(found)["metadata"]["name"]
        self._nodes.append(name)
        eventually(lambda: assert_condition(self._objects.get(NODE, name), "Ready", "True"))

    def drain(self) -> None:
        for node in self._nodes:
            self._objects.delete(NODE, node)

    def serve(self, name: str, gpus: int, *, model: Manifest | None = None, **spec: Any) -> None:
        asking = {"resources": {"limits": {"nvidia.com/gpu": str(gpus)}}, **(model or {})}
        self._objects.serve(name, model=asking, nodeSelector={"pool": self._name}, **spec)


@pytest.fixture
def pool(objects: Objects) -> Iterator[Pool]:
    found = Pool(objects)
    yield found
    found.drain()


def assert_ready(objects: Objects, name: str) -> Manifest:
    found = objects.service(name)
    assert_condition(found, "Ready", "True")
    assert blockers(found) == {}
    return found


def lacking(objects: Objects, name: str) -> str:
    """What the status says about missing GPUs."""
    return blockers(objects.service(name))["InsufficientGPU"]


def unschedulable(objects: Objects, name: str) -> Manifest:
    """The pod that the scheduler has found no node for."""
    for pod in objects.all(POD, f"serving.penstock.dev/inferenceservice={name}"):
        for condition in pod.get("status", {}).get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return pod
    raise LookupError("every pod has a node, or the scheduler has not looked yet")


def test_a_gpu_service_runs_on_a_tainted_gpu_node(objects: Objects, pool: Pool, name: str) -> None:
    pool.grow(2)
    pool.serve(name, 1)
    eventually(lambda: assert_ready(objects, name))
    (pod,) = objects.all(POD, f"serving.penstock.dev/inferenceservice={name}")
    assert GPU_TOLERATION in pod["spec"]["tolerations"]
    assert pod["spec"]["containers"][0]["resources"] == {
        "limits": {"nvidia.com/gpu": "1"},
        "requests": {"nvidia.com/gpu": "1"},
    }
    assert kwok.GPU_TAINT in objects.get(NODE, pod["spec"]["nodeName"])["spec"]["taints"]


def test_a_cpu_service_gets_no_toleration(objects: Objects, name: str) -> None:
    objects.serve(name)
    deployment = eventually(lambda: objects.get(DEPLOYMENT, f"{name}-blue"))
    assert deployment["spec"]["template"]["spec"]["tolerations"] == [TOLERATION]


def test_too_few_gpus_are_told_with_the_arithmetic_until_a_node_comes(objects: Objects, pool: Pool, name: str) -> None:
    pool.grow(2)
    pool.serve(name, 4)
    eventually(lambda: unschedulable(objects, name))
    told = eventually(lambda: lacking(objects, name), within=TOLD_SECONDS)
    assert told.startswith("needs 4 nvidia.com/gpu; 2 of 2 free on 1 matching node")
    assert_condition(objects.service(name), "Ready", "False", "InsufficientGPU")

    pool.grow(4)
    eventually(lambda: scheduled(objects, name))
    eventually(lambda: assert_ready(objects, name), within=TOLD_SECONDS)


def scheduled(objects: Objects, name: str) -> None:
    pods = objects.all(POD, f"serving.penstock.dev/inferenceservice={name}")
    assert pods
    assert all("nodeName" in pod["spec"] for pod in pods)


def test_gpus_that_another_service_gives_back_are_noticed(objects: Objects, pool: Pool, name: str) -> None:
    pool.grow(2)
    pool.serve(f"{name}-a", 2)
    eventually(lambda: assert_ready(objects, f"{name}-a"))
    pool.serve(f"{name}-b", 1)
    eventually(lambda: unschedulable(objects, f"{name}-b"))
    told = eventually(lambda: lacking(objects, f"{name}-b"), within=TOLD_SECONDS)
    assert told.startswith("needs 1 nvidia.com/gpu; 0 of 2 free on 1 matching node")

    objects.edit(f"{name}-a", suspend=True)
    eventually(lambda: scheduled(objects, f"{name}-b"))
    eventually(lambda: assert_ready(objects, f"{name}-b"), within=TOLD_SECONDS)


def test_the_arithmetic_follows_capacity_that_comes_and_does_not_suffice(
    objects: Objects, pool: Pool, name: str
) -> None:
    pool.grow(1)
    pool.serve(name, 4)
    eventually(lambda: lacking(objects, name))
    pool.grow(2)
    eventually(lambda: assert_tells(objects, name, "3 of 3 free on 2 matching nodes"), within=TOLD_SECONDS)


def assert_tells(objects: Objects, name: str, words: str) -> None:
    assert words in lacking(objects, name)


def test_what_serves_stays_ready_while_one_more_pod_finds_no_gpu(objects: Objects, pool: Pool, name: str) -> None:
    pool.grow(1)
    pool.serve(name, 1, minReplicas=2)
    eventually(lambda: lacking(objects, name))
    eventually(lambda: assert_condition(objects.service(name), "Ready", "True"))
