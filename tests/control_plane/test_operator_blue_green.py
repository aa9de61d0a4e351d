"""BlueGreen and Auto against real controllers: where the traffic goes, which pods stay, and what users can do."""

import itertools
from functools import partial
from typing import Any

import pytest
from penstock.kinds import CONTROLLER_REVISION, DEPLOYMENT, INFERENCE_SERVICE, POD, SERVICE

from tests.control_plane.objects import Manifest, Objects, assert_condition, image
from tests.control_plane.operator_process import Operator
from tests.control_plane.test_operator_gpu import pool
from tests.control_plane.waiting import eventually, throughout
from tests.harness import kwok

__all__ = ["pool"]

pytestmark = pytest.mark.usefixtures("operator")

LONG, SHORT = 600, 2


def blue_green(*, hold: int = 0, deadline: int = LONG, **options: Any) -> dict[str, Any]:
    """A rollout with two slots; further words are fields of `blueGreen`."""
    return {
        "strategy": "BlueGreen",
        "progressDeadlineSeconds": deadline,
        "blueGreen": {"holdSeconds": hold, **options},
    }


def rollout(objects: Objects, name: str) -> dict[str, Any]:
    found: dict[str, Any] = objects.service(name).get("status", {}).get("rollout", {})
    return found


def in_phase(objects: Objects, name: str, phase: str) -> dict[str, Any]:
    """Raises AssertionError with the whole rollout."""
    found = rollout(objects, name)
    assert found.get("phase") == phase, found
    return found


def slot(objects: Objects, name: str, colour: str) -> tuple[str, int]:
    """The image and the number of pods that a slot is to have. Raises Missing."""
    spec = objects.get(DEPLOYMENT, f"{name}-{colour}")["spec"]
    return spec["template"]["spec"]["containers"][0]["image"].rpartition(":")[2], spec["replicas"]


def leads_to(objects: Objects, name: str) -> str:
    selector: dict[str, str] = objects.get(SERVICE, name)["spec"]["selector"]
    return selector["serving.penstock.dev/slot"]


def serving(objects: Objects, name: str, tag: str) -> Manifest:
    """The service, when nothing is on its way and this image serves. Raises AssertionError."""
    found = objects.service(name)
    assert found.get("status", {}).get("rollout", {}).get("phase") == "Stable", found.get("status")
    assert_condition(found, "Ready", "True")
    assert_condition(found, "Stalled", "False")
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    assert slot(objects, name, leads_to(objects, name))[0] == tag
    assert {pod["spec"]["containers"][0]["image"] for pod in pods(objects, name)} == {f"example/server:{tag}"}
    return found


def pods(objects: Objects, name: str) -> list[Manifest]:
    return objects.all(POD, f"serving.penstock.dev/inferenceservice={name}")


def stop_answering(objects: Objects, name: str, colour: str) -> None:
    """The slot's pods crash, and go on crashing."""
    for pod in objects.all(POD, f"serving.penstock.dev/inferenceservice={name},serving.penstock.dev/slot={colour}"):
        ill = {"metadata": {"annotations": {kwok.BEHAVIOUR: "crash-loop"}}}
        objects.patch(POD, pod["metadata"]["name"], ill)


_IDS = itertools.count()


def act(objects: Objects, name: str, verb: str) -> dict[str, Any]:
    """What became of the action."""
    asked = f"{name}-{next(_IDS)}"
    objects.annotate(name, action=f"{verb}:{asked}")

    def answered() -> dict[str, Any]:
        found: dict[str, Any] = rollout(objects, name).get("lastAction", {})
        assert found.get("id") == asked, found
        return found

    return eventually(answered)


def test_the_new_revision_takes_over_at_once_and_the_old_pods_go_after_the_hold(objects: Objects, name: str) -> None:
    objects.serve(name, rollout=blue_green(hold=3), minReplicas=2)
    eventually(lambda: serving(objects, name, "1"))
    assert leads_to(objects, name) == "blue"
    objects.edit(name, predictor=image("2"))
    held = eventually(lambda: in_phase(objects, name, "Holding"))
    assert leads_to(objects, name) == "green"
    assert (slot(objects, name, "blue"), slot(objects, name, "green")) == (("1", 2), ("2", 2))
    assert held["plan"] == "BlueGreen: as spec.rollout.strategy asks"
    eventually(lambda: serving(objects, name, "2"))
    assert slot(objects, name, "blue") == ("1", 0)
    # And back again, into the slot that is free now.
    objects.edit(name, predictor=image("3"))
    eventually(lambda: serving(objects, name, "3"))
    assert leads_to(objects, name) == "blue"


def test_the_preview_has_a_service_of_its_own_and_waits_at_the_gate(objects: Objects, name: str) -> None:
    objects.serve(name, rollout=blue_green(autoPromote=False))
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: in_phase(objects, name, "Waiting"))
    preview = objects.get(SERVICE, f"{name}-preview")
    assert preview["spec"]["selector"]["serving.penstock.dev/slot"] == "green"
    assert leads_to(objects, name) == "blue"
    found = objects.service(name)
    assert_condition(found, "Ready", "True")
    assert_condition(found, "Progressing", "True")
    assert act(objects, name, "promote")["result"] == "Done"
    eventually(lambda: serving(objects, name, "2"))


def test_a_preview_of_one_becomes_as_large_as_what_serves_before_it_takes_over(objects: Objects, name: str) -> None:
    objects.serve(name, rollout=blue_green(hold=LONG, autoPromote=False, previewReplicas=1), minReplicas=5)
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: in_phase(objects, name, "Waiting"))
    assert slot(objects, name, "green") == ("2", 1)
    act(objects, name, "promote")

    def switched() -> None:
        if leads_to(objects, name) != "green":
            raise AssertionError(rollout(objects, name))
        assert objects.get(DEPLOYMENT, f"{name}-green")["status"].get("availableReplicas", 0) >= 5

    eventually(switched)
    assert rollout(objects, name)["latchedReplicas"] == 5


def test_an_autoscaler_that_moves_through_the_gate_neither_holds_it_up_nor_shrinks_it(
    objects: Objects, name: str
) -> None:
    objects.serve(
        name, rollout=blue_green(autoPromote=False, hold=LONG), minReplicas=2, maxReplicas=9, scaleMetric="concurrency"
    )
    eventually(lambda: serving(objects, name, "1"))
    scale(objects, name, 5)
    eventually(lambda: ready_pods(objects, name, 5))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: in_phase(objects, name, "Waiting"))
    scale(objects, name, 9)
    act(objects, name, "promote")
    scale(objects, name, 4)
    eventually(lambda: in_phase(objects, name, "Holding"))
    # The new slot follows the autoscaler; the old one stays as large as it was.
    eventually(lambda: assert_slot(objects, name, "green", ("2", 4)))
    assert slot(objects, name, "blue")[1] >= 4


def scale(objects: Objects, name: str, replicas: int) -> None:
    objects.patch(INFERENCE_SERVICE, name, {"spec": {"replicas": replicas}}, subresource="scale")


def ready_pods(objects: Objects, name: str, number: int) -> None:
    assert objects.service(name)["status"]["readyReplicas"] == number


def assert_slot(objects: Objects, name: str, colour: str, expected: tuple[str, int]) -> None:
    assert slot(objects, name, colour) == expected


@pytest.mark.parametrize("behaviour", ["crash-loop", "image-pull-error"])
def test_a_revision_that_never_comes_up_is_given_up_without_touching_what_serves(
    objects: Objects, name: str, behaviour: str
) -> None:
    objects.serve(name, rollout=blue_green(deadline=SHORT))
    eventually(lambda: serving(objects, name, "1"))
    before = {pod["metadata"]["uid"] for pod in pods(objects, name)}
    objects.edit(name, predictor=image(behaviour))
    eventually(lambda: in_phase(objects, name, "RolledBack"))
    found = objects.service(name)
    assert_condition(found, "Ready", "True")
    assert_condition(found, "Stalled", "True", "ProgressDeadlineExceeded")
    eventually(lambda: assert_uids(objects, name, before))
    # The spec is the user's, and the fix is an ordinary next revision.
    objects.edit(name, predictor=image("3"))
    eventually(lambda: serving(objects, name, "3"))


def assert_uids(objects: Objects, name: str, expected: set[str]) -> None:
    assert {pod["metadata"]["uid"] for pod in pods(objects, name)} == expected


def test_the_failed_pods_stay_for_inspection_where_that_is_asked(objects: Objects, name: str) -> None:
    objects.serve(name, rollout={**blue_green(deadline=SHORT), "onFailure": "Hold"})
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("crash-loop"))
    eventually(lambda: in_phase(objects, name, "RolledBack"))
    assert slot(objects, name, "green") == ("crash-loop", 1)
    assert leads_to(objects, name) == "blue"


def test_a_crash_after_the_switch_gives_the_traffic_back_at_once(objects: Objects, name: str) -> None:
    objects.serve(name, rollout=blue_green(hold=LONG))
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: in_phase(objects, name, "Holding"))
    stop_answering(objects, name, "green")
    eventually(lambda: in_phase(objects, name, "RolledBack"))
    assert leads_to(objects, name) == "blue"
    assert_condition(objects.service(name), "Stalled", "True", "StoppedServing")


class TestActions:
    def test_abort_in_the_hold_is_one_selector_write_and_stays(self, objects: Objects, name: str) -> None:
        objects.serve(name, rollout=blue_green(hold=LONG))
        eventually(lambda: serving(objects, name, "1"))
        objects.edit(name, predictor=image("2"))
        eventually(lambda: in_phase(objects, name, "Holding"))
        assert act(objects, name, "abort")["message"].endswith("was aborted by the user")
        eventually(lambda: in_phase(objects, name, "RolledBack"))
        assert (leads_to(objects, name), slot(objects, name, "green")) == ("blue", ("2", 0))
        found = objects.service(name)
        assert_condition(found, "Stalled", "True", "AbortedByUser")
        assert found["spec"]["predictor"]["model"]["image"] == "example/server:2"
        # And once more forward, when the user wants to.
        assert act(objects, name, "retry")["result"] == "Done"
        eventually(lambda: in_phase(objects, name, "Holding"))

    def test_rollback_goes_to_an_older_revision_of_the_history(self, objects: Objects, name: str) -> None:
        objects.serve(name, rollout=blue_green())
        first = eventually(lambda: serving(objects, name, "1"))["status"]["rollout"]["stableRevision"]
        for tag in ("2", "3"):
            objects.edit(name, predictor=image(tag))
            eventually(partial(serving, objects, name, tag))
        assert act(objects, name, f"rollback={first}")["result"] == "Done"
        eventually(lambda: in_phase(objects, name, "RolledBack"))
        assert slot(objects, name, leads_to(objects, name)) == ("1", 1)
        assert rollout(objects, name)["stableRevision"] == first

    def test_pause_stands_still_until_resume(self, objects: Objects, name: str) -> None:
        objects.serve(name, rollout=blue_green(autoPromoteAfterSeconds=2))
        eventually(lambda: serving(objects, name, "1"))
        objects.edit(name, predictor=image("2"))
        eventually(lambda: in_phase(objects, name, "Waiting"))
        act(objects, name, "pause")
        throughout(lambda: in_phase(objects, name, "RolloutPaused"), seconds=3)
        assert_condition(objects.service(name), "Progressing", "False", "RolloutPaused")
        act(objects, name, "resume")
        eventually(lambda: serving(objects, name, "2"))

    def test_what_makes_no_sense_now_is_refused_and_changes_nothing(
        self, objects: Objects, name: str, operator: Operator
    ) -> None:
        objects.serve(name, rollout=blue_green())
        eventually(lambda: serving(objects, name, "1"))
        for verb in ("promote", "resume", "retry", "rollback", "rollback=0123456789", "dance"):
            found = act(objects, name, verb)
            assert (found["result"], bool(found["message"])) == ("Refused", True), verb
        operator.settle()
        serving(objects, name, "1")

    def test_an_action_is_carried_out_once_even_if_the_status_is_wiped(
        self, objects: Objects, name: str, operator: Operator
    ) -> None:
        objects.serve(name, rollout=blue_green(hold=LONG))
        eventually(lambda: serving(objects, name, "1"))
        objects.edit(name, predictor=image("2"))
        eventually(lambda: in_phase(objects, name, "Holding"))
        act(objects, name, "abort")
        eventually(lambda: in_phase(objects, name, "RolledBack"))
        act(objects, name, "retry")
        eventually(lambda: in_phase(objects, name, "Holding"))
        wiped = {"status": {"rollout": None, "components": None}}
        objects.patch(INFERENCE_SERVICE, name, wiped, subresource="status")
        eventually(lambda: in_phase(objects, name, "Holding"))
        operator.settle()
        in_phase(objects, name, "Holding")
        assert leads_to(objects, name) == "green"


class TestEdits:
    def test_a_second_edit_in_flight_takes_the_place_of_the_first(self, objects: Objects, name: str) -> None:
        objects.serve(name, rollout=blue_green(autoPromote=False))
        stable = eventually(lambda: serving(objects, name, "1"))["status"]["rollout"]["stableRevision"]
        objects.edit(name, predictor=image("crash-loop"))
        eventually(lambda: in_phase(objects, name, "Preparing"))
        objects.edit(name, predictor=image("3"))
        eventually(lambda: in_phase(objects, name, "Waiting"))
        assert rollout(objects, name)["stableRevision"] == stable
        assert (slot(objects, name, "blue"), slot(objects, name, "green")) == (("1", 1), ("3", 1))

    def test_a_spec_put_back_in_mid_flight_needs_no_new_pods(self, objects: Objects, name: str) -> None:
        objects.serve(name, rollout=blue_green(autoPromote=False))
        eventually(lambda: serving(objects, name, "1"))
        before = {pod["metadata"]["uid"] for pod in pods(objects, name)}
        objects.edit(name, predictor=image("2"))
        eventually(lambda: in_phase(objects, name, "Waiting"))
        objects.edit(name, predictor=image("1"))
        eventually(lambda: serving(objects, name, "1"))
        assert_uids(objects, name, before)

    def test_a_broken_stable_revision_never_blocks_the_fix(self, objects: Objects, name: str) -> None:
        objects.serve(name, rollout=blue_green(autoPromote=False))
        eventually(lambda: serving(objects, name, "1"))
        stop_answering(objects, name, "blue")
        eventually(lambda: assert_condition(objects.service(name), "Ready", "False"))
        objects.edit(name, predictor=image("2"))
        eventually(lambda: leads_to_green(objects, name))

    def test_a_switch_that_somebody_undoes_is_made_again(self, objects: Objects, name: str) -> None:
        objects.serve(name, rollout=blue_green())
        eventually(lambda: serving(objects, name, "1"))
        objects.edit(name, predictor=image("2"))
        eventually(lambda: serving(objects, name, "2"))
        objects.patch(SERVICE, name, {"spec": {"selector": {"serving.penstock.dev/slot": "blue"}}})
        eventually(lambda: leads_to_green(objects, name))


def leads_to_green(objects: Objects, name: str) -> None:
    assert leads_to(objects, name) == "green", rollout(objects, name)


def test_a_deleted_template_of_a_slot_is_made_again_as_it_runs(objects: Objects, name: str) -> None:
    objects.serve(name, rollout=blue_green(autoPromote=False))
    stable = eventually(lambda: serving(objects, name, "1"))["status"]["rollout"]["stableRevision"]
    objects.edit(name, predictor=image("2"))
    eventually(lambda: in_phase(objects, name, "Waiting"))
    before = {pod["metadata"]["uid"] for pod in pods(objects, name)}
    objects.delete(CONTROLLER_REVISION, f"{name}-{stable}")
    eventually(lambda: objects.get(CONTROLLER_REVISION, f"{name}-{stable}"))
    act(objects, name, "abort")
    eventually(lambda: in_phase(objects, name, "RolledBack"))
    eventually(lambda: assert_uids(objects, name, before & {pod["metadata"]["uid"] for pod in pods(objects, name)}))
    assert slot(objects, name, "blue") == ("1", 1)
