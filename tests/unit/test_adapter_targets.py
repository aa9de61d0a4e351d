from typing import Any

import pytest
from penstock.adapter.targets import Targets
from penstock.kinds import INFERENCE_SERVICE, POD, Manifest
from penstock.pod_metrics import PodMetrics
from penstock.watch.store import Key, ObjectId

CHAT = Key("ml", "chat")


def service(version: int = 1, **predictor: Any) -> Manifest:
    fields = {"minReplicas": 1, "maxReplicas": 4, "scaleMetric": "rps", "model": {"storageUri": "pvc://m"}, **predictor}
    metadata = {"name": "chat", "namespace": "ml", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"predictor": fields}}


def pod(
    name: str = "chat-0", version: int = 1, *, ready: bool = True, ip: str = "10.0.0.1", **metadata: Any
) -> Manifest:
    return {
        "metadata": {
            "name": name,
            "namespace": "ml",
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
            "labels": {"serving.penstock.dev/inferenceservice": "chat"},
            **metadata,
        },
        "spec": {"containers": [{"name": "model", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def names(targets: Targets) -> list[str]:
    return sorted(each.name for each in targets.pods(CHAT))


def test_a_service_that_scales_on_requests_is_known_with_its_ready_pods() -> None:
    targets = Targets()
    assert targets.put(INFERENCE_SERVICE, service()) == {CHAT}
    assert targets.put(POD, pod()) == {CHAT}
    assert targets.metrics(CHAT) == PodMetrics()
    assert names(targets) == ["chat-0"]
    assert targets.numbers == (1, 1)


@pytest.mark.parametrize(
    "predictor",
    [
        {"scaleMetric": "cpu", "model": {"storageUri": "pvc://m", "resources": {"requests": {"cpu": "1"}}}},
        {"maxReplicas": 1},
        {"maxReplicas": None},
        {"model": "nonsense"},
        {"scaleMetric": ["rps"]},
    ],
)
def test_a_service_that_does_not_is_none_of_ours(predictor: dict[str, Any]) -> None:
    targets = Targets()
    targets.put(INFERENCE_SERVICE, service())
    targets.put(INFERENCE_SERVICE, service(2, **predictor))
    assert targets.metrics(CHAT) is None
    assert list(targets.services("ml")) == []


@pytest.mark.parametrize(
    "other",
    [
        pod(version=2, ready=False),
        pod(version=2, ip=""),
        pod(version=2, deletionTimestamp="2026-01-01T00:00:00Z"),
        pod(version=2, labels={}),
    ],
    ids=["unready", "without an address", "ending", "of nobody"],
)
def test_a_pod_that_cannot_serve_is_not_asked(other: Manifest) -> None:
    targets = Targets()
    targets.put(POD, pod())
    assert targets.put(POD, other) == {CHAT}
    assert names(targets) == []


def test_a_service_or_a_pod_that_cannot_be_read_ends_nothing() -> None:
    """A field of any shape may be nested deeper than Python follows."""
    nested: Any = {}
    for _ in range(3000):
        nested = {"a": nested}
    targets = Targets()
    spec = {**service()["spec"], "autoscaling": {"behavior": nested}}
    assert targets.put(INFERENCE_SERVICE, {**service(), "spec": spec}) == {CHAT}
    assert targets.metrics(CHAT) is None
    assert targets.put(POD, {**pod(), "spec": {}}) == set()


def test_what_comes_late_changes_nothing() -> None:
    targets = Targets()
    targets.put(POD, pod(version=5))
    assert targets.put(POD, pod(version=4, ready=False)) == set()
    assert targets.drop(ObjectId("Pod", "ml", "chat-0"), version=4) == set()
    assert names(targets) == ["chat-0"]


def test_a_list_drops_what_it_does_not_have_but_nothing_newer() -> None:
    targets = Targets()
    for name, version in (("chat-0", 1), ("chat-1", 2), ("chat-2", 9)):
        targets.put(POD, pod(name, version))
    assert targets.retain(POD, None, [ObjectId("Pod", "ml", "chat-1")], version=5) == {CHAT}
    assert names(targets) == ["chat-1", "chat-2"]


def test_a_list_of_another_namespace_drops_nothing() -> None:
    targets = Targets()
    targets.put(POD, pod())
    targets.retain(POD, "other", [], version=9)
    assert names(targets) == ["chat-0"]


def test_a_deleted_service_is_forgotten_and_its_pods_count_no_more() -> None:
    targets = Targets()
    targets.put(INFERENCE_SERVICE, service())
    targets.put(POD, pod())
    assert targets.drop(ObjectId(INFERENCE_SERVICE.name, "ml", "chat"), version=2) == {CHAT}
    assert targets.metrics(CHAT) is None
    assert targets.numbers == (0, 0)
