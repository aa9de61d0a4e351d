"""Who owns `spec.replicas`: the user or an autoscaler, never the operator beyond the first number."""

from pathlib import Path
from typing import Any

import pytest
from penstock.kinds import AUTOSCALER, DEPLOYMENT, INFERENCE_SERVICE

from tests.control_plane.audit import Audit, Request
from tests.control_plane.objects import Manifest, Missing, Objects, assert_condition
from tests.control_plane.operator_process import Installation, Operator
from tests.control_plane.waiting import eventually
from tests.harness.cluster import Cluster

pytestmark = pytest.mark.usefixtures("operator")

AUTOSCALED: dict[str, Any] = {"minReplicas": 1, "maxReplicas": 5, "scaleMetric": "concurrency"}


def seeded(objects: Objects, name: str) -> int:
    found = objects.service(name)
    assert "replicas" in found["spec"]
    return int(found["spec"]["replicas"])


def seeds(audit: Audit, operator: Operator, name: str) -> list[Request]:
    """The operator's accepted writes of the number; it must make no other write that could touch it."""
    asked = [r for r in audit.requests(operator.installation.user) if r.name == name and r.is_write]
    own = [r for r in asked if r.resource.startswith("inferenceservices") and r.code < 400]
    assert {r.resource for r in own} <= {"inferenceservices/status", "inferenceservices/scale"}
    return [r for r in own if r.resource == "inferenceservices/scale"]


def runs(objects: Objects, name: str, replicas: int) -> None:
    deployment = objects.get(DEPLOYMENT, f"{name}-blue")
    assert deployment["spec"]["replicas"] == replicas
    assert deployment["status"].get("readyReplicas", 0) == replicas


def scale(objects: Objects, name: str, replicas: int, manager: str) -> None:
    """As an autoscaler does it: through the subresource."""
    scaler = Objects(objects.client, objects.namespace, manager=manager)
    scaler.patch(INFERENCE_SERVICE, name, {"spec": {"replicas": replicas}}, subresource="scale")


def test_the_real_autoscaler_is_heard_and_its_missing_metric_told(objects: Objects, name: str) -> None:
    """Its minimum above the number at hand makes the HPA write `/scale` without any metric."""
    objects.serve(name, **AUTOSCALED)
    eventually(lambda: seeded(objects, name))
    objects.edit(name, predictor={"minReplicas": 2})

    def scaled() -> Manifest:
        found = objects.service(name)
        assert found["spec"]["replicas"] == 2
        return found

    # The controllers look at each HPA every 15 seconds.
    eventually(scaled, within=40)
    eventually(lambda: runs(objects, name, 2))
    eventually(lambda: assert_condition(objects.service(name), "AutoscalingActive", "False", "MetricMissing"))
    assert_condition(objects.service(name), "Ready", "True")


def test_the_first_number_is_written_once_and_within_the_bounds(
    objects: Objects, operator: Operator, audit: Audit, name: str
) -> None:
    objects.serve(name, minReplicas=2, maxReplicas=4)
    assert eventually(lambda: seeded(objects, name)) == 2
    eventually(lambda: runs(objects, name, 2))
    eventually(lambda: assert_stable(objects, name))
    written = seeds(audit, operator, name)
    assert ["fieldManager=penstock-seed" in request.uri for request in written] == [True]


def assert_stable(objects: Objects, name: str) -> Manifest:
    found = objects.service(name)
    assert_condition(found, "Progressing", "False", "Stable")
    return found


def test_a_fixed_size_needs_no_first_number(objects: Objects, name: str) -> None:
    objects.serve(name, minReplicas=2)
    found = eventually(lambda: assert_stable(objects, name))
    assert "replicas" not in found["spec"]
    assert_condition(found, "AutoscalingActive", "False", "FixedSize")
    with pytest.raises(Missing):
        objects.get(AUTOSCALER, name)


def test_replicas_that_were_removed_are_seeded_from_what_serves(objects: Objects, name: str) -> None:
    objects.serve(name, **AUTOSCALED)
    eventually(lambda: seeded(objects, name))
    scale(objects, name, 3, "horizontal-pod-autoscaler")
    eventually(lambda: runs(objects, name, 3))
    eventually(lambda: assert_stable(objects, name))
    objects.edit(name, replicas=None)
    assert eventually(lambda: seeded(objects, name)) == 3
    runs(objects, name, 3)


def test_kubectl_scale_works_on_a_fixed_size(cluster: Cluster, objects: Objects, name: str) -> None:
    objects.serve(name, minReplicas=1, replicas=1)
    eventually(lambda: runs(objects, name, 1))
    cluster.kubectl("scale", f"isvc/{name}", "--replicas=3", f"--namespace={objects.namespace}")
    eventually(lambda: runs(objects, name, 3))
    eventually(lambda: assert_reports(objects, name, 3))


def assert_reports(objects: Objects, name: str, replicas: int) -> None:
    status = objects.service(name)["status"]
    assert (status.get("replicas"), status.get("readyReplicas")) == (replicas, replicas)


def test_zero_replicas_suspend_and_say_so(objects: Objects, name: str) -> None:
    objects.serve(name, **AUTOSCALED)
    eventually(lambda: seeded(objects, name))
    eventually(lambda: assert_stable(objects, name))
    scale(objects, name, 0, "kubectl")
    eventually(lambda: runs(objects, name, 0))

    def off() -> Manifest:
        found = objects.service(name)
        assert_condition(found, "AutoscalingActive", "False", "ScaledToZeroByUser")
        assert_condition(found, "Ready", "False", "ScaledToZeroByUser")
        assert_condition(found, "Stalled", "False")
        assert found["status"]["phase"] == "Suspended"
        return found

    assert eventually(off)["spec"]["replicas"] == 0
    scale(objects, name, 2, "kubectl")
    eventually(lambda: runs(objects, name, 2))
    eventually(lambda: assert_condition(objects.service(name), "Ready", "True"))


@pytest.mark.parametrize(("asked", "given"), [(99, 5), (1, 2)], ids=["above the maximum", "below the minimum"])
def test_an_autoscaled_number_is_kept_within_its_bounds(objects: Objects, name: str, asked: int, given: int) -> None:
    objects.serve(name, minReplicas=2, maxReplicas=5, replicas=asked)
    eventually(lambda: runs(objects, name, given))
    # The wish itself stays the user's.
    assert objects.service(name)["spec"]["replicas"] == asked


ALL_THE_TIME: dict[str, Any] = {"start": "* * * * *", "end": "0 0 1 1 *", "minReplicas": 3}


def assert_at_least(objects: Objects, name: str, pods: int) -> Manifest:
    """The autoscaler's bound, the status and the pods agree."""
    assert objects.get(AUTOSCALER, name)["spec"]["minReplicas"] == pods
    runs(objects, name, pods)
    found = objects.service(name)
    assert found["status"]["autoscaling"]["minReplicas"] == pods
    return found


def message(service: Manifest) -> str:
    """What AutoscalingActive says."""
    conditions = {each["type"]: each["message"] for each in service["status"]["conditions"]}
    return str(conditions["AutoscalingActive"])


def test_a_schedule_in_force_raises_the_least_number_and_is_told(objects: Objects, name: str) -> None:
    objects.serve(name, **AUTOSCALED)
    objects.edit(name, autoscaling={"schedules": [ALL_THE_TIME]})
    found = eventually(lambda: assert_at_least(objects, name, 3), within=40)
    assert "at least 3 pods by schedule" in message(found)
    objects.edit(name, autoscaling={"schedules": None})
    eventually(lambda: assert_no_schedule(objects, name))


def assert_no_schedule(objects: Objects, name: str) -> None:
    assert objects.get(AUTOSCALER, name)["spec"]["minReplicas"] == 1
    found = objects.service(name)
    assert "minReplicas" not in found["status"]["autoscaling"]
    assert "schedule" not in message(found)


def test_a_schedule_that_cannot_be_read_is_refused_by_its_field(objects: Objects, name: str) -> None:
    objects.serve(name, **AUTOSCALED)
    eventually(lambda: assert_stable(objects, name))
    objects.edit(name, autoscaling={"schedules": [ALL_THE_TIME | {"timezone": "Mars/Olympus"}]})
    eventually(lambda: assert_condition(objects.service(name), "Stalled", "True", "InvalidSpec"))
    conditions = {each["type"]: each["message"] for each in objects.service(name)["status"]["conditions"]}
    assert "spec.autoscaling.schedules[0].timezone: 'Mars/Olympus' is no time zone" in conditions["Stalled"]
    runs(objects, name, 1)


def test_the_start_of_a_schedule_wakes_the_operator(
    own_objects: Objects, own_installation: Installation, tmp_path: Path, name: str
) -> None:
    """Its clock says that it is half a minute before eight: nothing but the time brings the pods."""
    operator = Operator(own_installation, tmp_path, program=BEFORE_EIGHT).start().wait_until_leading()
    times = {"start": "0 8 * * *", "end": "0 18 * * *", "minReplicas": 2}
    try:
        own_objects.serve(name, **AUTOSCALED, autoscaling={"schedules": [times]})
        eventually(lambda: assert_at_least(own_objects, name, 1))
        found = eventually(lambda: assert_at_least(own_objects, name, 2), within=60)
        assert "at least 2 pods by schedule until 2026-03-02T18:00:00Z" in message(found)
    finally:
        operator.end()


# Only what decides is put into another time, from its first pass on: connections and the Lease go by the real one.
BEFORE_EIGHT = """
import sys
from datetime import UTC, datetime
from penstock.cli import main
from penstock.controller import reconcile

made, first = reconcile.Reconciler.__init__, datetime(2026, 3, 2, 7, 59, 30, tzinfo=UTC)

def init(self, *args, clock, **options):
    began = []
    def now():
        began[:] = began or [clock()]
        return first + (clock() - began[0])
    made(self, *args, clock=now, **options)

reconcile.Reconciler.__init__ = init
sys.exit(main.main(sys.argv[1:]))
"""
