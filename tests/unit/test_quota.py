"""What the ResourceQuotas of a namespace leave for more pods of a service, and how Auto counts with it."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock import errors
from penstock.capacity import placement
from penstock.capacity.free import Capacity
from penstock.capacity.quota import Quota, project_quota
from penstock.capacity.requests import PodRequests, project_pod, requests
from penstock.kinds import RESOURCE_QUOTA
from penstock.kube.api_server import ApiServer
from penstock.metrics import Metrics, Snapshot
from penstock.names import Slot
from penstock.rollout.plan import Plan, plan
from penstock.slot_plan import SlotPlan
from penstock.watch.reflector import Reflector
from penstock.watch.store import ObjectId, Store

from tests.builders import T0, capacity_of
from tests.simulated_cluster import Cluster

GPU = "nvidia.com/gpu"


def a_quota(
    hard: dict[str, str], used: dict[str, str] | None = None, *, name: str = "team", **spec: Any
) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "ml", "resourceVersion": "1"}
    taken = dict.fromkeys(hard, "0") if used is None else used
    return {"metadata": metadata, "spec": {"hard": hard, **spec}, "status": {"hard": hard, "used": taken}}


def asking(gpus: int = 1, **more: Any) -> dict[str, Any]:
    return {"containers": [{"resources": {"limits": {GPU: str(gpus)}}}], **more}


def a_pod(name: str, spec: dict[str, Any], *, node: str | None = "node") -> PodRequests:
    found = project_pod({"metadata": {"namespace": "ml", "name": name}, "spec": {**spec, "nodeName": node}})
    assert found is not None
    return found


def a_node(gpus: int) -> placement.Node:
    status = {
        "allocatable": {GPU: str(gpus), "cpu": "64", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    return placement.project_node({"metadata": {"name": "node"}, "status": status})


def a_place(gpus: int, *quotas: dict[str, Any], own: int = 0, spec: dict[str, Any] | None = None) -> Capacity:
    """A node with so many GPUs, and so many of the service's own pods on it."""
    place = capacity_of([a_node(gpus)], [a_pod(f"own-{n}", spec or asking()) for n in range(own)])
    for each in quotas:
        place.put_quota(project_quota(each))
    return place


def planned(place: Capacity, wanted: int, spec: dict[str, Any] | None = None) -> Plan:
    return plan("Auto", wanted, place.room("ml", spec or asking(), list(place.pods), serving=len(place.pods)))


@pytest.mark.parametrize(
    ("hard", "used", "allowed"),
    [
        pytest.param({"pods": "5"}, {"pods": "3"}, 2, id="pods"),
        pytest.param({"count/pods": "5"}, {"count/pods": "4"}, 1, id="objects"),
        pytest.param({f"requests.{GPU}": "4"}, {f"requests.{GPU}": "1"}, 1, id="GPUs"),
        pytest.param({"cpu": "10"}, {"cpu": "500m"}, 2, id="cores"),
        pytest.param({"requests.cpu": "10", "cpu": "7"}, {"requests.cpu": "0", "cpu": "0"}, 1, id="the tighter"),
        pytest.param({"pods": "5"}, {"pods": "7"}, 0, id="one that was lowered under its pods"),
        pytest.param({"limits.cpu": "1", "services": "0"}, {"limits.cpu": "1", "services": "0"}, 9, id="not counted"),
        pytest.param({"pods": "0"}, {}, 9, id="one that its controller has not counted yet"),
    ],
)
def test_a_quota_allows_what_is_left_of_it(hard: dict[str, str], used: dict[str, str], allowed: int) -> None:
    spec = {"containers": [{"resources": {"requests": {"cpu": "4", GPU: "2"}}}]}
    assert a_place(18, a_quota(hard, used)).room("ml", spec, [], serving=0).more == allowed


def scoped(operator: str, *values: str) -> dict[str, Any]:
    match = {"scopeName": "PriorityClass", "operator": operator, "values": list(values)}
    return {"scopeSelector": {"matchExpressions": [match]}}


@pytest.mark.parametrize(
    ("scope", "is_for_it"),
    [
        pytest.param({"scopes": ["NotTerminating"]}, True, id="pods without a deadline"),
        pytest.param({"scopes": ["Terminating"]}, False, id="pods with a deadline"),
        pytest.param({"scopes": ["NotBestEffort"]}, True, id="pods that request something"),
        pytest.param({"scopes": ["BestEffort"]}, False, id="pods that request nothing"),
        pytest.param({"scopes": ["PriorityClass"]}, True, id="pods of any class"),
        pytest.param(scoped("In", "high", "low"), True, id="of this one"),
        pytest.param(scoped("In", "low"), False, id="of another one"),
        pytest.param(scoped("NotIn", "low"), True, id="not of another one"),
        pytest.param(scoped("DoesNotExist"), False, id="of none"),
        pytest.param({"scopes": ["SomethingNew"]}, False, id="a scope that we do not know"),
    ],
)
def test_a_quota_counts_the_pods_of_its_scopes_alone(scope: dict[str, Any], *, is_for_it: bool) -> None:
    spec = {"containers": [{"resources": {"requests": {"cpu": "1"}}}], "priorityClassName": "high"}
    room = a_place(0, a_quota({"pods": "3"}, **scope)).room("ml", spec, [], serving=0)
    assert (room.more == 3) is is_for_it


def test_another_namespaces_quota_is_not_ours() -> None:
    place = a_place(4, a_quota({"pods": "0"}))
    assert place.room("other", asking(), [], serving=0).more == 4


def test_the_tightest_of_several_counts() -> None:
    place = a_place(8, a_quota({"pods": "5"}, name="pods"), a_quota({f"requests.{GPU}": "2"}, name="gpus"))
    room = place.room("ml", asking(), [], serving=0)
    assert (room.more, room.limited_by and room.limited_by.quota) == (2, "gpus")


def test_a_quota_that_is_gone_limits_nothing() -> None:
    store = Store()
    store.capacity.put_node(a_node(2))
    store.put(RESOURCE_QUOTA, a_quota({"pods": "1"}))
    assert store.capacity.room("ml", asking(), [], serving=0).more == 1
    store.drop(ObjectId(RESOURCE_QUOTA.name, "ml", "team"))
    assert store.capacity.room("ml", asking(), [], serving=0).more == 2
    assert store.capacity == capacity_of([a_node(2)], [])


@pytest.mark.parametrize(
    ("place", "wanted", "found"),
    [
        pytest.param(
            a_place(8, a_quota({f"requests.{GPU}": "4"}, {f"requests.{GPU}": "2"}), own=2),
            2,
            Plan("BlueGreen", None, "BlueGreen: 2 more pods fit, a second set needs 2"),
            id="a second set is allowed",
        ),
        pytest.param(
            a_place(8, a_quota({f"requests.{GPU}": "3"}, {f"requests.{GPU}": "2"}), own=2),
            2,
            Plan(
                "RollingUpdate",
                1,
                f"RollingUpdate: 1 of 3 requests.{GPU} left in the quota team, a second set needs 2",
            ),
            id="one more pod is allowed",
        ),
        pytest.param(
            a_place(8, a_quota({f"requests.{GPU}": "2"}, {f"requests.{GPU}": "2"}), own=2),
            2,
            Plan(
                "RollingUpdate",
                0,
                f"RollingUpdate: 0 of 2 requests.{GPU} left in the quota team, a pod needs 1: one pod stops before "
                "its successor starts",
            ),
            id="none is allowed beside several",
        ),
        pytest.param(
            a_place(8, a_quota({"pods": "1"}, {"pods": "1"}), own=1),
            1,
            Plan(
                "Recreate",
                None,
                "Recreate: 0 of 1 pods left in the quota team, a pod needs 1 and 1 pod is all there is: it stops "
                "before its successor starts",
            ),
            id="none is allowed beside the only one",
        ),
    ],
)
def test_a_full_quota_is_no_more_room_than_a_full_node(place: Capacity, wanted: int, found: Plan) -> None:
    assert planned(place, wanted) == found


def test_pods_stay_where_a_quota_allows_no_new_one_even_without_them() -> None:
    place = a_place(8, a_quota({f"requests.{GPU}": "1"}, {f"requests.{GPU}": "1"}), own=1)
    assert planned(place, 1, asking(2)).message == (
        f"BlueGreen: no new pod is allowed even without the old ones (0 of 1 requests.{GPU} left in the quota team, "
        "a pod needs 2): what serves stays as it is"
    )


@pytest.mark.parametrize(
    ("own", "wanted", "allowed", "way"),
    [
        pytest.param(1, 1, 1, "Recreate", id="the only pod"),
        pytest.param(2, 2, 2, "RollingUpdate", id="two of two"),
        pytest.param(2, 5, 2, "RollingUpdate", id="an autoscaler wants more than is allowed"),
        pytest.param(8, 12, 9, "RollingUpdate", id="one more is allowed, and many more are wanted"),
    ],
)
def test_a_full_quota_holds_up_no_update_of_pods_without_gpus(own: int, wanted: int, allowed: int, way: str) -> None:
    spec = {"containers": [{"resources": {"requests": {"cpu": "1"}}}]}
    place = a_place(0, a_quota({"pods": str(allowed)}, {"pods": str(own)}), own=own, spec=spec)
    found = planned(place, wanted, spec)
    assert (found.way, f"{allowed - own} of {allowed} pods left in the quota team" in found.message) == (way, True)

    cluster, now = Cluster(nodes=[50], quota=allowed), T0
    cluster.write(Slot.BLUE, SlotPlan("v1", own))
    for revision in ("v1", "v2"):
        # As many as have room come first; the autoscaler's others come after them.
        plan = SlotPlan(revision, own, found.way, found.max_surge) if revision == "v2" else SlotPlan(revision, own)
        cluster.write(Slot.BLUE, plan)
        for _ in range(40):
            cluster.let_the_controllers_act()
            cluster.let_the_nodes_act(now)
    assert {pod.revision for pod in cluster.pods} == {"v2"}


def test_a_pod_outside_the_scopes_of_a_quota_gives_nothing_back_to_it() -> None:
    quota = a_quota({f"requests.{GPU}": "4"}, {f"requests.{GPU}": "4"}, **scoped("In", "high"))
    place = a_place(8, quota, own=1, spec=asking(priorityClassName="low"))
    assert planned(place, 1, asking(priorityClassName="high")).message == (
        f"BlueGreen: no new pod is allowed even without the old ones (0 of 4 requests.{GPU} left in the quota team, "
        "a pod needs 1): what serves stays as it is"
    )


def test_what_a_limit_range_gave_the_old_pods_it_will_give_the_new_ones() -> None:
    defaulted = {"containers": [{"resources": {"requests": {"cpu": "2"}, "limits": {GPU: "1"}}}]}
    place = a_place(8, a_quota({"requests.cpu": "2"}, {"requests.cpu": "2"}), own=1, spec=defaulted)
    assert planned(place, 1).way == "Recreate"


def test_pods_take_turns_only_where_even_the_smallest_make_room_for_new_ones() -> None:
    nodes, pods = [a_node(20)], [a_pod("a", asking(1)), a_pod("b", asking(1)), a_pod("c", asking(4))]
    place = capacity_of(nodes, pods)
    place.put_quota(project_quota(a_quota({f"requests.{GPU}": "7"}, {f"requests.{GPU}": "6"})))
    assert not place.room("ml", asking(2), list(place.pods), serving=3).can_take_turns
    on_the_node = capacity_of([a_node(7)], pods)
    assert not on_the_node.room("ml", asking(2), list(on_the_node.pods), serving=3).can_take_turns


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(None, id="no status"),
        pytest.param({"hard": None, "used": None}, id="nulls"),
        pytest.param({"hard": {"pods": "weird"}, "used": {"pods": "0"}}, id="no quantity"),
        pytest.param({"hard": {"pods": None}, "used": {"pods": "0"}}, id="a null for a quantity"),
    ],
)
def test_a_quota_that_makes_no_sense_limits_nothing(status: Any) -> None:
    spec = {"scopes": None, "scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass"}]}}
    obj = {"metadata": {"name": "team", "namespace": "ml"}, "spec": spec, "status": status}
    assert project_quota(obj).limits == ()


@pytest.mark.parametrize(
    ("resources", "is_best_effort"),
    [
        ({"limits": {GPU: "1"}}, True),
        ({"limits": {"cpu": "1"}, "requests": {"cpu": "0"}}, False),
        ({"requests": {"memory": "1Gi"}}, False),
        ({"requests": {"cpu": "0"}}, True),
    ],
)
def test_best_effort_is_what_asks_for_neither_cpu_nor_memory(
    resources: dict[str, Any], *, is_best_effort: bool
) -> None:
    assert a_pod("one", {"containers": [{"resources": resources}]}).is_best_effort is is_best_effort


class Forbidden:
    """An API server that shows no quotas to us."""

    async def pages(self, *args: object, **options: object) -> AsyncIterator[Any]:
        raise errors.Rejected(403, "Forbidden", "resourcequotas is forbidden")
        yield

    async def watch(self, *args: object, **options: object) -> AsyncIterator[Any]:
        raise AssertionError("nothing was listed")
        yield


def test_an_operator_that_may_not_read_quotas_works_without_them() -> None:
    async def look() -> Store:
        store = Store()
        store.put(RESOURCE_QUOTA, a_quota({"pods": "0"}))
        nothing = Metrics(lambda: Snapshot(is_leader=True, queue_depth=0, services_by_phase={}, objects_by_kind={}))
        server = cast("ApiServer", Forbidden())
        reflector = Reflector(server, store, RESOURCE_QUOTA, enqueue=lambda _: None, metrics=nothing)
        task = asyncio.create_task(reflector.run())
        await asyncio.wait_for(reflector.is_synced.wait(), timeout=5)
        task.cancel()
        return store

    assert asyncio.run(look()).capacity.quotas == {}


def count(place: Capacity, hard: Decimal, resource: str) -> None:
    """The quota's controller does its work."""
    used = sum((pod.requests.get(resource, Decimal(0)) for pod in place.pods.values()), Decimal(0))
    name = resource if resource == "pods" else f"requests.{resource}"
    place.put_quota(project_quota(a_quota({name: str(hard)}, {name: str(used)})))


@given(
    own=st.integers(1, 4),
    needs=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    spare=st.integers(-1, 4),
    wanted=st.integers(1, 4),
    resource=st.sampled_from([GPU, "pods"]),
)
def test_no_pod_stops_for_one_that_its_quota_forbids(
    own: int, needs: tuple[int, int], spare: int, wanted: int, resource: str
) -> None:
    old, new = needs
    place = a_place(24, own=own, spec=asking(old))
    hard = Decimal(own * (old if resource == GPU else 1) + spare)
    count(place, hard, resource)
    found = planned(place, wanted, asking(new))
    if found.way == "BlueGreen" and not found.message.endswith("what serves stays as it is"):
        assert place.room("ml", asking(new), [], serving=0).more >= wanted
    for number, key in enumerate(list(place.pods)):
        if found.way != "RollingUpdate" or found.max_surge == 1:
            break
        place.drop_pod(key)
        count(place, hard, resource)
        assert place.room("ml", asking(new), [], serving=0).more >= 1
        place.put_pod(a_pod(f"new-{number}", asking(new)))
        count(place, hard, resource)
    if found.way == "Recreate":
        for key in list(place.pods):
            place.drop_pod(key)
        count(place, hard, resource)
        assert place.room("ml", asking(new), [], serving=0).more >= min(wanted, own)


@given(left=st.integers(0, 9), need=st.integers(1, 3))
def test_as_many_pods_are_promised_as_the_quota_takes(left: int, need: int) -> None:
    place = a_place(30)
    promised = -1
    for made in range(10):
        count(place, Decimal(left), GPU)
        more = place.room("ml", asking(need), [], serving=0).more
        promised = more if made == 0 else promised
        if more == 0:
            assert made == promised
            return
        place.put_pod(a_pod(f"new-{made}", asking(need)))
    raise AssertionError("it never ends")


def test_what_a_quota_counts_is_what_a_pod_requests() -> None:
    found = project_quota(a_quota({"requests.memory": "1Gi", "hugepages-2Mi": "4Mi", "requests.storage": "1"}))
    assert isinstance(found, Quota)
    assert {limit.resource for limit in found.limits} == {"memory", "hugepages-2Mi", "storage"}
    assert "storage" not in requests(asking())
