"""How a new revision is to come: the safest way that there is room for."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.api.rollout import Strategy
from penstock.names import GPU
from penstock.rollout import capacity, placement
from penstock.rollout.claim import PodClaim, project_pod
from penstock.rollout.plan import Plan, plan
from penstock.rollout.room import Room


def a_node(name: str, gpus: int, *, cpu: int = 64, taints: Any = ()) -> placement.Node:
    allocatable = {"cpu": str(cpu), "pods": "110", **({GPU: str(gpus)} if gpus else {})}
    status = {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": "True"}]}
    return placement.project_node({"metadata": {"name": name}, "spec": {"taints": list(taints)}, "status": status})


def asking(gpus: int = 0, *, cpu: int | str = 0) -> dict[str, Any]:
    return {"containers": [{"resources": {"requests": {"cpu": str(cpu), GPU: str(gpus)}}}]}


def running(name: str, node: str, spec: Mapping[str, Any]) -> PodClaim:
    claim = project_pod(
        {"metadata": {"namespace": "ml", "name": name}, "spec": {**spec, "nodeName": node}, "status": {}}
    )
    assert claim is not None
    return claim


def a_room(
    *nodes: int,
    own: int | tuple[int, ...] = 0,
    need: int = 1,
    old_need: int = 1,
    cpu: int = 0,
    cpu_per_node: int = 64,
    taints: Any = (),
) -> Room:
    """Nodes with so many GPUs each, so many of them taken by the service's own pods, and what a new pod needs."""
    taken = (own,) if isinstance(own, int) else own
    cluster = [a_node(f"node-{i}", gpus, cpu=cpu_per_node, taints=taints) for i, gpus in enumerate(nodes)]
    claims = [
        running(f"own-{i}-{j}", f"node-{i}", asking(old_need, cpu=cpu)) for i, n in enumerate(taken) for j in range(n)
    ]
    return capacity.build(cluster, claims).room(asking(need, cpu=cpu), [claim.key for claim in claims])


def a_cpu_room(free: int, *, of: int = 8, need: int = 1) -> Room:
    """One node without GPUs, on which somebody else's pod runs."""
    other = running("other", "node", asking(cpu=of - free))
    return capacity.build([a_node("node", 0, cpu=of)], [other]).room(asking(cpu=need), [])


@pytest.mark.parametrize(
    ("wanted", "room", "planned"),
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
def test_a_plan_for_pods_with_gpus(wanted: int, room: Room, planned: Plan) -> None:
    assert plan("Auto", wanted, room) == planned


@pytest.mark.parametrize(
    ("wanted", "room", "planned"),
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
            capacity.build([a_node("node", 0)], []).room({"containers": [{}]}, []),
            Plan("RollingUpdate", None, "RollingUpdate: 110 more pods fit, a second set needs 200"),
            id="pods that ask for nothing still take one of the node's places",
        ),
        pytest.param(
            1,
            capacity.build([], []).room({"containers": [{}]}, []),
            Plan(
                "RollingUpdate",
                None,
                "RollingUpdate: no more pod fits (needs 1 pods; none of 0 nodes offers it), a second set needs 1",
            ),
            id="no nodes at all",
        ),
    ],
)
def test_a_plan_for_pods_without_gpus(wanted: int, room: Room, planned: Plan) -> None:
    assert plan("Auto", wanted, room) == planned


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


@st.composite
def rooms(draw: st.DrawFn) -> Room:
    nodes = draw(st.lists(st.integers(0, 4), max_size=3))
    need, old_need, cpu = draw(st.integers(0, 4)), draw(st.integers(0, 2)), draw(st.integers(0, 5))
    own = tuple(draw(st.integers(0, gpus // old_need if old_need else 2)) for gpus in nodes)
    return a_room(*nodes, own=own, need=need, old_need=old_need, cpu=cpu, cpu_per_node=8)


@given(st.integers(1, 6), rooms())
def test_a_plan_never_takes_a_pod_away_for_nothing(wanted: int, room: Room) -> None:
    found = plan("Auto", wanted, room)
    if found.max_surge == 0 or found.way == "Recreate":
        assert room.fit.copies == 0
        assert room.fit_without_own.copies >= 1


@given(st.integers(1, 6), rooms())
def test_only_a_single_pod_is_replaced_with_an_interruption(wanted: int, room: Room) -> None:
    assert plan("Auto", wanted, room).way != "Recreate" or wanted == 1


@given(st.integers(1, 6), rooms())
def test_a_second_set_is_started_only_where_it_fits_or_nothing_would(wanted: int, room: Room) -> None:
    if plan("Auto", wanted, room).way == "BlueGreen":
        assert room.fit.copies >= wanted or room.fit_without_own.copies == 0


@given(st.integers(1, 6), rooms())
def test_the_plan_always_begins_its_message(wanted: int, room: Room) -> None:
    found = plan("Auto", wanted, room)
    assert found.message.startswith(f"{found.way}: ")


@given(st.integers(1, 6), rooms())
def test_the_arithmetic_never_contradicts_the_plan(wanted: int, room: Room) -> None:
    message = plan("Auto", wanted, room).message
    told = re.search(r"([\d.]+) of \S+ \S+ free, a (?:second set|pod) needs ([\d.]+)", message)
    assert told is None or Decimal(told[1]) < Decimal(told[2])
