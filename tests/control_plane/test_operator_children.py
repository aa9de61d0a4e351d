"""Every child is kept as the service asks: our fields are restored, everybody else's stay."""

import copy
import json
from typing import Any

import pytest
from penstock.kinds import AUTOSCALER, CONTROLLER_REVISION, DEPLOYMENT, DISRUPTION_BUDGET, POD, SERVICE, Kind

from tests.control_plane.objects import Manifest, Objects, a_service, assert_condition
from tests.control_plane.operator_process import Operator
from tests.control_plane.waiting import eventually
from tests.harness.cluster import Cluster

pytestmark = pytest.mark.usefixtures("operator")

REPAIRED_SECONDS = 2.0
# What somebody else might do to a child of ours; each is a merge patch.
EDITS: dict[Kind, Manifest] = {
    DEPLOYMENT: {"spec": {"minReadySeconds": 7}},
    SERVICE: {"spec": {"selector": {"serving.penstock.dev/slot": "green"}}},
    AUTOSCALER: {"spec": {"maxReplicas": 99}},
    DISRUPTION_BUDGET: {"spec": {"maxUnavailable": 5}},
    CONTROLLER_REVISION: {"metadata": {"labels": {"app.kubernetes.io/part-of": "something-else"}}},
}
KINDS = pytest.mark.parametrize("kind", EDITS, ids=lambda kind: kind.name)


@pytest.fixture(scope="module")
def scaled(objects: Objects, module_operator: Operator) -> str:
    """The name of a ready service that has a child of every kind."""
    objects.serve("scaled", minReplicas=2, maxReplicas=4, scaleMetric="concurrency")
    eventually(lambda: assert_condition(objects.service("scaled"), "Ready", "True"))
    eventually(lambda: [child(objects, "scaled", kind) for kind in EDITS])
    eventually(lambda: assert_condition(objects.service("scaled"), "Progressing", "False"))
    return "scaled"


def child(objects: Objects, service: str, kind: Kind) -> Manifest:
    """The one child of that kind. Raises AssertionError when there is none, or more."""
    found = objects.all(kind, f"serving.penstock.dev/inferenceservice={service}")
    assert len(found) == 1, [each["metadata"]["name"] for each in found]
    return found[0]


def ours(manifest: Manifest) -> Manifest:
    """The parts of a child that do not change by themselves."""
    metadata = {key: manifest["metadata"].get(key) for key in ("name", "labels", "ownerReferences")}
    rest: Manifest = {key: copy.deepcopy(manifest[key]) for key in ("spec", "data", "revision") if key in manifest}
    return {"metadata": metadata, **rest}


@KINDS
def test_an_edit_of_our_field_is_undone(objects: Objects, scaled: str, kind: Kind) -> None:
    before = child(objects, scaled, kind)
    objects.patch(kind, before["metadata"]["name"], EDITS[kind])
    eventually(lambda: assert_is(child(objects, scaled, kind), before), within=REPAIRED_SECONDS)


@KINDS
def test_a_deleted_child_comes_back(objects: Objects, scaled: str, kind: Kind) -> None:
    before = child(objects, scaled, kind)
    objects.delete(kind, before["metadata"]["name"])
    eventually(lambda: assert_replaced(child(objects, scaled, kind), before), within=REPAIRED_SECONDS)


@KINDS
def test_a_field_of_somebody_else_on_a_child_stays(objects: Objects, scaled: str, kind: Kind) -> None:
    name = child(objects, scaled, kind)["metadata"]["name"]
    foreign = {"labels": {"example.com/team": "search"}, "annotations": {"example.com/note": "ours"}}
    ours_too = {"app.kubernetes.io/part-of": "broken"}
    objects.patch(kind, name, {"metadata": {**foreign, "labels": foreign["labels"] | ours_too}})

    # The repair of our own label is the proof that the operator has seen the edit.
    repaired = eventually(lambda: labelled(child(objects, scaled, kind)), within=REPAIRED_SECONDS)
    assert repaired["metadata"]["labels"]["example.com/team"] == "search"
    assert repaired["metadata"]["annotations"]["example.com/note"] == "ours"
    objects.patch(kind, name, {"metadata": {key: dict.fromkeys(value) for key, value in foreign.items()}})


def test_a_foreign_field_of_a_childs_spec_stays(objects: Objects, scaled: str) -> None:
    objects.patch(SERVICE, scaled, {"spec": {"sessionAffinity": "ClientIP"}, "metadata": broken_label()})
    repaired = eventually(lambda: labelled(child(objects, scaled, SERVICE)), within=REPAIRED_SECONDS)
    assert repaired["spec"]["sessionAffinity"] == "ClientIP"
    objects.patch(SERVICE, scaled, {"spec": {"sessionAffinity": "None"}})


def test_a_variable_that_a_webhook_adds_to_the_pods_stays_and_ours_is_restored(objects: Objects, name: str) -> None:
    objects.serve(name, model={"env": [{"name": "OURS", "value": "1"}]})
    deployment = eventually(lambda: objects.get(DEPLOYMENT, f"{name}-blue"))
    containers = copy.deepcopy(deployment["spec"]["template"]["spec"]["containers"])
    containers[0]["env"] = [
        {**each, "value": "2"} if each["name"] == "OURS" else each for each in containers[0]["env"]
    ] + [{"name": "THEIRS", "value": "3"}]
    objects.patch(DEPLOYMENT, f"{name}-blue", {"spec": {"template": {"spec": {"containers": containers}}}})

    def restored() -> dict[str, str]:
        pod = objects.get(DEPLOYMENT, f"{name}-blue")["spec"]["template"]["spec"]
        env = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
        assert env["OURS"] == "1"
        return env

    assert eventually(restored, within=REPAIRED_SECONDS)["THEIRS"] == "3"


def test_a_child_that_loses_the_labels_we_watch_by_gets_them_back(objects: Objects, scaled: str) -> None:
    before = child(objects, scaled, SERVICE)
    objects.patch(SERVICE, scaled, {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}})
    eventually(lambda: assert_is(child(objects, scaled, SERVICE), before), within=REPAIRED_SECONDS)


def test_a_child_that_loses_its_owner_gets_it_back(objects: Objects, scaled: str) -> None:
    before = child(objects, scaled, DISRUPTION_BUDGET)
    objects.patch(DISRUPTION_BUDGET, scaled, {"metadata": {"ownerReferences": []}})
    eventually(lambda: assert_is(child(objects, scaled, DISRUPTION_BUDGET), before), within=REPAIRED_SECONDS)


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ({"minReplicas": 2}, {"minReplicas": 1}, DISRUPTION_BUDGET),
        ({"minReplicas": 1, "maxReplicas": 3}, {"maxReplicas": None}, AUTOSCALER),
    ],
    ids=["the budget of a service of one pod", "the autoscaler of a service of fixed size"],
)
def test_a_child_that_is_no_longer_wanted_goes(
    objects: Objects, name: str, before: dict[str, Any], after: dict[str, Any], kind: Kind
) -> None:
    objects.serve(name, **before)
    eventually(lambda: child(objects, name, kind))
    objects.edit(name, predictor=after, replicas=None)
    eventually(lambda: assert_none(objects, name, kind), within=REPAIRED_SECONDS)


def test_the_objects_are_those_that_the_names_promise(objects: Objects, name: str) -> None:
    objects.serve(name, minReplicas=2, maxReplicas=3)
    eventually(lambda: assert_condition(objects.service(name), "Progressing", "False", "Stable"))
    revision = objects.service(name)["status"]["components"]["predictor"]["latestRolledoutRevision"]
    named = {
        kind.name: [each["metadata"]["name"] for each in objects.all(kind, f"app.kubernetes.io/instance={name}")]
        for kind in EDITS
    }
    assert named == {
        "Deployment": [f"{name}-blue"],
        "Service": [name],
        "HorizontalPodAutoscaler": [name],
        "PodDisruptionBudget": [name],
        "ControllerRevision": [f"{name}-{revision}"],
    }


NOBODY = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}


@pytest.mark.parametrize(
    ("command", "is_there"),
    [
        pytest.param(["create"], False, id="create"),
        pytest.param(["apply", "--server-side"], False, id="apply on the server's side"),
        pytest.param(["replace"], True, id="replace"),
    ],
)
def test_a_user_that_is_null_is_left_to_the_cluster(
    cluster: Cluster, objects: Objects, name: str, command: list[str], *, is_there: bool
) -> None:
    if is_there:
        objects.serve(name)
        eventually(lambda: assert_users(objects, name, set(NOBODY)))
    manifest = a_service(name, objects.namespace, securityContext=NOBODY)
    cluster.kubectl(*command, "--filename=-", input=json.dumps(manifest))
    eventually(lambda: assert_users(objects, name, set()))


def assert_users(objects: Objects, name: str, named: set[str]) -> None:
    """All pods are of one revision, which names these."""
    assert_condition(objects.service(name), "Progressing", "False", "Stable")
    pods = objects.all(POD, f"serving.penstock.dev/inferenceservice={name}")
    assert [NOBODY.keys() & pod["spec"]["securityContext"].keys() for pod in pods] == [named]


def broken_label() -> Manifest:
    return {"labels": {"app.kubernetes.io/part-of": "broken"}}


def labelled(manifest: Manifest) -> Manifest:
    assert manifest["metadata"]["labels"]["app.kubernetes.io/part-of"] == "penstock"
    return manifest


def assert_is(manifest: Manifest, before: Manifest) -> None:
    assert manifest["metadata"]["uid"] == before["metadata"]["uid"]
    assert ours(manifest) == ours(before)


def assert_replaced(manifest: Manifest, before: Manifest) -> None:
    assert manifest["metadata"]["uid"] != before["metadata"]["uid"]
    assert manifest["metadata"]["labels"] == before["metadata"]["labels"]


def assert_none(objects: Objects, service: str, kind: Kind) -> None:
    assert objects.all(kind, f"serving.penstock.dev/inferenceservice={service}") == []
