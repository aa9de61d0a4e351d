"""Cluster objects as they really look, cut down to what a pass reasons about."""

from collections.abc import Mapping
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
        container = a_container(ready=True, started=True, state=RUNNING)
        seen = pod(a_pod(container, conditions=[{"type": "Ready", "status": "True"}]))
        assert (seen.name, seen.slot, seen.revision, seen.ip) == ("chat-blue-x", "blue", "abc", "10.0.0.7")
        assert (seen.is_ready, seen.is_started, seen.running_since) == (True, True, STARTED)
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


def a_meshed_pod(
    *containers: dict[str, Any],
    first: str = "istio-proxy",
    model: str = "model",
    annotations: dict[str, str] | None = None,
    **rest: Any,
) -> Manifest:
    """As a webhook makes it whose container is to be up before all others: Istio's and Linkerd's both stand first."""
    found = a_pod(*containers, **rest)
    found["spec"]["containers"] = [
        {"name": first, "ports": [{"containerPort": 15090, "name": "http-envoy-prom"}]},
        {"name": model, "ports": [{"containerPort": 8080, "name": "http"}]},
    ]
    if annotations:
        found["metadata"]["annotations"] = annotations
    return found


class TestSidecars:
    CRASHED: Mapping[str, Any] = {"terminated": {"exitCode": 3, "reason": "Error", "message": "no config"}}
    BACKOFF: Mapping[str, Any] = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    NAMED: Mapping[str, str] = {"kubectl.kubernetes.io/default-container": "vllm"}

    @pytest.mark.parametrize(
        ("model", "annotations"),
        [
            pytest.param("model", None, id="our server"),
            pytest.param("vllm", NAMED, id="a custom container, which the template names"),
            pytest.param("vllm", None, id="a custom container of an older template, which has the port"),
            pytest.param(
                "model",
                {"kubectl.kubernetes.io/default-container": "gone"},
                id="a container that is named and not there",
            ),
        ],
    )
    def test_one_that_stands_first_is_not_taken_for_the_model(
        self, model: str, annotations: dict[str, str] | None
    ) -> None:
        proxy = a_container("istio-proxy", started=True, ready=True, state=RUNNING)
        loading = a_container(model, started=False, state={"running": {"startedAt": "2026-01-01T12:00:30Z"}})
        seen = pod(a_meshed_pod(proxy, loading, model=model, annotations=annotations))
        assert (seen.is_started, seen.running_since, seen.is_loading) == (False, at(30), True)

    def test_one_without_any_sign_goes_by_its_first_container(self) -> None:
        running = a_container("vllm", started=True, state=RUNNING)
        manifest = a_pod(running)
        manifest["spec"]["containers"] = [{"name": "vllm"}, {"name": "other"}]
        assert pod(manifest).is_started

    @pytest.mark.parametrize("statuses", ["containerStatuses", "initContainerStatuses"], ids=["beside it", "native"])
    def test_one_that_crashes_before_the_model_runs_is_named(self, statuses: str) -> None:
        proxy = a_container("istio-proxy", restartCount=7, state=self.BACKOFF, lastState=self.CRASHED)
        model = a_container(state={"waiting": {"reason": "PodInitializing"}})
        listed = {"containerStatuses": [model], statuses: [proxy, *([model] if statuses[0] == "c" else [])]}
        manifest = a_meshed_pod() | {"status": {"phase": "Pending", **listed}}
        seen = pod(manifest)
        assert (seen.container, seen.waiting) == ("istio-proxy", ("CrashLoopBackOff", "back-off"))
        assert seen.ended == Ended("Error", 3, "no config", None)

    def test_the_models_own_trouble_comes_before_a_sidecars(self) -> None:
        proxy = a_container("istio-proxy", state=self.BACKOFF, lastState=self.CRASHED)
        ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": "no such model"}}
        seen = pod(a_meshed_pod(proxy, a_container(lastState=ended, state=RUNNING)))
        assert (seen.container, seen.waiting, seen.ended) == ("", None, Ended("Error", 1, "no such model", None))

    def test_one_that_has_crashed_and_is_ready_again_is_no_trouble(self) -> None:
        proxy = a_container("istio-proxy", ready=True, restartCount=4, state=RUNNING, lastState=self.CRASHED)
        seen = pod(a_meshed_pod(proxy, a_container(state=RUNNING)))
        assert (seen.container, seen.ended) == ("", None)


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


def test_of_several_metrics_the_one_that_was_asked_for_first_is_told() -> None:
    """Where that fails the others come alone, and one of theirs must not be taken for it."""
    rps, cache = ({"type": "Pods", "pods": {"metric": {"name": name}}} for name in ("rps", "cache"))
    seen = {"type": "Pods", "pods": {"metric": {"name": "cache"}, "current": {"averageValue": "800m"}}}
    child = {"metadata": {"name": "chat"}, "spec": {"metrics": [rps, cache]}, "status": {"currentMetrics": [seen]}}
    assert autoscaler(child).current is None
    assert autoscaler({**child, "spec": {"metrics": [cache, rps]}}).current == "800m"
