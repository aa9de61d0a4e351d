"""How a new revision is to come: the safest way that there is room for."""

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.api.rollout import Strategy
from penstock.capacity import placement
from penstock.capacity.free import Capacity
from penstock.capacity.requests import PodRequests, project_pod
from penstock.capacity.room import Room
from penstock.names import GPU
from penstock.rollout.plan import Plan, plan

from tests.builders import capacity_of


def a_node(name: str, gpus: int, *, cpu: int = 64, taints: Any = ()) -> placement.Node:
    allocatable = {"cpu": str(cpu), "pods": "110", **({GPU: str(gpus)} if gpus else {})}
    status = {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": "True"}]}
    metadata = {"name": name, "labels": {"host": name}}
    return placement.project_node({"metadata": metadata, "spec": {"taints": list(taints)}, "status": status})


def asking(gpus: int = 0, *, cpu: int | str = 0, host: str | None = None) -> dict[str, Any]:
    selector = {"nodeSelector": {"host": host}} if host else {}
    return {"containers": [{"resources": {"requests": {"cpu": str(cpu), GPU: str(gpus)}}}], **selector}


def running(name: str, node: str | None, spec: Mapping[str, Any]) -> PodRequests:
    claim = project_pod(
        {"metadata": {"namespace": "ml", "name": name}, "spec": {**spec, "nodeName": node}, "status": {}}
    )
    assert claim is not None
    return claim


def a_cluster(
    *nodes: int,
    own: int | tuple[int, ...] = 0,
    waiting: int = 0,
    old_need: int = 1,
    cpu: int = 0,
    cpu_per_node: int = 64,
    taints: Any = (),
) -> Capacity:
    """Nodes with so many GPUs each, and so many of the service's own pods on each; `waiting` ones have none."""
    taken = (own,) if isinstance(own, int) else own
    cluster = [a_node(f"node-{i}", gpus, cpu=cpu_per_node, taints=taints) for i, gpus in enumerate(nodes)]
    spec = asking(old_need, cpu=cpu)
    placed = [running(f"own-{i}-{j}", f"node-{i}", spec) for i, n in enumerate(taken) for j in range(n)]
    return capacity_of(cluster, [*placed, *(running(f"waiting-{j}", None, spec) for j in range(waiting))])


def a_room(
    *nodes: int, need: int = 1, cpu: int = 0, new_cpu: int | None = None, host: str | None = None, **rest: Any
) -> Room:
    """What there is in such a cluster for a new pod that needs so much."""
    cluster = a_cluster(*nodes, cpu=cpu, **rest)
    spec = asking(need, cpu=cpu if new_cpu is None else new_cpu, host=host)
    return cluster.room("ml", spec, list(cluster.pods), serving=sum(1 for claim in cluster.pods.values() if claim.node))


def a_cpu_room(free: int, *, of: int = 8, need: int = 1) -> Room:
    """One node without GPUs, on which somebody else's pod runs."""
    other = running("other", "node", asking(cpu=of - free))
    return capacity_of([a_node("node", 0, cpu=of)], [other]).room("ml", asking(cpu=need), [], serving=0)


@pytest.mark.parametrize(
    ("wanted", "room", "found"),
    [
        pytest.param(
            2,
            a_room(5, own=2),
            Plan("BlueGreen", None, "BlueGreen: 3 more pods fit, a second set needs 2"),
            id="a second set fits",
        ),
        pytest.param(
            1,
            a_room(2, own=1),
            Plan("BlueGreen", None, "BlueGreen: 1 more pod fits, a second set needs 1"),
            id="a second set of one fits",
        ),
        pytest.param(
            4,
            a_room(4, own=3),
            Plan("RollingUpdate", 1, "RollingUpdate: 1 of 4 nvidia.com/gpu free, a second set needs 4"),
            id="one more pod fits, a second set does not",
        ),
        pytest.param(
            2,
            a_room(4, 4, own=(1, 1), old_need=2, need=3),
            Plan(
                "RollingUpdate",
                0,
                "RollingUpdate: no more pod fits (needs 3 nvidia.com/gpu; 4 of 8 free on 2 matching nodes, at most 2 "
                "on one): one pod stops before its successor starts",
            ),
            id="GPUs of two nodes make no pod, and with those of a pod that stops they do",
        ),
        pytest.param(
            2,
            a_room(2, own=2),
            Plan(
                "RollingUpdate",
                0,
                "RollingUpdate: 0 of 2 nvidia.com/gpu free: one pod stops before its successor starts",
            ),
            id="several pods on a full node take turns",
        ),
        pytest.param(
            1,
            a_room(2, own=1, old_need=2, need=2),
            Plan(
                "Recreate",
                None,
                "Recreate: 0 of 2 nvidia.com/gpu free and 1 pod is all there is: it stops before its successor starts",
            ),
            id="one pod that fills the cluster is replaced, and it is said so",
        ),
        pytest.param(
            1,
            a_room(3, own=1, old_need=2, need=2),
            Plan(
                "Recreate",
                None,
                "Recreate: 1 of 3 nvidia.com/gpu free, a pod needs 2 and 1 pod is all there is: "
                "it stops before its successor starts",
            ),
            id="some are free, too few for a pod",
        ),
        pytest.param(
            1,
            a_room(2, own=1, need=4),
            Plan(
                "BlueGreen",
                None,
                "BlueGreen: no new pod fits even where the old ones are (needs 4 nvidia.com/gpu; 2 of 2 free on 1 "
                "matching node): what serves stays as it is",
            ),
            id="more than any node has leaves what serves alone",
        ),
        pytest.param(
            2,
            a_room(2, own=2, taints=[{"key": "dedicated", "effect": "NoSchedule"}]),
            Plan(
                "BlueGreen",
                None,
                "BlueGreen: no new pod fits even where the old ones are (needs 1 nvidia.com/gpu; of 1 node with it "
                "none matches: 1 has the untolerated taint dedicated:NoSchedule): what serves stays as it is",
            ),
            id="nodes that take no new pods leave what serves alone",
        ),
        pytest.param(
            1,
            a_room(0, own=1, old_need=0),
            Plan(
                "BlueGreen",
                None,
                "BlueGreen: no new pod fits even where the old ones are (needs 1 nvidia.com/gpu; none of 1 node offers "
                "it): what serves stays as it is",
            ),
            id="a first GPU where there is none leaves what serves alone",
        ),
        pytest.param(
            1,
            a_room(4, 4, own=(1, 1), old_need=2, need=4),
            Plan(
                "Recreate",
                None,
                "Recreate: no more pod fits (needs 4 nvidia.com/gpu; 4 of 8 free on 2 matching nodes, at most 2 on "
                "one) and 1 pod is all there is: it stops before its successor starts",
            ),
            id="GPUs of two nodes make no pod",
        ),
        pytest.param(
            2,
            a_room(2, own=2, need=2),
            Plan(
                "BlueGreen",
                None,
                "BlueGreen: 0 of 2 nvidia.com/gpu free, a second set needs 4; without the old pods 1 new pod fits, "
                "and 2 serve: what serves stays as it is",
            ),
            id="the place of one pod holds no new one, and all places too few",
        ),
        pytest.param(
            3,
            a_room(4, own=3, need=2),
            Plan(
                "BlueGreen",
                None,
                "BlueGreen: 1 of 4 nvidia.com/gpu free, a second set needs 6; without the old pods 2 new pods fit, "
                "and 3 serve: what serves stays as it is",
            ),
            id="the first new pod would fit in an old one's place, the last one would not",
        ),
        pytest.param(
            2,
            a_room(4, 4, own=(1, 1), old_need=4, host="node-0"),
            Plan(
                "Recreate",
                None,
                "Recreate: 0 of 4 nvidia.com/gpu free, and a new pod does not fit in every old one's place: all 2 "
                "pods stop before their successors start",
            ),
            id="all new pods fit where one of the old ones is, and which old one goes first cannot be chosen",
        ),
        pytest.param(
            1,
            a_room(4, 4, own=(0, 1), old_need=4, need=8),
            Plan(
                "BlueGreen",
                None,
                "BlueGreen: no new pod fits even where the old ones are (needs 8 nvidia.com/gpu; 8 of 8 free on 2 "
                "matching nodes, at most 4 on one): what serves stays as it is",
            ),
            id="the only pod is not stopped for one that fits nowhere",
        ),
        pytest.param(
            1,
            a_room(4, own=1, old_need=4, need=4, cpu=2, new_cpu=3, cpu_per_node=2),
            Plan(
                "BlueGreen",
                None,
                "BlueGreen: no new pod fits even where the old ones are (needs 3 cpu; 2 of 2 free on 1 matching node "
                "with enough nvidia.com/gpu): what serves stays as it is",
            ),
            id="the only pod is not stopped for one that lacks CPUs in its place",
        ),
        pytest.param(
            1,
            a_room(4, 2, own=(1, 0), old_need=4, need=4, host="node-1"),
            Plan(
                "BlueGreen",
                None,
                "BlueGreen: no new pod fits even where the old ones are (needs 4 nvidia.com/gpu; 2 of 2 free on 1 "
                "matching node): what serves stays as it is",
            ),
            id="the only pod is not stopped for one that may not run in its place",
        ),
        pytest.param(
            2,
            a_room(1, own=1, waiting=1),
            Plan(
                "Recreate",
                None,
                "Recreate: 0 of 1 nvidia.com/gpu free and 1 pod is all there is: it stops before its successor starts",
            ),
            id="two are wanted and one has a place: the Deployment controller would wait for the other for ever",
        ),
        pytest.param(
            3,
            a_room(2, own=2, waiting=1),
            Plan(
                "RollingUpdate",
                0,
                "RollingUpdate: 0 of 2 nvidia.com/gpu free: one pod stops before its successor starts; 1 of 3 pods, "
                "for which there is no room, come after it",
            ),
            id="more are wanted than have a place, and what they wait for is said",
        ),
        pytest.param(
            2,
            a_room(8, own=2, cpu=3, cpu_per_node=8),
            Plan(
                "RollingUpdate",
                0,
                "RollingUpdate: no more pod fits (needs 3 cpu; 2 of 8 free on 1 matching node with enough "
                "nvidia.com/gpu): one pod stops before its successor starts",
            ),
            id="the CPUs beside the GPUs are what is missing",
        ),
        pytest.param(
            2,
            a_room(8, own=2, cpu=2, cpu_per_node=7),
            Plan("RollingUpdate", 1, "RollingUpdate: 1 more pod fits, a second set needs 2"),
            id="the GPUs alone would do for a second set, the CPUs beside them do not",
        ),
    ],
)
def test_a_plan_for_pods_with_gpus(wanted: int, room: Room, found: Plan) -> None:
    assert plan("Auto", wanted, room) == found


@pytest.mark.parametrize(
    ("wanted", "room", "found"),
    [
        pytest.param(
            2,
            a_cpu_room(3),
            Plan("BlueGreen", None, "BlueGreen: 3 more pods fit, a second set needs 2"),
            id="a second set fits",
        ),
        pytest.param(
            2,
            a_cpu_room(1),
            Plan("RollingUpdate", None, "RollingUpdate: 1 of 8 cpu free, a second set needs 2"),
            id="a part of one fits",
        ),
        pytest.param(
            1,
            a_cpu_room(0),
            Plan("RollingUpdate", None, "RollingUpdate: 0 of 8 cpu free, a second set needs 1"),
            id="none fits: one pod is not stopped for it",
        ),
        pytest.param(
            1,
            a_cpu_room(0, need=16),
            Plan("RollingUpdate", None, "RollingUpdate: 0 of 8 cpu free, a second set needs 16"),
            id="more than any node has",
        ),
        pytest.param(
            200,
            capacity_of([a_node("node", 0)], []).room("ml", {"containers": [{}]}, [], serving=0),
            Plan("RollingUpdate", None, "RollingUpdate: 110 more pods fit, a second set needs 200"),
            id="pods that ask for nothing still take one of the node's places",
        ),
        pytest.param(
            1,
            capacity_of([], []).room("ml", {"containers": [{}]}, [], serving=0),
            Plan(
                "RollingUpdate",
                None,
                "RollingUpdate: no more pod fits (needs 1 pods; none of 0 nodes offers it), a second set needs 1",
            ),
            id="no nodes at all",
        ),
    ],
)
def test_a_plan_for_pods_without_gpus(wanted: int, room: Room, found: Plan) -> None:
    assert plan("Auto", wanted, room) == found


@pytest.mark.parametrize(
    ("wanted", "serving", "all_that_stop"),
    [
        pytest.param(2, 1, "all 2 pods stop before their successors start", id="as many fit as serve"),
        pytest.param(
            2,
            0,
            "all 2 pods stop before their successors start",
            id="nothing serves: what is broken never blocks the fix",
        ),
        pytest.param(1, 2, "it stops before its successor starts", id="as many fit as are wanted"),
    ],
)
def test_pods_whose_places_hold_as_many_new_ones_as_it_takes_are_replaced_together(
    wanted: int, serving: int, all_that_stop: str
) -> None:
    found = plan("Auto", wanted, replace(a_room(2, own=2, need=2), serving=serving))
    assert found.way == "Recreate"
    assert found.message.endswith(f": {all_that_stop}")


@pytest.mark.parametrize(
    ("room", "max_surge"),
    [
        pytest.param(a_room(0, own=4, need=0, old_need=0, cpu=2, cpu_per_node=8), None, id="each in its place"),
        pytest.param(
            a_room(0, own=4, need=0, old_need=0, cpu=2, new_cpu=3, cpu_per_node=8), 1, id="not in an old one's place"
        ),
        pytest.param(
            a_room(0, own=4, need=0, old_need=0, cpu=2, new_cpu=3, cpu_per_node=11),
            1,
            id="one now, but no more in the old ones' places",
        ),
        pytest.param(
            a_room(0, 0, own=(4, 0), need=0, old_need=0, cpu=2, cpu_per_node=8, host="node-1", new_cpu=4),
            1,
            id="some now, but none where the old ones are",
        ),
    ],
)
def test_the_spec_s_pace_is_kept_only_where_the_pods_that_it_stops_make_place_for_new_ones(
    room: Room, max_surge: int | None
) -> None:
    found = plan("Auto", 4, room)
    assert (found.way, found.max_surge) == ("RollingUpdate", max_surge)


def test_a_pace_other_than_the_spec_s_is_said() -> None:
    room = a_room(0, own=4, need=0, old_need=0, cpu=2, new_cpu=16, cpu_per_node=8)
    assert plan("Auto", 4, room).message == (
        "RollingUpdate: 0 of 8 cpu free, a second set needs 64; a new pod does not fit in every old one's place: none "
        "stops before its successor is available"
    )


@pytest.mark.parametrize(("wanted", "way"), [(2, "BlueGreen"), (5, "RollingUpdate")])
def test_a_plan_that_may_have_missed_pods_says_so(wanted: int, way: str) -> None:
    found = plan("Auto", wanted, replace(a_room(5, own=2), sees_all_pods=False))
    assert found.way == way
    assert found.message.endswith(" (pods outside the watched namespaces are not counted)")


def test_the_only_pod_is_not_stopped_for_room_that_an_unseen_pod_may_have() -> None:
    cluster = a_cluster(2, own=1)
    cluster.sees_all_pods = False
    assert plan("Auto", 1, cluster.room("ml", asking(2), list(cluster.pods), serving=1)).message == (
        "BlueGreen: no new pod fits even where the old ones are (needs 2 nvidia.com/gpu; 1 of 2 free on 1 matching "
        "node): what serves stays as it is (pods outside the watched namespaces are not counted)"
    )


@pytest.mark.parametrize("strategy", ["RollingUpdate", "Recreate", "BlueGreen"])
@pytest.mark.parametrize("room", [None, a_room(2, own=2)], ids=["nothing known", "a full cluster"])
@pytest.mark.parametrize("wanted", [0, 2])
def test_a_strategy_that_is_asked_for_is_taken_whatever_there_is_room_for(
    strategy: Strategy, room: Room | None, wanted: int
) -> None:
    found = plan(strategy, wanted, room)
    assert (found.way, found.max_surge) == (strategy, None)
    assert found.message == f"{strategy}: as spec.rollout.strategy asks"


@pytest.mark.parametrize("room", [None, a_room(2), a_room(2, own=2)], ids=["nothing known", "room", "no room"])
def test_without_wanted_pods_nothing_has_to_fit(room: Room | None) -> None:
    told = "RollingUpdate: no pods are wanted, so nothing has to fit"
    assert plan("Auto", 0, room) == Plan("RollingUpdate", None, told)


def test_nodes_of_which_nothing_is_known_leave_the_pace_to_the_spec() -> None:
    told = "RollingUpdate: nothing is known of the nodes, so the pace is that of the spec"
    assert plan("Auto", 2, None) == Plan("RollingUpdate", None, told)


Case = tuple[Capacity, dict[str, Any], int]


@st.composite
def rooms(draw: st.DrawFn) -> Case:
    """A cluster with the service's own pods, the new revision's pod, and how many of the old ones serve."""
    old_need, cpu = draw(st.integers(0, 2)), draw(st.sampled_from([0, 0, 2]))
    own = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple))
    nodes = [pods * old_need + draw(st.integers(0, 2)) for pods in own]
    cluster = a_cluster(*nodes, own=own, old_need=old_need, cpu=cpu, cpu_per_node=7)
    host = draw(st.sampled_from([None, None, None, "node-0"]))
    spec = asking(draw(st.integers(max(old_need - 1, 0), old_need + 1)), cpu=draw(st.integers(0, cpu + 1)), host=host)
    return cluster, spec, draw(st.integers(0, sum(own)))


def in_a(case: Case) -> Room:
    cluster, spec, serving = case
    return cluster.room("ml", spec, list(cluster.pods), serving=serving)


@given(st.integers(1, 6), rooms(), st.randoms(use_true_random=False))
def test_every_pod_that_stops_first_makes_place_for_a_new_one_whichever_it_is(
    wanted: int, case: Case, random: Random
) -> None:
    cluster, spec, _ = case
    found = plan("Auto", wanted, in_a(case))
    if found.way != "RollingUpdate" or found.max_surge == 1:
        return
    own = list(cluster.pods)
    random.shuffle(own)
    for number, key in enumerate(own):
        cluster.drop_pod(key)
        fit = cluster.fit(spec)
        assert fit.copies >= 1
        cluster.put_pod(running(f"new-{number}", random.choice(list(fit.by_node)), spec))


@given(st.integers(1, 6), rooms())
def test_pods_are_replaced_together_only_where_that_leaves_no_fewer(wanted: int, case: Case) -> None:
    cluster, spec, serving = case
    if plan("Auto", wanted, in_a(case)).way != "Recreate":
        return
    assert cluster.fit(spec).copies == 0
    for key in list(cluster.pods):
        cluster.drop_pod(key)
    assert cluster.fit(spec).copies >= max(min(wanted, serving), 1)


@given(st.integers(1, 6), rooms())
def test_several_pods_stop_together_only_where_they_cannot_take_turns(wanted: int, case: Case) -> None:
    room = in_a(case)
    if plan("Auto", wanted, room).way == "Recreate":
        assert wanted == 1 or room.own == 1 or not room.can_take_turns


@given(st.integers(1, 6), rooms())
def test_a_second_set_is_started_only_where_it_fits_or_nothing_may_be_stopped(wanted: int, case: Case) -> None:
    room, serving = in_a(case), case[2]
    if plan("Auto", wanted, room).way == "BlueGreen" and room.fit.copies < wanted:
        assert room.fit.copies == 0
        assert room.fit_without_own.copies < max(min(wanted, serving), 1)


@given(st.integers(1, 6), rooms())
def test_the_plan_always_begins_its_message(wanted: int, case: Case) -> None:
    found = plan("Auto", wanted, in_a(case))
    assert found.message.startswith(f"{found.way}: ")


@given(st.integers(1, 6), rooms())
def test_the_arithmetic_never_contradicts_the_plan(wanted: int, case: Case) -> None:
    message = plan("Auto", wanted, in_a(case)).message
    told = re.search(r"([\d.]+) of \S+ \S+ free, a (?:second set|pod) needs ([\d.]+)", message)
    assert told is None or Decimal(told[1]) < Decimal(told[2])
