"""Cluster objects as they really look, cut down to what a pass reasons about."""

from datetime import UTC, datetime
from typing import Any

import pytest
from penstock import names
from penstock.kinds import AUTOSCALER, DEPLOYMENT, SERVICE, Manifest
from penstock.observed.parse import autoscaler, deployment, endpoints, pod, project_child
from penstock.observed.values import Ended, Endpoints, SeenAutoscaler, SeenDeployment

from tests.builders import at

STARTED = datetime(2026, 1, 1, 12, tzinfo=UTC)
LABELS = {names.LABEL_SERVICE: "chat", names.LABEL_SLOT: "blue", names.LABEL_REVISION: "abc"}
RUNNING = {"running": {"startedAt": "2026-01-01T12:00:00Z"}}


def a_deployment(status: dict[str, Any] | None = None, **metadata: Any) -> Manifest:
    """As `kubectl get -o json` shows it, a little shortened."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "chat-blue",
            "namespace": "ml",
            "uid": "u",
            "resourceVersion": "812",
            "generation": 4,
            "creationTimestamp": "2026-01-01T11:00:00Z",
            "labels": LABELS,
            "annotations": {"deployment.kubernetes.io/revision": "2"},
            "managedFields": [{"manager": "penstock"}],
            **metadata,
        },
        "spec": {"replicas": 3, "template": {"metadata": {"labels": LABELS}, "spec": {}}},
        "status": {"observedGeneration": 4} if status is None else status,
    }


def a_pod(*containers: dict[str, Any], phase: str = "Running", **rest: Any) -> Manifest:
    return {
        "metadata": {"name": "chat-blue-x", "namespace": "ml", "labels": LABELS, **rest.pop("metadata", {})},
        "spec": {"containers": [{"name": "model"}, {"name": "sidecar"}]},
        "status": {"phase": phase, "podIP": "10.0.0.7", "containerStatuses": list(containers), **rest},
    }


def a_container(name: str = "model", **status: Any) -> dict[str, Any]:
    return {"name": name, "ready": False, "restartCount": 0, "state": {}, "lastState": {}, **status}


class TestDeployments:
    def test_the_counts_are_read(self) -> None:
        status = {
            "observedGeneration": 4,
            "replicas": 4,
            "updatedReplicas": 2,
            "readyReplicas": 3,
            "availableReplicas": 3,
        }
        seen = deployment(project_child(DEPLOYMENT, a_deployment(status)))
        assert seen == SeenDeployment("abc", 3, 4, 2, 3, 3, is_observed=True, name="chat-blue")

    def test_zeros_are_left_out_by_the_api_server(self) -> None:
        seen = deployment(project_child(DEPLOYMENT, a_deployment({})))
        assert (seen.replicas, seen.updated, seen.available, seen.is_observed) == (0, 0, 0, False)

    def test_a_status_of_an_older_generation_is_not_about_this_spec(self) -> None:
        assert not deployment(project_child(DEPLOYMENT, a_deployment({"observedGeneration": 3}))).is_observed

    @pytest.mark.parametrize(("status", "failure"), [("True", "exceeded quota"), ("False", None)])
    def test_pods_that_cannot_be_created_are_told_by_a_condition(self, status: str, failure: str | None) -> None:
        condition = {"type": "ReplicaFailure", "status": status, "reason": "FailedCreate", "message": "exceeded quota"}
        seen = deployment(project_child(DEPLOYMENT, a_deployment({"conditions": [condition]})))
        assert seen.creation_failure == failure

    @pytest.mark.parametrize(
        ("updated", "available", "replicas", "certain"),
        [(1, 3, 3, 1), (1, 2, 3, 0), (2, 2, 2, 2), (0, 2, 2, 0), (3, 2, 3, 2), (1, 0, 3, 0)],
    )
    def test_how_many_available_pods_can_only_be_new(
        self, updated: int, available: int, replicas: int, certain: int
    ) -> None:
        seen = SeenDeployment("abc", 3, replicas, updated, available=available)
        assert seen.available_of_revision == certain


class TestProjection:
    def test_the_store_keeps_what_we_set_and_what_we_read(self) -> None:
        conditions = [{"type": "Available", "status": "True", "lastUpdateTime": "now", "reason": "r", "message": "m"}]
        kept = project_child(
            DEPLOYMENT, a_deployment({"observedGeneration": 4, "collisionCount": 1, "conditions": conditions})
        )
        assert set(kept) == {"metadata", "spec", "status"}
        assert "managedFields" not in kept["metadata"]
        assert "resourceVersion" not in kept["metadata"]
        assert kept["status"]["conditions"] == [{"type": "Available", "status": "True", "reason": "r", "message": "m"}]
        assert "collisionCount" not in kept["status"]

    def test_a_status_that_nobody_reads_is_not_kept(self) -> None:
        found = project_child(SERVICE, {"metadata": {"name": "chat"}, "spec": {}, "status": {"loadBalancer": {}}})
        assert found == {"metadata": {"name": "chat"}, "spec": {}}


class TestPods:
    def test_one_that_serves(self) -> None:
        container = a_container(ready=True, started=True, state=RUNNING, restartCount=2)
        seen = pod(a_pod(container, conditions=[{"type": "Ready", "status": "True"}]))
        assert (seen.name, seen.slot, seen.revision, seen.ip) == ("chat-blue-x", "blue", "abc", "10.0.0.7")
        assert (seen.is_ready, seen.is_started, seen.running_since, seen.restarts) == (True, True, STARTED, 2)
        assert (seen.waiting, seen.ended, seen.unschedulable, seen.is_loading) == (None, None, None, False)

    def test_one_whose_model_is_loading(self) -> None:
        assert pod(a_pod(a_container(started=False, state=RUNNING))).is_loading

    def test_a_sidecar_that_runs_does_not_make_the_model_run(self) -> None:
        seen = pod(a_pod(a_container("sidecar", started=True, ready=True, state=RUNNING), a_container()))
        assert (seen.is_started, seen.running_since) == (False, None)

    def test_one_that_has_just_been_created_has_no_status_at_all(self) -> None:
        seen = pod({"metadata": {"name": "x", "namespace": "ml"}, "spec": {"containers": [{"name": "model"}]}})
        assert (seen.is_ready, seen.is_leaving, seen.slot) == (False, False, "")

    @pytest.mark.parametrize(
        "leaving",
        [{"metadata": {"deletionTimestamp": "2026-01-01T12:00:00Z"}}, {"phase": "Failed"}, {"phase": "Succeeded"}],
    )
    def test_one_that_is_leaving(self, leaving: dict[str, Any]) -> None:
        assert pod(a_pod(**leaving)).is_leaving

    @pytest.mark.parametrize(
        ("condition", "words"),
        [
            ({"status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}, "0/1 nodes"),
            ({"status": "False", "reason": "SchedulingGated", "message": "gated"}, None),
            ({"status": "True"}, None),
        ],
    )
    def test_the_schedulers_words(self, condition: dict[str, str], words: str | None) -> None:
        assert pod(a_pod(conditions=[{"type": "PodScheduled", **condition}])).unschedulable == words

    @pytest.mark.parametrize("started", [True, False])
    def test_since_when_one_that_was_up_is_not_ready(self, started: bool) -> None:
        condition = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T12:00:07Z"}
        seen = pod(a_pod(a_container(started=started, state=RUNNING), conditions=[condition]))
        assert seen.unready_since == (at(7) if started else None)

    def test_since_when_one_finds_no_node(self) -> None:
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        seen = pod(a_pod(conditions=[{**condition, "lastTransitionTime": "2026-01-01T12:00:07Z"}]))
        assert seen.unready_since == at(7)

    @pytest.mark.parametrize(
        ("reason", "waiting"),
        [
            ("ImagePullBackOff", ("ImagePullBackOff", "no such image")),
            ("ContainerCreating", None),
            ("PodInitializing", None),
        ],
    )
    def test_waiting_is_told_when_it_is_trouble(self, reason: str, waiting: tuple[str, str] | None) -> None:
        state = {"waiting": {"reason": reason, "message": "no such image"}}
        assert pod(a_pod(a_container(state=state))).waiting == waiting

    def test_an_init_containers_trouble_is_the_pods(self) -> None:
        init = a_container("fetch", state={"waiting": {"reason": "ErrImagePull", "message": "denied"}})
        assert pod(a_pod(a_container(), initContainerStatuses=[init])).waiting == ("ErrImagePull", "denied")


class TestEnds:
    """How a container ended, as long as it is not ready again."""

    def terminated(self, code: int, reason: str = "Error") -> dict[str, Any]:
        ended = {"exitCode": code, "reason": reason, "message": "bye", "finishedAt": "2026-01-01T12:00:00Z"}
        return {"terminated": ended}

    @pytest.mark.parametrize(
        ("container", "ended"),
        [
            pytest.param({"state": "crash"}, Ended("Error", 3, "bye", STARTED), id="it has just crashed"),
            pytest.param(
                {"state": "backoff", "lastState": "crash"},
                Ended("Error", 3, "bye", STARTED),
                id="it waits",
            ),
            pytest.param({"state": "run", "lastState": "crash"}, Ended("Error", 3, "bye", STARTED), id="it runs again"),
            pytest.param({"state": "run", "lastState": "crash", "ready": True}, None, id="it has recovered"),
            pytest.param({"state": "run", "lastState": "clean"}, None, id="it was restarted after a clean exit"),
            pytest.param(
                {"state": "backoff", "lastState": "clean"},
                Ended("Completed", 0, "bye", STARTED),
                id="it exits cleanly again and again",
            ),
            pytest.param({"state": "oom"}, Ended("OOMKilled", 0, "bye", STARTED), id="the kernel ended it"),
        ],
    )
    def test_the_last_bad_end(self, container: dict[str, Any], ended: Ended | None) -> None:
        states: dict[str, Any] = {
            "crash": self.terminated(3),
            "clean": self.terminated(0, "Completed"),
            "oom": self.terminated(0, "OOMKilled"),
            "run": RUNNING,
            "backoff": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        }
        status: dict[str, Any] = {
            key: states.get(value, value) if isinstance(value, str) else value for key, value in container.items()
        }
        assert pod(a_pod(a_container(**status))).ended == ended

    def test_an_init_container_that_is_done_has_not_failed(self) -> None:
        init = a_container("fetch", ready=True, state=self.terminated(0, "Completed"))
        assert pod(a_pod(a_container(state=RUNNING), initContainerStatuses=[init])).ended is None


class TestAutoscalers:
    def test_as_it_looks_when_it_scales(self) -> None:
        words = {"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound", "message": "m"}
        current = {"averageUtilization": 43, "averageValue": "43m"}
        status = {
            "currentReplicas": 1,
            "desiredReplicas": 2,
            "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": current}}],
            "lastScaleTime": "2026-01-01T12:00:00Z",
            "conditions": [words | {"lastTransitionTime": "t"}],
        }
        child = project_child(AUTOSCALER, {"metadata": {"name": "chat"}, "spec": {}, "status": status})
        assert autoscaler(child) == SeenAutoscaler(
            2, "43", STARTED, {"ScalingActive": ("True", "ValidMetricFound", "m")}
        )

    def test_as_it_looks_before_it_has_acted(self) -> None:
        child = project_child(AUTOSCALER, {"metadata": {"name": "chat"}, "spec": {}, "status": {"desiredReplicas": 0}})
        assert autoscaler(child) == SeenAutoscaler(None, None, None)

    @pytest.mark.parametrize(
        ("metric", "current"),
        [
            ({"type": "Pods", "pods": {"current": {"averageValue": "1500m"}}}, "1500m"),
            ({"type": "Resource", "resource": {"current": {"averageUtilization": 0}}}, "0"),
            ({"type": ""}, None),
        ],
    )
    def test_the_metric_in_whatever_form_it_comes(self, metric: dict[str, Any], current: str | None) -> None:
        child = {"metadata": {"name": "chat"}, "spec": {}, "status": {"currentMetrics": [metric]}}
        assert autoscaler(child).current == current


def test_endpoints_are_told_by_the_names_of_their_pods() -> None:
    slice_ = {
        "endpoints": [
            {"conditions": {"ready": True, "serving": True}, "targetRef": {"kind": "Pod", "name": "a"}},
            {"conditions": {"ready": False, "serving": True, "terminating": True}, "targetRef": {"name": "b"}},
            {"conditions": {"ready": True}},
            {"targetRef": {"name": "c"}},
        ]
    }
    # One that is terminating still drains, but gets nothing new; one that says nothing of itself may.
    assert endpoints(slice_) == Endpoints(ready=frozenset({"a"}), lasting=frozenset({"a", "c"}))
    assert endpoints({"endpoints": None}) == Endpoints()
