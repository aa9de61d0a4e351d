from collections.abc import Sequence, Set
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.capacity import placement
from penstock.capacity.free import Capacity
from penstock.capacity.placement import Node
from penstock.capacity.requests import PodKey, PodRequests, project_pod, requests
from penstock.capacity.room import Fit, Room, Scarce

from tests.builders import capacity_of

GPU = "nvidia.com/gpu"


def a_node(name: str = "node-1", **more: Any) -> Node:
    return a_node_with({}, name=name, **more)


def a_node_with(
    allocatable: dict[str, str],
    *,
    name: str = "node-1",
    ready: bool = True,
    taints: Any = (),
    labels: Any = None,
    **spec: Any,
) -> Node:
    return placement.project_node(
        {
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": list(taints), **spec},
            "status": {
                "allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110", **allocatable},
                "conditions": [{"type": "Ready", "status": str(ready)}],
            },
        }
    )


def a_spec(*, cpu: str = "1", **more: Any) -> dict[str, Any]:
    return {"containers": [a_container(cpu=cpu)], **more}


def a_container(**requests: str) -> dict[str, Any]:
    return {"resources": {"requests": requests}}


def a_gpu_spec(number: int = 1, **more: Any) -> dict[str, Any]:
    return {"containers": [{"resources": {"limits": {GPU: str(number)}}}], **more}


def a_mixed_spec(cpu: str, gpus: int) -> dict[str, Any]:
    return {"containers": [{"resources": {"requests": {"cpu": cpu, GPU: str(gpus)}}}]}


def a_pod(name: str, spec: dict[str, Any], node: str | None = "node-1") -> PodRequests:
    claim = project_pod({"metadata": {"namespace": "default", "name": name}, "spec": {**spec, "nodeName": node}})
    assert claim is not None
    return claim


def a_taint(key: str, value: str = "", effect: str = "NoSchedule") -> dict[str, str]:
    return {"key": key, "value": value, "effect": effect}


def amounts(**given: str) -> dict[str, Decimal]:
    return {name: Decimal(amount) for name, amount in given.items()}


# What a pod asks for.


def test_containers_that_run_together_are_added_up() -> None:
    spec = {"containers": [a_container(cpu="1", memory="1Gi"), a_container(cpu="500m")]}
    assert requests(spec) == amounts(cpu="1.5", memory=str(1024**3), pods="1")


def test_the_largest_init_container_counts_when_it_is_above_the_sum() -> None:
    spec = {"initContainers": [a_container(cpu="2"), a_container(cpu="3")], "containers": [a_container(cpu="1")]}
    assert requests(spec) == amounts(cpu="3", pods="1")


def test_a_sidecar_counts_with_the_containers_and_with_the_init_containers_after_it() -> None:
    sidecar = {**a_container(cpu="1"), "restartPolicy": "Always"}
    spec = {
        "initContainers": [a_container(cpu="4"), sidecar, a_container(cpu="3.5")],
        "containers": [a_container(cpu="2")],
    }
    assert requests(spec)["cpu"] == Decimal("4.5")


def test_a_limit_without_a_request_is_the_request() -> None:
    spec = {"containers": [{"resources": {"limits": {"cpu": "2", GPU: "1"}, "requests": {"cpu": "1"}}}]}
    assert requests(spec) == {"cpu": 1, GPU: 1, "pods": 1}


def test_overhead_of_the_runtime_class_is_added() -> None:
    assert requests(a_spec(cpu="1", overhead={"cpu": "250m"}))["cpu"] == Decimal("1.25")


def test_what_the_pod_itself_requests_comes_before_what_its_containers_do() -> None:
    spec = a_spec(cpu="1", resources={"requests": {"cpu": "3"}})
    assert requests(spec)["cpu"] == 3


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_claims_nothing(phase: str) -> None:
    pod = {"metadata": {"namespace": "a", "name": "b"}, "spec": a_spec(), "status": {"phase": phase}}
    assert project_pod(pod) is None


def test_a_pod_that_has_no_node_yet_claims_nothing_of_one() -> None:
    claim = project_pod({"metadata": {"namespace": "a", "name": "b"}, "spec": a_spec()})
    assert claim is not None
    assert claim.node is None


# Where a pod may go.


def in_terms(*expressions: dict[str, Any], fields: Any = ()) -> dict[str, Any]:
    terms = [{"matchExpressions": list(expressions), "matchFields": list(fields)}]
    return required({"nodeSelectorTerms": terms})


def required(selector: dict[str, Any]) -> dict[str, Any]:
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("asked", "matches"),
    [
        (expression("gpu", "In", "h100", "a100"), True),
        (expression("gpu", "In", "a100"), False),
        (expression("absent", "In", ""), False),
        (expression("gpu", "NotIn", "a100"), True),
        (expression("absent", "NotIn", "a100"), True),
        (expression("gpu", "NotIn", "h100"), False),
        (expression("gpu", "Exists"), True),
        (expression("absent", "Exists"), False),
        (expression("absent", "DoesNotExist"), True),
        (expression("gpu", "DoesNotExist"), False),
        (expression("memory", "Gt", "79"), True),
        (expression("memory", "Gt", "80"), False),
        (expression("memory", "Lt", "81"), True),
        (expression("gpu", "Gt", "1"), False),
        (expression("absent", "Lt", "1"), False),
        (expression("gpu", "SomethingNew", "1"), False),
    ],
    ids=str,
)
def test_node_affinity_reads_labels_as_the_scheduler_does(asked: dict[str, Any], matches: bool) -> None:
    node = a_node(labels={"gpu": "h100", "memory": "80"})
    assert (placement.obstacle(in_terms(asked), node) is None) == matches


def test_all_expressions_of_a_term_and_any_of_the_terms_must_match() -> None:
    node = a_node(labels={"a": "1"})
    both = {"matchExpressions": [expression("a", "Exists"), expression("b", "Exists")]}
    other = {"matchExpressions": [expression("a", "In", "1")]}
    assert placement.obstacle(required({"nodeSelectorTerms": [both]}), node) == "is excluded by the node affinity"
    assert placement.obstacle(required({"nodeSelectorTerms": [both, other]}), node) is None


def test_an_empty_term_matches_no_node() -> None:
    assert placement.obstacle(in_terms(), a_node()) is not None


def test_a_field_selector_picks_the_node_by_its_name() -> None:
    spec = in_terms(fields=[expression("metadata.name", "In", "node-2")])
    assert placement.obstacle(spec, a_node("node-1")) is not None
    assert placement.obstacle(spec, a_node("node-2")) is None


def test_a_node_without_the_selected_label_is_named_with_it() -> None:
    spec = {"nodeSelector": {"zone": "b"}}
    assert placement.obstacle(spec, a_node(labels={"zone": "a"})) == "lacks the label zone=b"
    assert placement.obstacle(spec, a_node(labels={"zone": "b"})) is None


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "k", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}, True),
        ({"key": "k", "operator": "Equal", "value": "other"}, False),
        ({"key": "k", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "k", "operator": "SomethingNew", "value": "v"}, False),
    ],
    ids=str,
)
def test_a_toleration_covers_a_taint_as_the_scheduler_says(toleration: dict[str, Any], tolerated: bool) -> None:
    node = a_node(taints=[a_taint("k", "v")])
    assert (placement.obstacle({"tolerations": [toleration]}, node) is None) == tolerated


def test_a_taint_that_only_discourages_excludes_nothing() -> None:
    assert placement.obstacle({}, a_node(taints=[a_taint("k", effect="PreferNoSchedule")])) is None


def test_a_cordoned_node_takes_only_pods_that_tolerate_it() -> None:
    node = a_node(unschedulable=True)
    assert placement.obstacle({}, node) == "has the untolerated taint node.kubernetes.io/unschedulable:NoSchedule"
    assert placement.obstacle({"tolerations": [{"operator": "Exists"}]}, node) is None


def test_a_node_that_is_not_ready_takes_nothing() -> None:
    assert placement.obstacle({"tolerations": [{"operator": "Exists"}]}, a_node(ready=False)) == "is not ready"


# How many more fit, and what is missing.


def test_copies_are_counted_node_by_node() -> None:
    nodes = [a_node_with({GPU: "8"}, name="a"), a_node_with({GPU: "3"}, name="b"), a_node(name="c")]
    fit = capacity_of(nodes, [a_pod("taken", a_gpu_spec(3), "a")]).fit(a_gpu_spec(2))
    assert fit.by_node == {"a": 2, "b": 1}
    assert fit.copies == 3
    assert fit.message == "3 more copies fit on 2 nodes"


def test_a_full_gpu_node_says_the_arithmetic() -> None:
    claims = [a_pod("one", a_gpu_spec()), a_pod("two", a_gpu_spec())]
    fit = capacity_of([a_node_with({GPU: "2"})], claims).fit(a_gpu_spec())
    assert fit.copies == 0
    assert fit.short_of == GPU
    assert fit.message == "needs 1 nvidia.com/gpu; 0 of 2 free on 1 matching node"


def test_nodes_without_gpus_do_not_count_as_matching() -> None:
    nodes = [a_node_with({GPU: "2"}), a_node(name="cpu-only")]
    fit = capacity_of(nodes, []).fit(a_gpu_spec(4))
    assert fit.message == "needs 4 nvidia.com/gpu; 2 of 2 free on 1 matching node"


def test_gpus_scattered_over_nodes_do_not_make_a_copy() -> None:
    nodes = [a_node_with({GPU: "4"}, name=name) for name in "ab"]
    claims = [a_pod(name, a_gpu_spec(2), name) for name in "ab"]
    fit = capacity_of(nodes, claims).fit(a_gpu_spec(4))
    assert fit.message == "needs 4 nvidia.com/gpu; 4 of 8 free on 2 matching nodes, at most 2 on one"


def test_the_cpu_is_named_when_the_gpu_is_there_but_the_cpu_beside_it_is_not() -> None:
    spec = {"containers": [{"resources": {"requests": {"cpu": "6"}, "limits": {GPU: "1"}}}]}
    nodes = [a_node_with({GPU: "1"}), a_node(name="idle-without-gpu")]
    fit = capacity_of(nodes, [a_pod("busy", a_spec(cpu="5500m"))]).fit(spec)
    assert fit.short_of == "cpu"
    assert fit.message == "needs 6 cpu; 2.5 of 8 free on 1 matching node with enough nvidia.com/gpu"


def test_memory_is_written_in_gibibytes() -> None:
    spec = {"containers": [a_container(memory="64Gi")]}
    assert capacity_of([a_node()], []).fit(spec).message == "needs 64Gi memory; 32Gi of 32Gi free on 1 matching node"


def test_a_node_with_no_pod_left_fits_nothing() -> None:
    fit = capacity_of([a_node_with({"pods": "1"})], [a_pod("one", a_spec())]).fit(a_spec())
    assert fit.message.startswith("needs 1 pods; 0 of 1 free on 1 matching node")


def test_a_taint_that_keeps_the_gpu_node_away_is_named() -> None:
    nodes = [a_node_with({GPU: "2"}, taints=[a_taint("dedicated", "training")]), a_node(name="cpu-only")]
    fit = capacity_of(nodes, []).fit(a_gpu_spec())
    assert fit.short_of is None
    assert fit.message == (
        "needs 1 nvidia.com/gpu; of 1 node with it none matches: "
        "1 has the untolerated taint dedicated=training:NoSchedule"
    )


def test_each_obstacle_is_counted() -> None:
    nodes = [
        a_node_with({GPU: "2"}, name="a", ready=False),
        a_node_with({GPU: "2"}, name="b", labels={"zone": "x"}),
        a_node_with({GPU: "2"}, name="c"),
    ]
    fit = capacity_of(nodes, []).fit(a_gpu_spec(nodeSelector={"zone": "y"}))
    assert fit.message.endswith("of 3 nodes with it none matches: 1 is not ready, 2 lacks the label zone=y")


def test_a_gpu_that_no_node_offers_names_those_that_are_offered() -> None:
    nodes = [a_node_with({"nvidia.com/mig-1g.5gb": "7"}), a_node_with({"amd.com/gpu": "4"}, name="b")]
    fit = capacity_of(nodes, []).fit(a_gpu_spec())
    assert fit.short_of == GPU
    assert fit.message == (
        "needs 1 nvidia.com/gpu; none of 2 nodes offers it (there is 4 amd.com/gpu, 7 nvidia.com/mig-1g.5gb)"
    )


def test_an_empty_cluster_is_said_so() -> None:
    assert Capacity().fit(a_gpu_spec()).message == "needs 1 nvidia.com/gpu; none of 0 nodes offers it"


def test_an_overcommitted_node_has_nothing_free_rather_than_less() -> None:
    node = a_node_with({"cpu": "1"})
    index = capacity_of([node], [a_pod("static", a_spec(cpu="3"))])
    assert index.free(node)["cpu"] == 0


# What there is room for, with the service's own pods and without them.


def a_key(name: str) -> PodKey:
    return "default", name


def test_the_own_pods_give_their_gpus_back() -> None:
    claims = [a_pod(name, a_gpu_spec()) for name in ("own-1", "own-2", "other")]
    room = capacity_of([a_node_with({GPU: "4"})], claims).room(
        "default", a_gpu_spec(), [a_key("own-1"), a_key("own-2")], serving=0
    )
    assert (room.fit.copies, room.fit_without_own.copies) == (1, 3)


def test_gpus_that_own_pods_give_back_on_several_nodes_do_not_make_a_copy() -> None:
    nodes = [a_node_with({GPU: "2"}, name=name) for name in "ab"]
    index = capacity_of(nodes, [a_pod(f"own-{name}", a_gpu_spec(2), name) for name in "ab"])
    room = index.room("default", a_gpu_spec(4), [a_key("own-a"), a_key("own-b")], serving=0)
    assert room.fit_without_own.message == ("needs 4 nvidia.com/gpu; 4 of 4 free on 2 matching nodes, at most 2 on one")


def test_an_own_pod_without_a_node_or_that_is_gone_gives_nothing_back() -> None:
    index = capacity_of([a_node_with({GPU: "1"})], [a_pod("taken", a_gpu_spec()), a_pod("own", a_gpu_spec(), None)])
    room = index.room("default", a_gpu_spec(), [a_key("own"), a_key("gone")], serving=0)
    assert room.fit_without_own == room.fit


def test_an_own_pod_that_is_named_twice_gives_back_once() -> None:
    index = capacity_of([a_node_with({GPU: "1"})], [a_pod("own", a_gpu_spec())])
    assert index.room("default", a_gpu_spec(), [a_key("own"), a_key("own")], serving=0).fit_without_own.copies == 1


def test_what_an_own_pod_gives_back_first_pays_for_an_overcommitted_node() -> None:
    claims = [a_pod("static", a_spec(cpu="2")), a_pod("own", a_spec(cpu="1"))]
    index = capacity_of([a_node_with({"cpu": "2"})], claims)
    assert index.room("default", a_spec(cpu="1"), [a_key("own")], serving=0).fit_without_own.copies == 0


def a_room_to_swap(
    new: dict[str, Any], *own: PodRequests, others: Sequence[PodRequests] = (), nodes: Sequence[Node]
) -> Room:
    return capacity_of(nodes, [*own, *others]).room("default", new, [pod.key for pod in own], serving=len(own))


@pytest.mark.parametrize(
    ("room", "can_take_turns"),
    [
        pytest.param(
            a_room_to_swap(
                a_gpu_spec(), *(a_pod(name, a_gpu_spec()) for name in "ab"), nodes=[a_node_with({GPU: "2"})]
            ),
            True,
            id="each new pod takes as much as its predecessor",
        ),
        pytest.param(
            a_room_to_swap(a_gpu_spec(2), a_pod("a", a_gpu_spec()), nodes=[a_node_with({GPU: "2"})]),
            True,
            id="what is free makes up for it",
        ),
        pytest.param(
            a_room_to_swap(
                a_gpu_spec(2), *(a_pod(name, a_gpu_spec()) for name in "abc"), nodes=[a_node_with({GPU: "4"})]
            ),
            False,
            id="what is free makes up for it once",
        ),
        pytest.param(
            a_room_to_swap(
                a_spec(cpu="1"),
                *(a_pod(name, a_spec(cpu="3")) for name in "ab"),
                others=[a_pod("static", a_spec(cpu="5"))],
                nodes=[a_node()],
            ),
            False,
            id="the first that goes pays for the overcommitted node",
        ),
        pytest.param(
            a_room_to_swap(
                a_gpu_spec(nodeSelector={"zone": "b"}),
                a_pod("a", a_gpu_spec()),
                nodes=[a_node_with({GPU: "1"}), a_node_with({GPU: "8"}, name="node-2", labels={"zone": "b"})],
            ),
            False,
            id="the new one may not run where the old one does",
        ),
        pytest.param(
            a_room_to_swap(a_gpu_spec(), a_pod("a", a_gpu_spec()), nodes=[]), False, id="the node has been deleted"
        ),
        pytest.param(
            a_room_to_swap(a_gpu_spec(), a_pod("a", a_gpu_spec(), None), nodes=[a_node()]),
            True,
            id="one without a node holds no place",
        ),
    ],
)
def test_pods_take_turns_where_every_place_holds_a_new_one(room: Room, can_take_turns: bool) -> None:
    assert room.can_take_turns is can_take_turns


@pytest.mark.parametrize(
    ("gpus", "copies", "can_take_turns"),
    [
        pytest.param(1, 2, True, id="as much as its predecessor"),
        pytest.param(2, 1, False, id="more than its predecessor"),
    ],
)
def test_where_not_all_pods_are_seen_only_what_the_own_pods_give_back_is_sure(
    gpus: int, copies: int, can_take_turns: bool
) -> None:
    own = [a_pod(name, a_gpu_spec()) for name in "ab"]
    index = capacity_of([a_node_with({GPU: "8"})], own)
    index.sees_all_pods = False
    room = index.room("default", a_gpu_spec(gpus), [pod.key for pod in own], serving=2)
    assert not room.sees_all_pods
    assert (room.fit_without_own.copies, room.can_take_turns) == (copies, can_take_turns)


def test_own_pods_count_from_when_they_have_a_node() -> None:
    pods = [a_pod("placed", a_spec()), a_pod("waiting", a_spec(), None)]
    room = capacity_of([a_node()], pods).room(
        "default", a_spec(), [*(pod.key for pod in pods), a_key("gone")], serving=1
    )
    assert (room.own, room.serving) == (1, 1)


def test_the_gpu_is_the_scarce_resource_and_only_matching_nodes_are_summed_up() -> None:
    nodes = [
        a_node_with({GPU: "4"}, name="a"),
        a_node_with({GPU: "2"}, name="b"),
        a_node_with({GPU: "8"}, name="kept", taints=[a_taint("dedicated")]),
        a_node(name="cpu-only"),
    ]
    scarce = (
        capacity_of(nodes, [a_pod("busy", a_gpu_spec(3), "a")]).room("default", a_gpu_spec(2), [], serving=0).scarce
    )
    assert scarce == Scarce(GPU, Decimal(2), free=Decimal(3), total=Decimal(6))
    assert scarce.have == "3 of 6 nvidia.com/gpu free"
    assert scarce.needed(3) == "6"


@pytest.mark.parametrize(
    ("spec", "resource", "is_for_gpus"),
    [
        pytest.param(a_mixed_spec("1", 1), GPU, True, id="a GPU before its CPUs"),
        pytest.param(a_mixed_spec("1", 0), "cpu", False, id="no GPU"),
        pytest.param(
            {"containers": [a_container(cpu="1", **{"example.com/fpga": "1"})]},
            "example.com/fpga",
            False,
            id="an extended resource that is no GPU",
        ),
    ],
)
def test_the_scarcest_kind_of_resource_is_told(spec: dict[str, Any], resource: str, is_for_gpus: bool) -> None:
    room = Capacity().room("default", spec, [], serving=0)
    assert room.scarce == Scarce(resource, Decimal(1), free=Decimal(0), total=Decimal(0))
    assert room.is_for_gpus is is_for_gpus


def test_a_pod_that_asks_for_nothing_has_no_scarce_resource() -> None:
    room = capacity_of([a_node()], []).room("default", {"containers": [{}]}, [], serving=0)
    assert (room.scarce, room.is_for_gpus, room.fit.copies) == (None, False, 110)


# Keeping up.


def test_a_heartbeat_changes_nothing_and_a_new_gpu_does() -> None:
    index = Capacity()
    assert index.put_node(a_node_with({GPU: "1"}))
    assert not index.put_node(a_node_with({GPU: "1"}))
    assert index.put_node(a_node_with({GPU: "2"}))
    assert index.drop_node("node-1")
    assert not index.drop_node("node-1")


def test_a_pod_that_moves_from_waiting_to_its_node_takes_its_share_there() -> None:
    index = capacity_of([a_node()], [])
    assert index.put_pod(a_pod("one", a_spec(cpu="2"), None)) == set()
    assert index.requested("node-1") == {}
    assert index.put_pod(a_pod("one", a_spec(cpu="2"))) == {"cpu", "pods"}
    assert index.put_pod(a_pod("one", a_spec(cpu="2"))) == set()
    assert index.requested("node-1") == {"cpu": 2, "pods": 1}
    assert index.drop_pod(("default", "one")) == {"cpu", "pods"}
    assert index.requested("node-1") == {}
    assert index.drop_pod(("default", "one")) == set()


def test_a_pod_that_is_resized_in_place_changes_what_it_had_and_what_it_has() -> None:
    index = capacity_of([a_node()], [a_pod("one", a_gpu_spec())])
    assert index.put_pod(a_pod("one", a_spec(cpu="2"))) == {GPU, "cpu", "pods"}


CHANGES = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from([None, "node-1", "node-2", "unknown"]),
        st.sampled_from(["drop", "none", "100m", "333m", "2"]),
        st.integers(0, 2),
    ),
    max_size=30,
)
NODES = [a_node_with({GPU: "2"}), a_node_with({GPU: "1"}, name="node-2")]


def after(changes: list[tuple[str, str | None, str, int]]) -> Capacity:
    index = capacity_of(NODES, [])
    for change in changes:
        changed(index, change)
    return index


def changed(index: Capacity, change: tuple[str, str | None, str, int]) -> Set[str]:
    name, node, cpu, gpus = change
    if cpu == "drop":
        return index.drop_pod(("default", name))
    # Not every pod asks for CPUs.
    return index.put_pod(a_pod(name, a_gpu_spec(gpus) if cpu == "none" else a_mixed_spec(cpu, gpus), node))


@given(CHANGES)
def test_any_history_ends_where_a_fresh_listing_would(changes: list[tuple[str, str | None, str, int]]) -> None:
    index = after(changes)
    fresh = capacity_of(index.nodes.values(), reversed(list(index.pods.values())))
    for node in ("node-1", "node-2", "unknown"):
        assert index.requested(node) == fresh.requested(node)
        assert all(amount > 0 for amount in index.requested(node).values())


@given(CHANGES, CHANGES, st.sampled_from(["100m", "1", "9"]), st.integers(0, 3))
def test_an_answer_stays_as_long_as_nothing_of_what_it_rests_on_is_taken_or_given_back(
    before: list[tuple[str, str | None, str, int]],
    later: list[tuple[str, str | None, str, int]],
    cpu: str,
    gpus: int,
) -> None:
    index, spec = after(before), a_mixed_spec(cpu, gpus)
    for change in later:
        fit = index.fit(spec)
        if not changed(index, change) & fit.rests_on:
            assert index.fit(spec) == fit


@pytest.mark.parametrize(
    ("fit", "rests_on"),
    [
        pytest.param(Capacity().fit(a_mixed_spec("1", 1)), set(), id="no nodes"),
        pytest.param(capacity_of([a_node()], []).fit(a_mixed_spec("1", 1)), set(), id="no node has GPUs"),
        pytest.param(
            capacity_of([a_node_with({GPU: "1"})], []).fit(a_mixed_spec("1", 2)),
            {GPU},
            id="too few GPUs on any node",
        ),
        pytest.param(
            capacity_of([a_node_with({GPU: "1"})], []).fit(a_mixed_spec("9", 1)),
            {GPU, "cpu"},
            id="GPUs without CPUs",
        ),
        pytest.param(
            capacity_of([a_node_with({GPU: "1"})], []).fit(
                {"containers": [a_container(**{GPU: "1", "example.com/fpga": "1"})]}
            ),
            {GPU},
            id="GPUs where another resource is never",
        ),
        pytest.param(
            capacity_of([a_node_with({GPU: "1"})], []).fit(a_mixed_spec("1", 1)), {GPU, "cpu", "pods"}, id="room"
        ),
    ],
)
def test_an_answer_rests_on_what_was_looked_at(fit: Fit, rests_on: set[str]) -> None:
    assert fit.rests_on == rests_on


@given(CHANGES, st.sampled_from(["100m", "1", "9"]), st.integers(0, 3))
def test_one_pod_less_never_means_fewer_copies(
    changes: list[tuple[str, str | None, str, int]], cpu: str, gpus: int
) -> None:
    index, spec = after(changes), a_mixed_spec(cpu, gpus)
    before = index.fit(spec)
    for key in list(index.pods):
        index.drop_pod(key)
        now = index.fit(spec)
        assert now.copies >= before.copies
        before = now


@given(CHANGES, st.sampled_from(["100m", "1", "9"]), st.integers(0, 3))
def test_as_many_copies_fit_as_can_really_be_placed(
    changes: list[tuple[str, str | None, str, int]], cpu: str, gpus: int
) -> None:
    index, spec = after(changes), a_mixed_spec(cpu, gpus)
    promised, placed = index.fit(spec), 0
    while (fit := index.fit(spec)).copies:
        index.put_pod(a_pod(f"copy-{placed}", spec, next(iter(fit.by_node))))
        placed += 1
    assert placed == promised.copies
    assert index.fit(spec).short_of is not None


@given(CHANGES, st.frozensets(st.sampled_from("abcz")), st.sampled_from(["100m", "1", "9"]), st.integers(0, 3))
def test_room_is_what_a_listing_without_the_own_pods_would_have(
    changes: list[tuple[str, str | None, str, int]], own: frozenset[str], cpu: str, gpus: int
) -> None:
    index, spec = after(changes), a_mixed_spec(cpu, gpus)
    others = capacity_of(NODES, [claim for claim in index.pods.values() if claim.name not in own])
    room = index.room("default", spec, [a_key(name) for name in own], serving=0)
    assert room.fit == index.fit(spec)
    assert room.fit_without_own == others.fit(spec)
    assert index == after(changes)


@given(CHANGES, st.sampled_from(["100m", "1"]), st.integers(0, 3))
def test_the_scarce_resource_bounds_the_copies(
    changes: list[tuple[str, str | None, str, int]], cpu: str, gpus: int
) -> None:
    room = after(changes).room("default", a_mixed_spec(cpu, gpus), [], serving=0)
    assert room.scarce is not None
    assert room.scarce.need * room.fit.copies <= room.scarce.free <= room.scarce.total
