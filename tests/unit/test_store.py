"""What the watches told: versions, owners, and whom a change concerns."""

from typing import Any

import pytest
from penstock import names
from penstock.kinds import (
    CONTROLLER_REVISION,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    INFERENCE_SERVICE,
    NODE,
    POD,
    ROUTER_SLICE,
    SERVICE,
    Kind,
    Manifest,
)
from penstock.observed.values import Endpoints, Router
from penstock.watch.store import Key, ObjectId, Store, identify

from tests.builders import UID, a_service

CHAT, OTHER = Key("ml", "chat"), Key("ml", "other")


def an_object(
    name: str, version: int, *, uid: str = "u", service: str | None = "chat", owner: str | None = UID, **rest: Any
) -> Manifest:
    reference = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": "chat", "uid": owner, "controller": True}
    metadata = {
        "name": name,
        "namespace": "ml",
        "uid": uid,
        "resourceVersion": str(version),
        "labels": {names.LABEL_SERVICE: service} if service else {},
        "ownerReferences": [reference] if owner else [],
    }
    return {"metadata": metadata, "spec": {}, **rest}


def chat(version: int, **rest: Any) -> Manifest:
    spec = a_service().spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return an_object("chat", version, uid=UID, service=None, owner=None, **({"spec": spec} | rest))


def a_pod(version: int, *, service: str | None = "chat", name: str = "chat-0", **status: Any) -> Manifest:
    spec = {"containers": [{"name": "model", "resources": {"requests": {"cpu": "1"}}}]}
    return an_object(name, version, service=service, owner=None, spec=spec, status=status)


def on_a_node(version: int, **status: Any) -> Manifest:
    """Somebody else's pod that asks for CPUs only."""
    pod = a_pod(version, service=None, name="greedy", **status)
    return {**pod, "spec": {**pod["spec"], "nodeName": "node"}}


def endpoints(version: int, *pods: str, name: str = "chat-abc", of: str = "chat") -> Manifest:
    found = [{"conditions": {"ready": True}, "targetRef": {"name": pod}} for pod in pods]
    slice_ = an_object(name, version, owner=None, endpoints=found)
    slice_["metadata"]["labels"]["kubernetes.io/service-name"] = of
    return slice_


def a_node(version: int, cpus: int) -> Manifest:
    status = {"allocatable": {"cpu": str(cpus), "pods": "9"}, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": {"name": "node", "resourceVersion": str(version), "uid": "n"}, "spec": {}, "status": status}


def ids(*pairs: tuple[Kind, str]) -> list[ObjectId]:
    return [ObjectId(kind.name, "ml", name) for kind, name in pairs]


class TestVersions:
    def test_a_service_is_given_back_as_it_was_put(self) -> None:
        store = Store()
        assert store.put(INFERENCE_SERVICE, chat(1, status={"phase": "Ready"})) == {CHAT}
        service = store.service(CHAT)
        assert service is not None
        assert (service.metadata.uid, service.status.phase) == (UID, "Ready")
        assert store.raw_status(CHAT) == {"phase": "Ready"}
        assert store.version(CHAT) == "1"

    def test_what_is_not_known_is_none(self) -> None:
        assert (Store().service(CHAT), Store().raw_status(CHAT), Store().version(CHAT)) == (None, {}, "")

    @pytest.mark.parametrize("version", [4, 5])
    def test_a_version_that_is_not_newer_is_ignored(self, version: int) -> None:
        store = Store()
        store.put(DEPLOYMENT, an_object("chat-blue", 5, spec={"replicas": 2}))
        assert store.put(DEPLOYMENT, an_object("chat-blue", version, spec={"replicas": 1})) == set()
        assert store.children(UID)["Deployment", "chat-blue"].manifest()["spec"] == {"replicas": 2}

    @pytest.mark.parametrize(
        ("phase", "is_moving"),
        [(None, False), ("Deploying", False), ("Stable", False), ("RolledBack", False), ("Switching", True)],
    )
    def test_a_rollout_under_way_is_known_as_one(self, phase: str | None, *, is_moving: bool) -> None:
        store = Store()
        store.put(INFERENCE_SERVICE, chat(1, status={"rollout": {"phase": "Scaling"}}))
        store.put(INFERENCE_SERVICE, chat(2, status={"rollout": {"phase": phase}} if phase else {}))
        assert store.is_moving(CHAT) is is_moving
        store.drop(identify(INFERENCE_SERVICE, chat(2)))
        assert not store.is_moving(CHAT)

    def test_our_own_write_and_then_its_watch_event_wake_nobody(self) -> None:
        store = Store()
        written = an_object("chat-blue", 5, spec={"replicas": 2})
        store.put(DEPLOYMENT, written)
        assert store.put(DEPLOYMENT, written) == set()

    def test_an_event_from_before_our_write_does_not_undo_it(self) -> None:
        store = Store()
        store.put(SERVICE, an_object("chat", 7))
        assert store.drop(identify(SERVICE, an_object("chat", 6)), version=6) == set()
        assert ("Service", "chat") in store.children(UID)

    def test_versions_are_numbers_and_not_words(self) -> None:
        store = Store()
        store.put(DEPLOYMENT, an_object("chat-blue", 9, spec={"replicas": 1}))
        assert store.put(DEPLOYMENT, an_object("chat-blue", 10, spec={"replicas": 2})) == {CHAT}

    def test_a_change_that_no_pass_reads_wakes_nobody(self) -> None:
        store = Store()
        store.put(DEPLOYMENT, an_object("chat-blue", 1, status={"observedGeneration": 1}))
        later = an_object("chat-blue", 2, status={"observedGeneration": 1, "terminatingReplicas": 3})
        later["metadata"]["managedFields"] = [{"manager": "kubectl", "time": "now"}]
        assert store.put(DEPLOYMENT, later) == set()


class TestChildren:
    def test_they_are_found_by_their_owner(self) -> None:
        store = Store()
        assert store.put(DEPLOYMENT, an_object("chat-blue", 1)) == {CHAT}
        store.put(CONTROLLER_REVISION, an_object("chat-abc", 2, data={"template": {}}, revision=1))
        store.put(SERVICE, an_object("chat", 3, owner="somebody else"))
        assert set(store.children(UID)) == {("Deployment", "chat-blue"), ("ControllerRevision", "chat-abc")}

    def test_kserves_are_none_of_ours_though_the_owners_kind_and_name_are_the_same(self) -> None:
        store, found = Store(), an_object("chat", 1)
        found["metadata"]["ownerReferences"][0]["apiVersion"] = "serving.kserve.io/v1beta1"
        store.put(SERVICE, found)
        assert store.children(UID) == {}

    def test_what_is_given_out_is_no_window_into_the_store(self) -> None:
        store = Store()
        store.put(DEPLOYMENT, an_object("chat-blue", 1))
        store.children(UID).clear()
        assert store.children(UID)

    def test_one_that_was_replaced_is_another(self) -> None:
        store = Store()
        store.put(DEPLOYMENT, an_object("chat-blue", 1, uid="old"))
        assert store.put(DEPLOYMENT, an_object("chat-blue", 2, uid="new")) == {CHAT}
        assert store.children(UID)["Deployment", "chat-blue"].uid == "new"

    def test_one_that_lost_its_owner_is_ours_no_longer_and_we_hear_of_it(self) -> None:
        store = Store()
        store.put(DEPLOYMENT, an_object("chat-blue", 1))
        assert store.put(DEPLOYMENT, an_object("chat-blue", 2, owner=None)) == {CHAT}
        assert store.children(UID) == {}

    def test_one_that_lost_its_service_label_still_concerns_its_owner(self) -> None:
        store = Store()
        store.put(DEPLOYMENT, an_object("chat-blue", 1))
        assert store.put(DEPLOYMENT, an_object("chat-blue", 2, service=None)) == {CHAT}

    def test_one_that_is_deleted_concerns_its_service(self) -> None:
        store = Store()
        store.put(DEPLOYMENT, an_object("chat-blue", 1))
        assert store.drop(identify(DEPLOYMENT, an_object("chat-blue", 2)), version=2) == {CHAT}
        assert store.children(UID) == {}

    def test_dropping_what_is_not_there_concerns_nobody(self) -> None:
        assert Store().drop(ObjectId("Deployment", "ml", "x")) == set()


class TestPods:
    def test_a_pod_concerns_its_service_when_something_changed(self) -> None:
        store = Store()
        assert store.put(POD, a_pod(1)) == {CHAT}
        assert store.put(POD, a_pod(2)) == set()
        assert store.put(POD, a_pod(3, podIP="10.0.0.1")) == {CHAT}
        assert [pod.ip for pod in store.pods(CHAT)] == ["10.0.0.1"]

    def test_a_foreign_pod_concerns_nobody_but_takes_its_room(self) -> None:
        store = Store()
        assert store.put(POD, a_pod(1, service=None)) == set()
        assert store.pods(CHAT) == ()

    def test_a_pod_that_was_taken_out_by_its_label_is_gone(self) -> None:
        store = Store()
        store.put(POD, a_pod(1))
        assert store.put(POD, a_pod(2, service=None)) == {CHAT}
        assert store.pods(CHAT) == ()

    def test_a_pod_that_went_over_to_another_service_concerns_both(self) -> None:
        store = Store()
        store.put(POD, a_pod(1))
        assert store.put(POD, a_pod(2, service="other")) == {CHAT, OTHER}
        assert (len(store.pods(CHAT)), len(store.pods(OTHER))) == (0, 1)

    def test_a_deleted_service_waits_no_more(self) -> None:
        store = Store()
        store.put(INFERENCE_SERVICE, chat(1))
        store.waiting_for_room.put(CHAT, frozenset({"cpu"}))
        store.drop(ObjectId(names.KIND, "ml", "chat"))
        assert store.put(NODE, a_node(2, 4)) == set()


class TestWaitingForRoom:
    """It is woken by what may change what it was told, and by nothing else: each pass costs a look at every node."""

    def waiting(self, *resources: str) -> Store:
        """Another service waits; what it was told rests on these resources."""
        store = Store()
        store.put(NODE, a_node(1, 1))
        store.waiting_for_room.put(OTHER, frozenset(resources))
        return store

    def test_a_node_that_changes_wakes_it_and_a_heartbeat_does_not(self) -> None:
        store = self.waiting()
        assert store.put(NODE, a_node(3, 4)) == {OTHER}
        assert store.put(NODE, a_node(4, 4)) == set()
        assert store.drop(ObjectId("Node", "", "node")) == {OTHER}

    @pytest.mark.parametrize(
        ("change", "is_woken"),
        [
            pytest.param({"labels": {"a": "b"}}, True, id="labels"),
            pytest.param({"annotations": {"a": "b"}}, False, id="annotations"),
        ],
    )
    def test_what_decides_whether_a_node_may_be_used_wakes_it(self, change: dict[str, Any], is_woken: bool) -> None:
        store, node = self.waiting(), a_node(2, 1)
        node["metadata"] |= change
        assert store.put(NODE, node) == ({OTHER} if is_woken else set())

    @pytest.mark.parametrize(
        "spec",
        [
            pytest.param({"unschedulable": True}, id="a cordon"),
            pytest.param({"taints": [{"key": "k", "effect": "NoSchedule"}]}, id="a taint"),
        ],
    )
    def test_a_node_that_takes_no_more_pods_wakes_it(self, spec: dict[str, Any]) -> None:
        store = self.waiting()
        assert store.put(NODE, {**a_node(2, 1), "spec": spec}) == {OTHER}

    def test_pods_wake_it_when_they_get_a_node_end_or_go(self) -> None:
        store = self.waiting("cpu")
        assert store.put(POD, on_a_node(2)) == {OTHER}
        assert store.put(POD, on_a_node(3, podIP="10.0.0.1")) == set()
        assert store.put(POD, on_a_node(4, phase="Succeeded")) == {OTHER}
        assert store.drop(ObjectId("Pod", "ml", "greedy")) == set()
        store.put(POD, on_a_node(5))
        assert store.drop(ObjectId("Pod", "ml", "greedy")) == {OTHER}

    def test_a_pod_that_waits_itself_takes_nothing_from_it(self) -> None:
        store = self.waiting("cpu")
        assert store.put(POD, a_pod(2, service=None, name="greedy")) == set()
        assert store.drop(ObjectId("Pod", "ml", "greedy")) == set()

    def test_a_pod_that_takes_nothing_of_what_it_waits_for_leaves_it_asleep(self) -> None:
        store = self.waiting("nvidia.com/gpu")
        assert store.put(POD, on_a_node(2)) == set()
        assert store.drop(ObjectId("Pod", "ml", "greedy")) == set()

    def test_one_that_has_found_room_waits_no_more(self) -> None:
        store = self.waiting("cpu")
        store.waiting_for_room.discard(OTHER)
        store.waiting_for_room.discard(OTHER)
        assert store.put(NODE, a_node(2, 4)) == set()


class TestEndpoints:
    def test_those_of_all_slices_count(self) -> None:
        store = Store()
        assert store.put(ENDPOINT_SLICE, endpoints(1, "a")) == {CHAT}
        assert store.put(ENDPOINT_SLICE, endpoints(2, "b", name="chat-def")) == {CHAT}
        assert store.endpoints(CHAT).ready == {"a", "b"}

    def test_those_of_the_preview_lead_no_traffic_and_do_not_count(self) -> None:
        store = Store()
        assert store.put(ENDPOINT_SLICE, endpoints(1, "a", of="chat-preview")) == set()
        assert store.endpoints(CHAT) == Endpoints()

    def test_a_slice_that_says_the_same_again_wakes_nobody(self) -> None:
        store = Store()
        store.put(ENDPOINT_SLICE, endpoints(1, "a"))
        assert store.put(ENDPOINT_SLICE, endpoints(2, "a")) == set()

    def test_a_deleted_slice_takes_its_endpoints_along(self) -> None:
        store = Store()
        store.put(ENDPOINT_SLICE, endpoints(1, "a"))
        assert store.drop(ObjectId("EndpointSlice", "ml", "chat-abc")) == {CHAT}
        assert store.endpoints(CHAT) == Endpoints()


class TestRouters:
    """The routers' own slices, and those of ours that lead a service there."""

    @staticmethod
    def listed(version: int, *names: str) -> Manifest:
        ready = [
            {"addresses": [f"10.1.0.{number}"], "conditions": {"ready": True}, "targetRef": {"name": name}}
            for number, name in enumerate(names)
        ]
        leaving = {"addresses": ["10.1.9.9"], "conditions": {"ready": False}, "targetRef": {"name": "gone"}}
        metadata = {"name": "router-x", "namespace": "penstock-system", "uid": "r", "resourceVersion": str(version)}
        return {"metadata": metadata, "endpoints": [*ready, leaving]}

    @staticmethod
    def sleeper(version: int) -> Manifest:
        return {**an_object("chat", version), "spec": {"autoscaling": {"scaleToZero": {}}}}

    def test_those_that_are_ready_are_known_and_a_change_wakes_the_services_that_may_sleep(self) -> None:
        store = Store()
        store.put(INFERENCE_SERVICE, self.sleeper(1))
        store.put(INFERENCE_SERVICE, an_object("other", 2))
        assert store.put(ROUTER_SLICE, self.listed(3, "b", "a")) == {CHAT}
        assert store.routers == (Router("a", "10.1.0.1"), Router("b", "10.1.0.0"))
        assert store.put(ROUTER_SLICE, self.listed(4, "b", "a")) == set()
        assert store.drop(ObjectId(ROUTER_SLICE.name, "penstock-system", "router-x")) == {CHAT}
        assert not store.routers

    def test_a_list_of_all_slices_of_services_does_not_make_them_forgotten(self) -> None:
        store = Store()
        store.put(ROUTER_SLICE, self.listed(3, "a"))
        store.retain(ENDPOINT_SLICE, None, [], version=9)
        assert len(store.routers) == 1

    def test_a_slice_of_ours_is_a_child_and_no_list_of_pods(self) -> None:
        store = Store()
        ours = an_object("chat-router", 1, endpoints=[{"addresses": ["10.1.0.1"], "conditions": {"ready": True}}])
        ours["metadata"]["labels"]["kubernetes.io/service-name"] = "chat"
        assert store.put(ENDPOINT_SLICE, ours) == {CHAT}
        assert ("EndpointSlice", "chat-router") in store.children(UID)
        assert store.endpoints(CHAT) == Endpoints()
        assert store.drop(ObjectId("EndpointSlice", "ml", "chat-router")) == {CHAT}
        assert store.children(UID) == {}


class TestRelist:
    def test_what_the_list_has_no_more_is_forgotten(self) -> None:
        store = Store()
        store.put(SERVICE, an_object("chat", 1))
        store.put(SERVICE, an_object("other", 2, service="other"))
        assert store.retain(SERVICE, None, ids((SERVICE, "other")), version=9) == {CHAT}
        assert set(store.children(UID)) == {("Service", "other")}

    def test_what_is_newer_than_the_list_stays(self) -> None:
        store = Store()
        store.put(SERVICE, an_object("chat", 10))
        assert store.retain(SERVICE, None, [], version=9) == set()
        assert ("Service", "chat") in store.children(UID)

    def test_other_kinds_and_other_namespaces_are_left_alone(self) -> None:
        store = Store()
        store.put(SERVICE, an_object("chat", 1))
        store.put(DEPLOYMENT, an_object("chat-blue", 1))
        assert store.retain(SERVICE, "elsewhere", [], version=9) == set()
        assert store.retain(DEPLOYMENT, "ml", [], version=9) == {CHAT}
        assert set(store.children(UID)) == {("Service", "chat")}

    def test_the_store_can_be_counted_and_compared(self) -> None:
        store = Store()
        store.put(INFERENCE_SERVICE, chat(3))
        store.put(POD, a_pod(4))
        assert store.numbers() == {"InferenceService": 1, "Pod": 1}
        assert store.versions(POD, None) == {ObjectId("Pod", "ml", "chat-0"): 4}
        assert list(store.services()) == [CHAT]


def test_a_status_that_a_newer_version_wrote_counts_as_wiped() -> None:
    store = Store()
    store.put(INFERENCE_SERVICE, chat(1, status={"phase": "Dreaming", "replicas": 3}))
    service = store.service(CHAT)
    assert service is not None
    assert service.status == a_service().status
    assert service.spec == a_service().spec
