"""A service comes, goes and comes again; and what bears its children's names without being its child."""

import uuid
from typing import Any

import pytest
from penstock.kinds import AUTOSCALER, CONTROLLER_REVISION, DEPLOYMENT, INFERENCE_SERVICE, SERVICE, Kind

from tests.control_plane.audit import Audit
from tests.control_plane.objects import OWNED, TOLERATION, Manifest, Objects, assert_condition
from tests.control_plane.operator_process import Installation, Operator
from tests.control_plane.waiting import eventually

pytestmark = pytest.mark.usefixtures("operator")

POD_LABELS = {"app": "foreign"}
CONTAINER = {"name": "c", "image": "example/foreign:1"}
FOREIGN: dict[Kind, Manifest] = {
    DEPLOYMENT: {
        "replicas": 1,
        "selector": {"matchLabels": POD_LABELS},
        "template": {
            "metadata": {"labels": POD_LABELS},
            "spec": {"containers": [CONTAINER], "tolerations": [TOLERATION]},
        },
    },
    SERVICE: {"selector": POD_LABELS, "ports": [{"port": 80}]},
    AUTOSCALER: {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "foreign"},
        "maxReplicas": 3,
    },
}


def children(objects: Objects, name: str) -> dict[tuple[str, str], str]:
    """UIDs of everything that bears the service's label, by kind and name."""
    return {
        (kind.name, found["metadata"]["name"]): found["metadata"]["uid"]
        for kind in OWNED
        for found in objects.all(kind, f"serving.penstock.dev/inferenceservice={name}")
    }


def assert_ready(objects: Objects, name: str) -> Manifest:
    found = objects.service(name)
    assert_condition(found, "Ready", "True")
    assert_condition(found, "Progressing", "False", "Stable")
    return found


def gone(objects: Objects, name: str) -> None:
    assert name not in [found["metadata"]["name"] for found in objects.all(INFERENCE_SERVICE)]


@pytest.mark.parametrize("propagation", ["Background", "Foreground", "Orphan"])
def test_a_service_of_the_same_name_comes_up_with_children_of_its_own(
    objects: Objects, name: str, propagation: str
) -> None:
    objects.serve(name, minReplicas=2, maxReplicas=3)
    eventually(lambda: assert_ready(objects, name))
    old = children(objects, name)
    objects.delete(INFERENCE_SERVICE, name, propagation=propagation)
    eventually(lambda: gone(objects, name))
    objects.serve(name, minReplicas=2, maxReplicas=3)

    uid = eventually(lambda: assert_ready(objects, name))["metadata"]["uid"]
    eventually(lambda: assert_replaced(objects, name, old))
    for kind in OWNED:
        for found in objects.all(kind, f"serving.penstock.dev/inferenceservice={name}"):
            assert [owner["uid"] for owner in found["metadata"]["ownerReferences"]] == [uid]


def assert_replaced(objects: Objects, name: str, old: dict[tuple[str, str], str]) -> None:
    new = children(objects, name)
    assert new.keys() == old.keys()
    assert not set(new.values()) & set(old.values())


def test_an_old_child_that_a_foreign_finalizer_holds_is_waited_for(objects: Objects, name: str) -> None:
    objects.serve(name)
    eventually(lambda: assert_ready(objects, name))
    hold = {"metadata": {"finalizers": ["example.com/hold"]}}
    old = objects.patch(DEPLOYMENT, f"{name}-blue", hold)["metadata"]["uid"]
    objects.delete(INFERENCE_SERVICE, name)
    eventually(lambda: gone(objects, name))
    objects.serve(name)
    eventually(lambda: objects.get(SERVICE, name))
    assert objects.get(DEPLOYMENT, f"{name}-blue")["metadata"]["uid"] == old

    objects.patch(DEPLOYMENT, f"{name}-blue", {"metadata": {"finalizers": []}})
    eventually(lambda: assert_ready(objects, name))
    assert objects.get(DEPLOYMENT, f"{name}-blue")["metadata"]["uid"] != old


def test_a_deleted_service_is_not_brought_back_in_parts(
    objects: Objects, operator: Operator, audit: Audit, name: str
) -> None:
    """Its children go one by one while it is gone: each of their ends wakes the operator."""
    objects.serve(name, minReplicas=2, maxReplicas=3)
    eventually(lambda: assert_ready(objects, name))
    before = len(writes(audit, operator, objects, name))
    objects.delete(INFERENCE_SERVICE, name)
    eventually(lambda: assert_no_children(objects, name))
    assert writes(audit, operator, objects, name)[before:] == []


def writes(audit: Audit, operator: Operator, objects: Objects, name: str) -> list[str]:
    asked = audit.requests(operator.installation.user)
    return [f"{r.verb} {r.resource} {r.name}" for r in asked if r.is_write and r.name.startswith(name)]


def assert_no_children(objects: Objects, name: str) -> None:
    assert children(objects, name) == {}


def test_deletion_needs_no_operator(
    own_objects: Objects, own_installation: Installation, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    operator = Operator(own_installation, tmp_path_factory.mktemp("log")).start().wait_until_leading()
    own_objects.serve(name, minReplicas=2, maxReplicas=3)
    eventually(lambda: assert_ready(own_objects, name))
    operator.kill()

    own_objects.delete(INFERENCE_SERVICE, name)
    eventually(lambda: gone(own_objects, name))
    eventually(lambda: assert_no_children(own_objects, name))


def test_the_service_itself_carries_no_mark_of_ours(objects: Objects, name: str) -> None:
    objects.serve(name, annotations={"example.com/kept": "yes"}, minReplicas=1, maxReplicas=2)
    metadata = eventually(lambda: assert_ready(objects, name))["metadata"]
    assert metadata["annotations"] == {"example.com/kept": "yes"}
    assert "finalizers" not in metadata
    assert "labels" not in metadata


@pytest.mark.parametrize("kind", FOREIGN, ids=lambda kind: kind.name)
def test_a_foreign_object_of_a_childs_name_is_never_touched(
    objects: Objects, operator: Operator, name: str, kind: Kind
) -> None:
    taken = f"{name}-blue" if kind is DEPLOYMENT else name
    foreign = objects.create(
        {
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "metadata": {"name": taken, "namespace": objects.namespace},
            "spec": FOREIGN[kind],
        }
    )
    scaled: dict[str, Any] = {"maxReplicas": 3} if kind is AUTOSCALER else {}
    objects.serve(name, **scaled)
    found = eventually(lambda: in_conflict(objects, name))
    operator.settle()
    assert f"{kind.name} {taken} " in assert_condition(found, "Stalled", "True", "NameConflict")["message"]
    kept = objects.get(kind, taken)
    assert kept["metadata"]["uid"] == foreign["metadata"]["uid"]
    assert kept["metadata"].get("labels") == foreign["metadata"].get("labels")
    assert kept["spec"] == foreign["spec"]
    assert "penstock" not in {entry["manager"] for entry in kept["metadata"]["managedFields"]}

    objects.delete(kind, taken)
    eventually(lambda: assert_condition(objects.service(name), "Stalled", "False"))
    eventually(lambda: assert_ready(objects, name))
    assert objects.get(kind, taken)["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "penstock"


def test_kserves_service_of_the_same_name_is_never_touched(objects: Objects, operator: Operator, name: str) -> None:
    """A user who tries the migration has both: only the API group tells the two owners apart."""
    owner = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "name": name,
        "uid": str(uuid.uuid4()),
        "controller": True,
    }
    # Owners that the cluster does not know are no garbage to its collector for as long as it has no such kind.
    kept = objects.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": objects.namespace, "ownerReferences": [owner]},
            "spec": FOREIGN[SERVICE],
        }
    )
    objects.serve(name)
    found = eventually(lambda: in_conflict(objects, name))
    operator.settle()
    message = assert_condition(found, "Stalled", "True", "NameConflict")["message"]
    assert f"belongs to InferenceService {name} of serving.kserve.io/v1beta1" in message
    assert objects.get(SERVICE, name)["metadata"]["resourceVersion"] == kept["metadata"]["resourceVersion"]


def in_conflict(objects: Objects, name: str) -> Manifest:
    found = objects.service(name)
    assert_condition(found, "Stalled", "True", "NameConflict")
    return found


def test_a_name_conflict_makes_the_service_unready(objects: Objects, name: str) -> None:
    objects.create(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": f"{name}-blue", "namespace": objects.namespace},
            "spec": {**FOREIGN[DEPLOYMENT], "replicas": 0},
        }
    )
    objects.serve(name)
    found = eventually(lambda: in_conflict(objects, name))
    assert f"{name}-blue" in assert_condition(found, "Ready", "False", "NameConflict")["message"]
    assert found["status"]["phase"] == "Degraded"


def test_a_child_of_another_service_is_foreign_too(objects: Objects, name: str) -> None:
    """Nobody else's `-blue`: another owner's Deployment stays as it is."""
    other = objects.serve(f"{name}-a")
    eventually(lambda: assert_ready(objects, f"{name}-a"))
    revision = objects.all(CONTROLLER_REVISION, f"serving.penstock.dev/inferenceservice={name}-a")[0]
    owner = revision["metadata"]["ownerReferences"][0]
    assert owner["uid"] == other["metadata"]["uid"]
    objects.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": objects.namespace, "ownerReferences": [owner]},
            "spec": FOREIGN[SERVICE],
        }
    )
    objects.serve(name)
    eventually(lambda: in_conflict(objects, name))
    assert objects.get(SERVICE, name)["metadata"]["ownerReferences"] == [owner]
