"""Rollouts by the defaults and in place, the way back at the deadline, and what stops and restarts a rollout."""

from pathlib import Path
from typing import Any

import pytest
from penstock.kinds import CONTROLLER_REVISION, DEPLOYMENT, POD

from tests.control_plane.objects import REPLICA_SET, Manifest, Objects, assert_condition, blockers, image
from tests.control_plane.operator_process import Installation, Operator
from tests.control_plane.waiting import eventually, throughout

pytestmark = pytest.mark.usefixtures("operator")

SHORT = {"progressDeadlineSeconds": 2}


def rolled_out(objects: Objects, name: str, tag: str) -> Manifest:
    """The service, when this image and no other runs. Raises AssertionError."""
    found = objects.service(name)
    assert_condition(found, "Ready", "True")
    assert_condition(found, "Progressing", "False", "Stable")
    assert_condition(found, "Stalled", "False")
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    assert images(objects, name) == {f"example/server:{tag}"}
    return found


def pods(objects: Objects, name: str) -> list[Manifest]:
    return objects.all(POD, f"serving.penstock.dev/inferenceservice={name}")


def images(objects: Objects, name: str) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in pods(objects, name)}


def uids(objects: Objects, name: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods(objects, name)}


def revision(service: Manifest) -> str:
    return str(service["status"]["components"]["predictor"]["latestRolledoutRevision"])


def given_up(objects: Objects, name: str) -> Manifest:
    found = objects.service(name)
    assert_condition(found, "Stalled", "True", "ProgressDeadlineExceeded")
    assert found["status"]["rollout"]["phase"] == "RolledBack"
    assert images(objects, name) == {"example/server:1"}
    return found


def test_a_new_image_rolls_and_the_service_stays_ready(objects: Objects, name: str) -> None:
    objects.serve(name, minReplicas=2)
    first = revision(eventually(lambda: rolled_out(objects, name, "1")))
    ready = assert_condition(objects.service(name), "Ready", "True")
    objects.edit(name, predictor=image("2"))
    found = eventually(lambda: rolled_out(objects, name, "2"))
    assert found["status"]["components"]["predictor"]["previousRolledoutRevision"] == first
    # It never was anything else: the time of the last change is that of the first start.
    assert assert_condition(found, "Ready", "True")["lastTransitionTime"] == ready["lastTransitionTime"]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("crash-loop", "CrashLooping"), ("oom", "OOMKilled"), ("image-pull-error", "ImagePullFailed")],
)
def test_a_failing_revision_goes_back_at_the_deadline_and_recovers_when_fixed(
    objects: Objects, name: str, behaviour: str, reason: str
) -> None:
    objects.serve(name, rollout=SHORT)
    good = revision(eventually(lambda: rolled_out(objects, name, "1")))
    serving = uids(objects, name)
    objects.edit(name, predictor=image(behaviour))
    eventually(lambda: assert_blocked(objects, name, reason))
    assert_condition(objects.service(name), "Ready", "True")

    found = eventually(lambda: given_up(objects, name))
    assert_condition(found, "Ready", "True")
    assert reason in assert_condition(found, "Stalled", "True")["message"]
    assert found["spec"]["predictor"]["model"]["image"] == f"example/server:{behaviour}"
    assert revision(found) == good
    assert found["status"]["modelStatus"]["lastFailureInfo"]["reason"] == reason
    assert uids(objects, name) == serving

    objects.edit(name, predictor=image("3"))
    eventually(lambda: rolled_out(objects, name, "3"))


def assert_blocked(objects: Objects, name: str, reason: str) -> None:
    assert reason in blockers(objects.service(name))


def test_a_failed_revision_is_not_tried_again_by_itself(objects: Objects, name: str, operator: Operator) -> None:
    objects.serve(name, rollout=SHORT)
    eventually(lambda: rolled_out(objects, name, "1"))
    objects.edit(name, predictor=image("crash-loop"))
    eventually(lambda: given_up(objects, name))
    operator.settle()
    given_up(objects, name)


def test_going_back_to_the_stable_spec_ends_the_failure(objects: Objects, name: str) -> None:
    objects.serve(name, rollout={"progressDeadlineSeconds": 600})
    eventually(lambda: rolled_out(objects, name, "1"))
    serving = uids(objects, name)
    objects.edit(name, predictor=image("crash-loop"))
    eventually(lambda: assert_blocked(objects, name, "CrashLooping"))
    objects.edit(name, predictor=image("1"))
    eventually(lambda: rolled_out(objects, name, "1"))
    assert uids(objects, name) == serving


def test_a_first_revision_that_fails_keeps_trying_and_says_so(objects: Objects, name: str) -> None:
    objects.serve(name, rollout=SHORT, **image("crash-loop"))
    found = eventually(lambda: stalled(objects, name))
    assert_condition(found, "Ready", "False", "CrashLooping")
    assert found["status"]["phase"] == "Degraded"
    objects.edit(name, predictor=image("1"))
    eventually(lambda: rolled_out(objects, name, "1"))


def stalled(objects: Objects, name: str) -> Manifest:
    found = objects.service(name)
    assert_condition(found, "Stalled", "True", "ProgressDeadlineExceeded")
    return found


def test_a_pod_that_breaks_later_makes_the_service_unready_at_once(objects: Objects, name: str) -> None:
    objects.serve(name)
    eventually(lambda: rolled_out(objects, name, "1"))
    behave(objects, name, "crash-loop")
    eventually(lambda: assert_condition(objects.service(name), "Ready", "False", "CrashLooping"), within=4)
    behave(objects, name, "recovered")
    eventually(lambda: rolled_out(objects, name, "1"))


def behave(objects: Objects, name: str, behaviour: str) -> None:
    for pod in pods(objects, name):
        patch = {"metadata": {"annotations": {"kwok.penstock.dev/behaviour": behaviour}}}
        objects.patch(POD, pod["metadata"]["name"], patch)


def test_paused_means_hands_off_and_the_clock_stands_still(objects: Objects, name: str) -> None:
    objects.serve(name, rollout=SHORT)
    eventually(lambda: rolled_out(objects, name, "1"))
    objects.annotate(name, paused="looking into it")
    eventually(lambda: assert_paused(objects, name))
    objects.edit(name, predictor=image("crash-loop"))
    objects.patch(DEPLOYMENT, f"{name}-blue", {"spec": {"minReadySeconds": 7}})
    eventually(lambda: assert_observed(objects, name))
    # Longer than the deadline: the rollout must not be given up for time in which nobody could act.
    throughout(lambda: assert_paused(objects, name), seconds=3)
    found = assert_paused(objects, name)
    assert_condition(found, "Stalled", "False")
    assert found["status"]["phase"] == "Paused"
    assert images(objects, name) == {"example/server:1"}
    assert objects.get(DEPLOYMENT, f"{name}-blue")["spec"]["minReadySeconds"] == 7

    objects.edit(name, predictor=image("2"))
    objects.annotate(name, paused=None)
    eventually(lambda: rolled_out(objects, name, "2"))
    assert objects.get(DEPLOYMENT, f"{name}-blue")["spec"].get("minReadySeconds", 0) == 0


def assert_paused(objects: Objects, name: str) -> Manifest:
    found = objects.service(name)
    told = assert_condition(found, "Reconciling", "False", "PausedByUser")
    assert "looking into it" in told["message"]
    return found


def assert_observed(objects: Objects, name: str) -> Manifest:
    found = objects.service(name)
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    return found


def test_a_restart_makes_a_new_revision_of_the_same_spec(objects: Objects, name: str) -> None:
    objects.serve(name)
    first = revision(eventually(lambda: rolled_out(objects, name, "1")))
    serving = uids(objects, name)
    objects.annotate(name, restarted_at="2026-01-01T00:00:00Z")
    eventually(lambda: assert_not(revision(objects.service(name)), first))
    eventually(lambda: assert_none_left(objects, name, serving))
    rolled_out(objects, name, "1")


def assert_none_left(objects: Objects, name: str, before: set[str]) -> None:
    assert not uids(objects, name) & before


def assert_not(one: Any, other: Any) -> None:
    assert one != other


def test_suspend_takes_the_pods_and_resume_brings_the_same_revision_back(objects: Objects, name: str) -> None:
    objects.serve(name, minReplicas=2)
    first = revision(eventually(lambda: rolled_out(objects, name, "1")))
    objects.edit(name, suspend=True)
    eventually(lambda: assert_suspended(objects, name))
    objects.edit(name, suspend=False)
    found = eventually(lambda: rolled_out(objects, name, "1"))
    assert revision(found) == first
    assert len(pods(objects, name)) == 2


def assert_suspended(objects: Objects, name: str) -> None:
    found = objects.service(name)
    assert_condition(found, "Ready", "False", "Suspended")
    assert found["status"]["phase"] == "Suspended"
    assert pods(objects, name) == []


def test_recreate_never_runs_two_revisions_at_once(objects: Objects, name: str) -> None:
    objects.serve(name, rollout={"strategy": "Recreate"}, minReplicas=2)
    eventually(lambda: rolled_out(objects, name, "1"))
    assert objects.get(DEPLOYMENT, f"{name}-blue")["spec"]["strategy"] == {"type": "Recreate"}
    objects.edit(name, predictor=image("2"))

    def watched() -> None:
        assert len(images(objects, name)) <= 1 or pytest.fail("two revisions run at once")
        rolled_out(objects, name, "2")

    eventually(watched)


def test_a_strategy_edited_in_mid_flight_waits_for_the_next_revision(objects: Objects, name: str) -> None:
    objects.serve(name, rollout={"strategy": "RollingUpdate"})
    eventually(lambda: rolled_out(objects, name, "1"))
    objects.edit(name, predictor=image("never-ready"))
    eventually(lambda: assert_phase(objects, name, "Progressing"))
    objects.edit(name, rollout={"strategy": "Recreate"})
    eventually(lambda: assert_observed(objects, name))
    assert objects.get(DEPLOYMENT, f"{name}-blue")["spec"]["strategy"]["type"] == "RollingUpdate"
    assert_condition(objects.service(name), "Ready", "True")


def assert_phase(objects: Objects, name: str, phase: str) -> None:
    assert objects.service(name)["status"]["rollout"]["phase"] == phase


def test_only_so_many_old_revisions_are_kept(objects: Objects, name: str) -> None:
    objects.serve(name, rollout={"revisionHistoryLimit": 2})
    seen = []
    for tag in ("1", "2", "3", "4", "5"):
        objects.edit(name, predictor=image(tag))
        seen.append(revision(eventually(lambda tag=tag: rolled_out(objects, name, tag))))  # type: ignore[misc]
    kept = eventually(lambda: assert_kept(objects, name, 3))
    assert kept == {f"{name}-{each}" for each in seen[-3:]}


def assert_kept(objects: Objects, name: str, count: int) -> set[str]:
    found = objects.all(CONTROLLER_REVISION, f"serving.penstock.dev/inferenceservice={name}")
    assert len(found) == count
    return {each["metadata"]["name"] for each in found}


def test_another_version_of_the_operator_restarts_nothing(
    own_objects: Objects, own_installation: Installation, tmp_path: Path, name: str
) -> None:
    """The stored template outlives the rendering: here another server image, and other ports, probes and volumes."""
    before = Operator(own_installation, tmp_path, {"PENSTOCK_SERVER_IMAGE": "example/server:old"})
    before.start().wait_until_leading()
    own_objects.serve(name, model={"image": None})
    found = eventually(lambda: rolled_out(own_objects, name, "old"))
    deployment = own_objects.get(DEPLOYMENT, f"{name}-blue")
    stored = own_objects.all(CONTROLLER_REVISION)
    assert before.stop() == 0

    after = Operator(own_installation, tmp_path, {"PENSTOCK_SERVER_IMAGE": "example/server:new"}, program=OTHER_VERSION)
    after.start().wait_until_leading()
    own_objects.annotate(name, looked="yes")
    after.settle()
    try:
        assert (
            own_objects.get(DEPLOYMENT, f"{name}-blue")["metadata"]["generation"]
            == deployment["metadata"]["generation"]
        )
        assert own_objects.all(CONTROLLER_REVISION) == stored
        assert revision(own_objects.service(name)) == revision(found)
        # From the next revision on, the new rendering is used.
        own_objects.annotate(name, restarted_at="now")
        eventually(lambda: rolled_out(own_objects, name, "new"))
        template = own_objects.get(DEPLOYMENT, f"{name}-green")["spec"]["template"]
        assert template["metadata"]["annotations"] == {"rendered-by": "another-version"}
    finally:
        after.end()


OTHER_VERSION = """
import sys
from penstock.cli import main
from penstock.desired import pod

rendered = pod.template

def template(*args, **options):
    found = rendered(*args, **options)
    return {**found, "metadata": {**found["metadata"], "annotations": {"rendered-by": "another-version"}}}

pod.template = template
sys.exit(main.main(sys.argv[1:]))
"""


def test_a_rollout_in_place_leaves_one_replica_set_to_go_back_to(objects: Objects, name: str) -> None:
    objects.serve(name, rollout={"strategy": "RollingUpdate"})
    for tag in ("1", "2", "3"):
        objects.edit(name, predictor=image(tag))
        eventually(lambda tag=tag: rolled_out(objects, name, tag))  # type: ignore[misc]
    eventually(lambda: assert_replica_sets(objects, name, 2))


def assert_replica_sets(objects: Objects, name: str, count: int) -> None:
    assert len(objects.all(REPLICA_SET, f"serving.penstock.dev/inferenceservice={name}")) == count
