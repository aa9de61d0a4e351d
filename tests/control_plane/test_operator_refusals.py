"""What the API server refuses: told in its own words, with nothing that runs touched."""

from typing import Any

import pytest
from penstock.kinds import AUTOSCALER, DEPLOYMENT, POD, RESOURCE_QUOTA

from tests.control_plane.objects import REPLICA_SET, Manifest, Objects, Refused, assert_condition, blockers
from tests.control_plane.operator_process import Operator
from tests.control_plane.waiting import eventually

pytestmark = pytest.mark.usefixtures("operator")

# A fragment that the CRD lets through, and what the API server says of it.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown field of a security context": ({"securityContext": {"runAsRoot": True}}, "runAsRoot"),
    "an affinity with an impossible operator": (
        {
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Near"}]}]
                    }
                }
            }
        },
        "Near",
    ),
    "an affinity of the wrong type": ({"affinity": {"nodeAffinity": "anywhere"}}, "nodeAffinity"),
    "a mount without a path": (
        {"model": None, "containers": [{"image": "example/server:1", "volumeMounts": [{"name": "data"}]}]},
        "spec.predictor.containers[0].volumeMounts[0].mountPath: is required",
    ),
    "an affinity without an operator": (
        {
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone"}]}]
                    }
                }
            }
        },
        "matchExpressions[0].operator: is required",
    ),
    "a mount of no volume": (
        {"volumeMounts": [{"name": "missing", "mountPath": "/data"}]},
        "missing",
    ),
    "a toleration with an impossible effect": (
        {"tolerations": [{"key": "a", "operator": "Exists", "effect": "Sometimes"}]},
        "Sometimes",
    ),
}


def assert_ready(objects: Objects, name: str) -> Manifest:
    found = objects.service(name)
    assert_condition(found, "Ready", "True")
    assert_condition(found, "Progressing", "False", "Stable")
    assert_condition(found, "Stalled", "False")
    return found


def refused(objects: Objects, name: str, reason: str = "InvalidSpec") -> Manifest:
    found = objects.service(name)
    assert_condition(found, "Stalled", "True", reason)
    return found


def pods(objects: Objects, name: str) -> set[str]:
    return {p["metadata"]["uid"] for p in objects.all(POD, f"serving.penstock.dev/inferenceservice={name}")}


@pytest.mark.parametrize(("fragment", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refused_fragment_stalls_with_the_servers_words_and_touches_nothing(
    objects: Objects, name: str, fragment: dict[str, Any], words: str
) -> None:
    objects.serve(name)
    before = eventually(lambda: assert_ready(objects, name))
    running, deployment = pods(objects, name), objects.get(DEPLOYMENT, f"{name}-blue")
    objects.edit(name, predictor=fragment)

    found = eventually(lambda: refused(objects, name))
    assert words in assert_condition(found, "Stalled", "True")["message"]
    assert_condition(found, "Ready", "True")
    assert found["status"]["phase"] == "Degraded"
    assert found["status"]["modelStatus"]["transitionStatus"] == "InvalidSpec"
    assert pods(objects, name) == running
    assert objects.get(DEPLOYMENT, f"{name}-blue")["spec"]["template"] == deployment["spec"]["template"]

    objects.patch(DEPLOYMENT, f"{name}-blue", {"spec": {"replicas": 0}})
    eventually(lambda: assert_replicas(objects, name, 1))
    # The pod is another one only where the Deployment's controller saw the size of nothing before the operator did.
    eventually(lambda: assert_settled(objects, name, 1))
    running = pods(objects, name)
    eventually(lambda: assert_condition(objects.service(name), "Ready", "True"))

    kept = {field: before["spec"]["predictor"][field] for field in ("model", "tolerations")}
    objects.edit(name, predictor={**dict.fromkeys(fragment), **kept})
    eventually(lambda: assert_ready(objects, name))
    assert pods(objects, name) == running


def assert_settled(objects: Objects, name: str, replicas: int) -> None:
    """The controllers of the Deployment and of its ReplicaSet have seen them as they are, and these pods are all."""
    sets = objects.all(REPLICA_SET, f"serving.penstock.dev/inferenceservice={name}")
    for each in [objects.get(DEPLOYMENT, f"{name}-blue"), *sets]:
        assert each["status"].get("observedGeneration") == each["metadata"]["generation"]
        assert each["status"].get("readyReplicas", 0) == replicas
    assert len(pods(objects, name)) == replicas


def assert_replicas(objects: Objects, name: str, replicas: int) -> None:
    assert objects.get(DEPLOYMENT, f"{name}-blue")["spec"]["replicas"] == replicas


@pytest.mark.parametrize("wrong", [{"ports": [8080]}, {"ports": {"http": 8080}}, {"lifecycle": "x"}, {"resources": []}])
def test_a_fragment_of_the_wrong_type_is_refused_on_the_spot(objects: Objects, name: str, wrong: Manifest) -> None:
    objects.serve(name)
    with pytest.raises(Refused, match=f"spec.predictor.containers\\[0\\].{next(iter(wrong))}"):
        objects.edit(name, predictor={"model": None, "containers": [{"image": "example/server:1", **wrong}]})


def test_a_new_service_with_a_refused_fragment_is_not_ready(objects: Objects, name: str) -> None:
    objects.serve(name, affinity={"nodeAffinity": "anywhere"})
    found = eventually(lambda: refused(objects, name))
    assert_condition(found, "Ready", "False", "InvalidSpec")
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    assert "InvalidSpec" in blockers(found)


def test_a_refused_service_does_not_keep_the_operator_busy(objects: Objects, operator: Operator, name: str) -> None:
    objects.serve(name, affinity={"nodeAffinity": "anywhere"})
    eventually(lambda: refused(objects, name))
    operator.settle()


def test_what_no_schema_can_see_is_told_with_its_field(objects: Objects, name: str) -> None:
    objects.serve(name, model={"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})
    found = eventually(lambda: refused(objects, name))
    assert "spec.predictor.model.resources.requests[cpu]" in assert_condition(found, "Stalled", "True")["message"]


def test_pods_beyond_a_quota_are_told(objects: Objects, name: str) -> None:
    quota(objects, name, {"requests.example.com/gpu": "0"})
    objects.serve(name, model={"resources": {"limits": {"example.com/gpu": "1"}}})
    eventually(lambda: assert_blocked(objects, name, "QuotaExceeded"))
    found = objects.service(name)
    assert name in blockers(found)["QuotaExceeded"]  # The quota bears the test's name.
    assert_condition(found, "Ready", "False", "QuotaExceeded")
    assert_condition(found, "Stalled", "False")
    objects.delete(RESOURCE_QUOTA, name)


def assert_blocked(objects: Objects, name: str, reason: str) -> None:
    assert reason in blockers(objects.service(name))


def test_a_child_beyond_a_quota_is_told_and_made_once_there_is_room(objects: Objects, name: str) -> None:
    quota(objects, name, {"count/horizontalpodautoscalers.autoscaling": "0"})
    objects.serve(name, maxReplicas=3)
    found = eventually(lambda: refused(objects, name, "QuotaExceeded"))
    assert "exceeded quota" in assert_condition(found, "Stalled", "True")["message"]
    eventually(lambda: assert_condition(objects.service(name), "Ready", "True"))

    objects.delete(RESOURCE_QUOTA, name)
    # A quota bears no label of ours; any change of the service is an occasion to look again.
    objects.annotate(name, looked="yes")
    eventually(lambda: objects.get(AUTOSCALER, name))
    eventually(lambda: assert_condition(objects.service(name), "Stalled", "False"))


def quota(objects: Objects, name: str, hard: dict[str, str], *, of_priority: str | None = None) -> None:
    """In force when this returns: until it has a status, everything that it counts is refused."""
    scope = {"scopeName": "PriorityClass", "operator": "In", "values": [of_priority]}
    scoped = {"scopeSelector": {"matchExpressions": [scope]}} if of_priority else {}
    objects.create(
        {
            "apiVersion": RESOURCE_QUOTA.api_version,
            "kind": RESOURCE_QUOTA.name,
            "metadata": {"name": name, "namespace": objects.namespace},
            "spec": {"hard": hard, **scoped},
        }
    )
    eventually(lambda: objects.get(RESOURCE_QUOTA, name)["status"]["hard"])
