"""Auto against real controllers and a node of its own: the way it takes by what there is room for, and its end."""

from collections.abc import Iterator
from typing import Any

import pytest
from penstock.kinds import RESOURCE_QUOTA

from tests.control_plane.objects import Objects, assert_condition, blockers, image
from tests.control_plane.test_operator_blue_green import (
    LONG,
    assert_uids,
    in_phase,
    pods,
    ready_pods,
    rollout,
    serving,
    slot,
)
from tests.control_plane.test_operator_gpu import Pool, pool
from tests.control_plane.test_operator_refusals import quota
from tests.control_plane.waiting import eventually
from tests.harness.cluster import Cluster

__all__ = ["pool"]

pytestmark = pytest.mark.usefixtures("operator")


def auto(**options: Any) -> dict[str, Any]:
    return {"strategy": "Auto", "progressDeadlineSeconds": LONG, "blueGreen": {"holdSeconds": 0}, **options}


@pytest.mark.parametrize(
    ("room", "plan"),
    [
        pytest.param((4, 2), "BlueGreen: 2 more pods fit", id="a second set fits"),
        pytest.param((3, 2), "RollingUpdate: 1 of 3 nvidia.com/gpu free", id="one more pod fits"),
        pytest.param((2, 2), "RollingUpdate: 0 of 2 nvidia.com/gpu free", id="none fits beside several"),
        pytest.param((1, 1), "Recreate: 0 of 1 nvidia.com/gpu free", id="none fits beside the only one"),
        pytest.param((1, 2), "Recreate: 0 of 1 nvidia.com/gpu free", id="two are wanted and there is room for one"),
    ],
)
def test_it_takes_the_safest_way_there_is_room_for_and_finishes(
    objects: Objects, pool: Pool, name: str, room: tuple[int, int], plan: str
) -> None:
    gpus, replicas = room
    pool.grow(gpus)
    pool.serve(name, 1, rollout=auto(), minReplicas=replicas)
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("2"))
    found = eventually(lambda: serving(objects, name, "2"))
    assert found["status"]["rollout"]["plan"].startswith(plan)
    assert found["status"]["rollout"]["strategy"] == plan.partition(":")[0]
    # This operator looks after some namespaces only.
    assert found["status"]["rollout"]["plan"].endswith(" (pods outside the watched namespaces are not counted)")


def test_pods_that_an_autoscaler_wants_above_what_there_is_room_for_hold_up_nothing(
    objects: Objects, pool: Pool, name: str
) -> None:
    pool.grow(2)
    pool.serve(name, 1, rollout=auto(progressDeadlineSeconds=15), minReplicas=3)
    eventually(lambda: ready_pods(objects, name, 2))
    objects.edit(name, predictor=image("2"))

    def rolled_out() -> None:
        found = in_phase(objects, name, "Stable")
        assert found["plan"].startswith("RollingUpdate: 0 of 2 nvidia.com/gpu free: one pod stops"), found
        assert slot(objects, name, "blue") == ("2", 3)

    eventually(rolled_out)
    eventually(lambda: blockers(objects.service(name))["InsufficientGPU"])


def test_a_new_revision_that_also_wants_more_pods_takes_the_room_before_the_old_one_grows(
    objects: Objects, pool: Pool, name: str
) -> None:
    pool.grow(2)
    pool.serve(name, 1, rollout=auto())
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor={**image("2"), "minReplicas": 2, "maxReplicas": 2})
    found = eventually(lambda: serving(objects, name, "2"))
    assert found["status"]["rollout"]["plan"].startswith("RollingUpdate: 1 of 2 nvidia.com/gpu free")
    eventually(lambda: ready_pods(objects, name, 2))


@pytest.mark.parametrize("strategy", ["Auto", "RollingUpdate", "BlueGreen", "Canary"])
def test_a_broken_first_revision_never_keeps_the_last_gpu_from_its_fix(
    objects: Objects, pool: Pool, name: str, strategy: str
) -> None:
    pool.grow(1)
    pool.serve(name, 1, rollout=auto(strategy=strategy), **image("crash-loop"))
    eventually(lambda: blockers(objects.service(name))["CrashLooping"])
    objects.edit(name, predictor=image("2"))
    found = eventually(lambda: serving(objects, name, "2"))
    assert found["status"]["rollout"]["plan"].startswith("Recreate: no revision was ever rolled out")


@pytest.fixture
def priority(cluster: Cluster, name: str) -> Iterator[str]:
    """A PriorityClass, and so a quota, of this test's pods alone: the namespace is everybody's."""
    cluster.kubectl("create", "priorityclass", name, "--value=1000")
    yield name
    cluster.kubectl("delete", "priorityclass", name)


def test_a_broken_first_revision_never_keeps_its_quota_from_the_fix(objects: Objects, name: str, priority: str) -> None:
    quota(objects, name, {"pods": "2"}, of_priority=priority)
    objects.serve(name, minReplicas=2, rollout=auto(), priorityClassName=priority, **image("crash-loop"))
    eventually(lambda: blockers(objects.service(name))["CrashLooping"])
    eventually(lambda: two_pods(objects, name))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: serving(objects, name, "2"))
    eventually(lambda: ready_pods(objects, name, 2))
    objects.delete(RESOURCE_QUOTA, name)


@pytest.mark.parametrize(
    ("room", "plan"),
    [
        pytest.param((1, 1), "Recreate: 0 of 1 pods left in the quota", id="the only one"),
        pytest.param((2, 2), "RollingUpdate: 0 of 2 pods left in the quota", id="one of two"),
        pytest.param((3, 2), "RollingUpdate: 1 of 3 pods left in the quota", id="one more"),
        pytest.param((4, 2), "BlueGreen: 2 more pods fit", id="a second set"),
    ],
)
def test_a_quota_that_has_no_second_set_left_is_counted_like_a_node(
    objects: Objects, pool: Pool, name: str, priority: str, *, room: tuple[int, int], plan: str
) -> None:
    allowed, replicas = room
    pool.grow(8)
    quota(objects, name, {"pods": str(allowed)}, of_priority=priority)
    pool.serve(name, 1, rollout=auto(), minReplicas=replicas, priorityClassName=priority)
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("2"))
    found = eventually(lambda: serving(objects, name, "2"))
    assert found["status"]["rollout"]["plan"].startswith(plan)
    eventually(lambda: ready_pods(objects, name, replicas))
    objects.delete(RESOURCE_QUOTA, name)


def two_pods(objects: Objects, name: str) -> None:
    assert len(pods(objects, name)) == 2


def test_the_next_fix_of_the_only_pod_that_had_to_go_finds_its_place_free(
    objects: Objects, pool: Pool, name: str
) -> None:
    pool.grow(1)
    pool.serve(name, 1, rollout=auto())
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("crash-loop"))
    eventually(lambda: blockers(objects.service(name))["CrashLooping"])
    objects.edit(name, predictor=image("2"))
    eventually(lambda: serving(objects, name, "2"))


@pytest.mark.parametrize(
    ("gpus", "plan"),
    [
        pytest.param(1, "BlueGreen: no new pod fits even where the old ones are", id="the only pod"),
        pytest.param(2, "BlueGreen: 0 of 2 nvidia.com/gpu free, a second set needs 4", id="one of several"),
    ],
)
def test_no_pod_stops_for_a_revision_that_needs_more_gpus_than_its_place_has(
    objects: Objects, pool: Pool, name: str, gpus: int, plan: str
) -> None:
    pool.grow(gpus)
    pool.serve(name, 1, rollout=auto(progressDeadlineSeconds=5), minReplicas=gpus)
    eventually(lambda: serving(objects, name, "1"))
    before = ready_uids(objects, name)
    objects.edit(name, predictor={"model": {"resources": {"limits": {"nvidia.com/gpu": "2"}}}})
    eventually(lambda: blockers(objects.service(name))["InsufficientGPU"])
    assert rollout(objects, name)["plan"].startswith(plan)
    assert before <= ready_uids(objects, name)
    eventually(lambda: in_phase(objects, name, "RolledBack"))
    assert before <= ready_uids(objects, name)
    assert_condition(objects.service(name), "Stalled", "True", "ProgressDeadlineExceeded")


def test_no_pod_without_gpus_stops_for_a_revision_that_fits_nowhere(objects: Objects, name: str) -> None:
    asking = {"resources": {"requests": {"cpu": "1"}}}
    objects.serve(name, model=asking, rollout=auto(progressDeadlineSeconds=5), minReplicas=4)
    eventually(lambda: serving(objects, name, "1"))
    before = ready_uids(objects, name)
    objects.edit(name, predictor={"model": {"resources": {"requests": {"cpu": "100k"}}}})
    eventually(lambda: blockers(objects.service(name))["Unschedulable"])
    # A quarter of them is what the Deployment's own default would stop at once.
    assert "none stops before its successor is available" in rollout(objects, name)["plan"]
    assert before <= ready_uids(objects, name)
    eventually(lambda: in_phase(objects, name, "RolledBack"))
    assert before <= ready_uids(objects, name)


def test_capacity_that_vanishes_is_told_and_what_serves_is_left_alone(objects: Objects, pool: Pool, name: str) -> None:
    pool.grow(1)
    pool.serve(name, 1, rollout=auto(progressDeadlineSeconds=5))
    eventually(lambda: serving(objects, name, "1"))
    before = {pod["metadata"]["uid"] for pod in pods(objects, name)}
    # Explicitly two sets, though there is room for one.
    objects.edit(name, rollout={"strategy": "BlueGreen"}, predictor=image("2"))
    eventually(lambda: blockers(objects.service(name))["InsufficientGPU"])
    eventually(lambda: in_phase(objects, name, "RolledBack"))
    eventually(lambda: assert_uids(objects, name, before))
    assert_condition(objects.service(name), "Ready", "True")


def ready_uids(objects: Objects, name: str) -> set[str]:
    """The pods that serve and are not about to go."""
    return {
        pod["metadata"]["uid"]
        for pod in pods(objects, name)
        if "deletionTimestamp" not in pod["metadata"]
        and any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))
    }
