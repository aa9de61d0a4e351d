"""Nothing changed: nothing is written, nothing is logged, and nobody's fields change hands."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from penstock.kinds import EVENT, INFERENCE_SERVICE

from tests.control_plane.audit import Audit, Request
from tests.control_plane.objects import Manifest, Objects, assert_condition, image
from tests.control_plane.operator_process import Operator
from tests.control_plane.waiting import eventually, throughout
from tests.harness.cluster import Cluster

PASSES = 100


@dataclass(frozen=True)
class Observed:
    """A service before and after a hundred passes over it, and what the operator did meanwhile."""

    before: Manifest
    after: Manifest
    writes: list[Request]
    log: list[dict[str, Any]]


def stable(objects: Objects, name: str) -> Manifest:
    found = objects.service(name)
    assert_condition(found, "Ready", "True")
    assert_condition(found, "Progressing", "False", "Stable")
    assert_condition(found, "Stalled", "False")
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    return found


def writes(audit: Audit, operator: Operator) -> list[Request]:
    asked = audit.requests(operator.installation.user)
    return [request for request in asked if request.is_write and request.resource != "leases"]


def assert_scaled(objects: Objects, name: str, replicas: int) -> None:
    status = stable(objects, name)["status"]
    assert status["replicas"] == status["readyReplicas"] == replicas
    assert_condition(objects.service(name), "AutoscalingActive", "False", "MetricMissing")


@pytest.fixture(scope="module")
def hundred_passes(objects: Objects, module_operator: Operator, control_plane: Cluster) -> Observed:
    """A service whose number an autoscaler owns, touched a hundred times from outside, a pass each time."""
    objects.serve("quiet", replicas=1, maxReplicas=5, scaleMetric="concurrency")
    eventually(lambda: stable(objects, "quiet"))
    scaler = Objects(objects.client, objects.namespace, manager="horizontal-pod-autoscaler")
    scaler.patch(INFERENCE_SERVICE, "quiet", {"spec": {"replicas": 3}}, subresource="scale")
    # Until the controllers have looked at the HPA once: their answer is a change.
    eventually(lambda: assert_scaled(objects, "quiet", 3), within=40)
    module_operator.settle()
    assert control_plane.audit_log
    audit, before, told = Audit(control_plane.audit_log), objects.service("quiet"), len(module_operator.told())
    for number in range(PASSES):
        passes = module_operator.passes
        objects.patch(INFERENCE_SERVICE, "quiet", {"metadata": {"annotations": {"example.com/touched": str(number)}}})
        eventually(lambda past=passes: assert_passed(module_operator, past))  # type: ignore[misc]
    log = [json.loads(line) for line in module_operator.told()[told:].splitlines()]
    return Observed(before, objects.service("quiet"), writes(audit, module_operator), log)


def assert_passed(operator: Operator, before: float) -> None:
    assert operator.passes > before


def writes_of_replicas(service: Manifest) -> list[Manifest]:
    """Who wrote it and when, as the API server recorded it."""
    return [
        {key: entry[key] for key in ("manager", "operation", "subresource", "time") if key in entry}
        for entry in service["metadata"]["managedFields"]
        if "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
    ]


def test_a_hundred_passes_leave_replicas_with_the_autoscaler(hundred_passes: Observed) -> None:
    before = writes_of_replicas(hundred_passes.before)
    assert [entry["manager"] for entry in before] == ["horizontal-pod-autoscaler"]
    assert writes_of_replicas(hundred_passes.after) == before
    assert hundred_passes.after["spec"]["replicas"] == 3


def test_a_hundred_passes_write_nothing(hundred_passes: Observed) -> None:
    assert hundred_passes.writes == []
    assert hundred_passes.after["status"] == hundred_passes.before["status"]


def test_a_hundred_passes_log_nothing(hundred_passes: Observed) -> None:
    assert hundred_passes.log == []


@pytest.mark.usefixtures("hundred_passes")
def test_ten_quiet_seconds_bring_nothing_but_the_lease(operator: Operator, audit: Audit) -> None:
    told = operator.told()
    throughout(lambda: None, seconds=10)
    assert writes(audit, operator) == []
    assert {r.resource for r in audit.requests(operator.installation.user) if r.verb != "watch"} <= {"leases"}
    assert operator.told() == told


def events(objects: Objects, name: str) -> Counter[tuple[str, str]]:
    """Type and reason of every Event about the service, one by one."""
    return Counter(
        (found["type"], found["reason"])
        for found in objects.all(EVENT)
        if found["regarding"].get("kind") == INFERENCE_SERVICE.name and found["regarding"].get("name") == name
    )


def test_a_first_deployment_that_works_needs_no_event(objects: Objects, operator: Operator, name: str) -> None:
    objects.serve(name)
    eventually(lambda: stable(objects, name))
    operator.settle()
    assert events(objects, name) == {}


def test_a_rollout_is_told_by_its_begin_and_its_end(objects: Objects, operator: Operator, name: str) -> None:
    objects.serve(name, minReplicas=3)
    eventually(lambda: stable(objects, name))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: stable(objects, name))
    operator.settle()
    assert events(objects, name) == {("Normal", "RolloutStarted"): 1, ("Normal", "RolloutCompleted"): 1}


def test_a_failure_is_told_once_however_many_pods_have_it(objects: Objects, operator: Operator, name: str) -> None:
    objects.serve(name, minReplicas=4, rollout={"progressDeadlineSeconds": 2})
    eventually(lambda: stable(objects, name))
    objects.edit(name, predictor=image("crash-loop"))
    eventually(lambda: assert_condition(objects.service(name), "Stalled", "True", "ProgressDeadlineExceeded"))
    operator.settle()
    assert events(objects, name) == {
        ("Normal", "RolloutStarted"): 1,
        ("Warning", "CrashLooping"): 1,
        ("Warning", "ProgressDeadlineExceeded"): 1,
    }


def test_an_event_says_who_and_what(cluster: Cluster, objects: Objects, name: str) -> None:
    objects.serve(name, affinity={"nodeAffinity": "anywhere"})
    eventually(lambda: assert_told(objects, name, ("Warning", "InvalidSpec")))
    described = cluster.kubectl("describe", f"isvc/{name}", f"--namespace={objects.namespace}")
    assert "InvalidSpec" in described.split("Events:")[1]


def assert_told(objects: Objects, name: str, event: tuple[str, str]) -> None:
    assert event in events(objects, name)
