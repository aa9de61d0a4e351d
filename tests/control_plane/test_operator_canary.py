"""Canary by the number of pods, against real controllers. What pods count is for the tests with real pods."""

from typing import Any

import pytest
from penstock.kinds import DEPLOYMENT, DISRUPTION_BUDGET, INFERENCE_SERVICE, POD, SERVICE

from tests.control_plane.objects import Objects, assert_condition, image
from tests.control_plane.test_operator_blue_green import (
    act,
    in_phase,
    leads_to,
    pods,
    ready_pods,
    rollout,
    scale,
    serving,
    slot,
    stop_answering,
)
from tests.control_plane.waiting import eventually, throughout

pytestmark = pytest.mark.usefixtures("operator")

SLOT = "serving.penstock.dev/slot"
GATE = {"weight": 50, "pause": True}


def canary(*steps: dict[str, Any], deadline: int = 600) -> dict[str, Any]:
    """A rollout in which a second without traffic is proof enough: fake pods count no requests."""
    return {
        "strategy": "Canary",
        "progressDeadlineSeconds": deadline,
        "canary": {"steps": list(steps)},
        "analysis": {"intervalSeconds": 1, "durationSeconds": 1, "onNoData": "Promote"},
    }


def selector(objects: Objects, name: str) -> dict[str, str]:
    found: dict[str, str] = objects.get(SERVICE, name)["spec"]["selector"]
    return found


def sizes(objects: Objects, name: str) -> dict[str, int]:
    """Pods that each image is to have."""
    return dict(slot(objects, name, colour) for colour in ("blue", "green"))


def at_a_step(objects: Objects, name: str, **expected: Any) -> dict[str, Any]:
    found = in_phase(objects, name, "Waiting")
    assert {key: found["canary"].get(key) for key in expected} == expected, found
    return found


def test_the_new_revision_goes_from_step_to_step_and_takes_over(objects: Objects, name: str) -> None:
    steps = [{"weight": 20, "pauseSeconds": 1}, {"weight": 60, "pauseSeconds": 1}]
    objects.serve(name, rollout=canary(*steps), minReplicas=5)
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: at_a_step(objects, name, step=1, share="1 of 5 pods: 20 %"))
    assert selector(objects, name) == {"serving.penstock.dev/inferenceservice": name}
    eventually(lambda: at_a_step(objects, name, step=2, share="3 of 5 pods: 60 %"))
    assert sizes(objects, name) == {"1": 2, "2": 3}
    eventually(lambda: serving(objects, name, "2"))
    assert leads_to(objects, name) == "green"
    assert sizes(objects, name) == {"1": 0, "2": 5}


def test_while_both_serve_the_status_counts_both_and_an_autoscaler_finds_both(objects: Objects, name: str) -> None:
    objects.serve(name, rollout=canary(GATE), minReplicas=2, maxReplicas=9, scaleMetric="concurrency")
    eventually(lambda: serving(objects, name, "1"))
    scale(objects, name, 4)
    eventually(lambda: ready_pods(objects, name, 4))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: at_a_step(objects, name, share="2 of 4 pods: 50 %"))

    def counted() -> dict[str, Any]:
        """The pod too many may still be leaving."""
        found: dict[str, Any] = objects.service(name)["status"]
        assert (found["replicas"], found["readyReplicas"]) == (4, 4), found
        return found

    status = eventually(counted)
    assert SLOT not in status["selector"]
    budget = objects.get(DISRUPTION_BUDGET, name)["spec"]["selector"]["matchLabels"]
    assert budget == {"serving.penstock.dev/inferenceservice": name}
    scale(objects, name, 8)
    eventually(lambda: ready_pods(objects, name, 8))
    assert sizes(objects, name) == {"1": 4, "2": 4}
    act(objects, name, "promote")
    eventually(lambda: serving(objects, name, "2"))
    assert objects.service(name)["status"]["selector"].endswith(f"{SLOT}=green")


def test_an_abort_brings_the_old_pods_back_before_the_new_ones_go(objects: Objects, name: str) -> None:
    objects.serve(name, rollout=canary(GATE), minReplicas=4)
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: at_a_step(objects, name, step=1))
    assert sizes(objects, name) == {"1": 2, "2": 2}
    act(objects, name, "abort")
    eventually(lambda: in_phase(objects, name, "RolledBack"))
    assert (sizes(objects, name), leads_to(objects, name)) == ({"1": 4, "2": 0}, "blue")
    assert_condition(objects.service(name), "Stalled", "True", "AbortedByUser")


def test_new_pods_that_stop_answering_lose_their_share_at_once(objects: Objects, name: str) -> None:
    objects.serve(name, rollout=canary(GATE), minReplicas=2)
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: at_a_step(objects, name, step=1))
    stop_answering(objects, name, "green")
    eventually(lambda: in_phase(objects, name, "RolledBack"))
    assert_condition(objects.service(name), "Stalled", "True", "StoppedServing")
    assert sizes(objects, name) == {"1": 2, "2": 0}


@pytest.mark.parametrize("slot_of", ["blue", "green"])
def test_a_drain_of_the_only_pod_of_a_revision_ends_nothing(objects: Objects, name: str, slot_of: str) -> None:
    objects.serve(name, rollout=canary(GATE))
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: at_a_step(objects, name, step=1))
    selected = f"serving.penstock.dev/inferenceservice={name},{SLOT}={slot_of}"
    drained = objects.all(POD, selected)
    assert len(drained) == 1
    objects.delete(POD, drained[0]["metadata"]["name"])

    def replaced() -> None:
        # A step that was reached before the operator has heard of the drain says nothing.
        found = objects.all(POD, selected)
        assert [pod["metadata"]["uid"] != drained[0]["metadata"]["uid"] for pod in found] == [True]
        at_a_step(objects, name, step=1)

    eventually(replaced)
    throughout(lambda: in_phase(objects, name, "Waiting"), seconds=2)
    assert sizes(objects, name) == {"1": 1, "2": 1}
    assert SLOT not in selector(objects, name)


def test_a_first_pod_that_never_comes_up_gets_no_traffic_and_ends_it(objects: Objects, name: str) -> None:
    objects.serve(name, rollout=canary(GATE, deadline=2), minReplicas=3)
    eventually(lambda: serving(objects, name, "1"))
    before = {pod["metadata"]["uid"] for pod in pods(objects, name)}
    objects.edit(name, predictor=image("crash-loop"))
    eventually(lambda: in_phase(objects, name, "Preparing"))
    assert selector(objects, name)[SLOT] == "blue"
    eventually(lambda: in_phase(objects, name, "RolledBack"))
    assert {pod["metadata"]["uid"] for pod in pods(objects, name)} >= before
    assert_condition(objects.service(name), "Stalled", "True", "ProgressDeadlineExceeded")


def test_a_second_edit_begins_when_the_first_ones_pods_have_gone(objects: Objects, name: str) -> None:
    objects.serve(name, rollout=canary(GATE), minReplicas=2)
    stable = eventually(lambda: serving(objects, name, "1"))["status"]["rollout"]["stableRevision"]
    objects.edit(name, predictor=image("2"))
    eventually(lambda: at_a_step(objects, name, step=1))
    objects.edit(name, predictor=image("3"))

    def at_the_step_of_the_third() -> None:
        at_a_step(objects, name, step=1)
        assert sizes(objects, name) == {"1": 1, "3": 1}

    eventually(at_the_step_of_the_third)
    assert rollout(objects, name)["stableRevision"] == stable


def test_a_wiped_status_begins_the_steps_again_and_loses_no_pod(objects: Objects, name: str) -> None:
    objects.serve(name, rollout=canary({"weight": 25, "pauseSeconds": 3}, GATE), minReplicas=4)
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: at_a_step(objects, name, step=2))
    objects.patch(INFERENCE_SERVICE, name, {"status": {"rollout": None, "components": None}}, subresource="status")
    eventually(lambda: at_a_step(objects, name, step=1))
    assert sizes(objects, name) == {"1": 3, "2": 1}
    assert SLOT not in selector(objects, name)
    act(objects, name, "promote-full")
    eventually(lambda: serving(objects, name, "2"))


def test_a_paused_rollout_keeps_its_share(objects: Objects, name: str) -> None:
    objects.serve(name, rollout=canary({"weight": 50, "pauseSeconds": 2}), minReplicas=2)
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: at_a_step(objects, name, step=1))
    act(objects, name, "pause")
    throughout(lambda: in_phase(objects, name, "RolloutPaused"), seconds=3)
    assert sizes(objects, name) == {"1": 1, "2": 1}
    act(objects, name, "resume")
    eventually(lambda: serving(objects, name, "2"))


def test_the_share_is_repaired_when_somebody_changes_it(objects: Objects, name: str) -> None:
    objects.serve(name, rollout=canary(GATE), minReplicas=2)
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: at_a_step(objects, name, step=1))
    objects.patch(SERVICE, name, {"spec": {"selector": {SLOT: "green"}}})
    objects.patch(DEPLOYMENT, f"{name}-green", {"spec": {"replicas": 5}})

    def repaired() -> None:
        assert SLOT not in selector(objects, name)
        assert sizes(objects, name) == {"1": 1, "2": 1}

    eventually(repaired)
