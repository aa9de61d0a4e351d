"""What becomes of pods and rollouts while the API server refuses, or fails on, the write of one child."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from penstock import errors
from penstock.kinds import DEPLOYMENT, POD, Kind

from tests.fake_cluster import the_service
from tests.place import CHAT, Place, a_ready_pod

DENIED = errors.Rejected(422, "Invalid", "admission webhook denied the request")
BROKEN = errors.ApiError(500, "InternalError", "failed calling webhook: connection refused")


def refuse(place: Place, kind: str, error: errors.ApiError, *, name: str = "") -> None:
    """Every write of that kind from now on, not only the next."""
    answer: Callable[[str, Kind, str], None] = place.cluster._answer

    def refusing(verb: str, of: Kind, which: str) -> None:
        if verb == "apply" and str(of) == kind and name in which:
            raise error
        answer(verb, of, which)

    place.cluster._answer = refusing  # type: ignore[method-assign, assignment]


async def a_stable_service(**predictor: Any) -> Place:
    place = Place(**predictor)
    await place.look()
    place.roll_out()
    await place.settle()
    return place


def generation(place: Place, name: str) -> int:
    found: int = place.child("Deployment", name)["metadata"]["generation"]
    return found


async def test_a_refused_budget_does_not_turn_an_accepted_template_back() -> None:
    place = await a_stable_service(minReplicas=1)
    refuse(place, "PodDisruptionBudget", DENIED)
    place.edit(nodeSelector={"zone": "b"}, minReplicas=2)
    await place.look()
    written = generation(place, "chat-blue")
    await place.look()
    await place.look()
    assert generation(place, "chat-blue") == written
    assert place.child("Deployment", "chat-blue")["spec"]["template"]["spec"]["nodeSelector"] == {"zone": "b"}
    assert place.condition("Stalled") == ("True", "InvalidSpec")


async def a_rollout_in_test() -> Place:
    """A blue/green rollout whose new pod is there to be tested."""
    place = Place(rollout={"strategy": "BlueGreen", "blueGreen": {"holdSeconds": 0}})
    await place.look()
    place.roll_out()
    await place.settle()
    place.edit(nodeSelector={"zone": "a"})
    await place.look()
    place.roll_out(slot="green")
    place.cluster.deliver(place.store)
    place.can_reach_pods = True
    return place


async def test_an_answer_counts_once_however_often_the_write_after_it_fails() -> None:
    place = await a_rollout_in_test()
    place.test_results = {"chat-green-0": "status 503"}
    await place.reconcile(CHAT)
    for _ in range(5):
        await asyncio.sleep(0)
    drifted = place.child("Deployment", "chat-blue")
    refuse(place, "Deployment", BROKEN)
    place.cluster.edit(DEPLOYMENT, "chat-blue", spec={**drifted["spec"], "replicas": 5})
    place.cluster.deliver(place.store)
    for _ in range(4):
        with pytest.raises(errors.ApiError):
            await place.reconcile(CHAT)
        place.cluster.deliver(place.store)
    assert place.status["rollout"]["phase"] == "Testing"
    assert place.status["rollout"]["smokeTest"]["failures"] == 1


async def test_pods_are_asked_though_the_write_of_a_child_fails() -> None:
    place = await a_rollout_in_test()
    drifted = place.child("Deployment", "chat-blue")
    refuse(place, "Deployment", BROKEN)
    place.cluster.edit(DEPLOYMENT, "chat-blue", spec={**drifted["spec"], "replicas": 5})
    place.cluster.deliver(place.store)
    with pytest.raises(errors.ApiError):
        await place.reconcile(CHAT)
    for _ in range(5):
        await asyncio.sleep(0)
    assert place.tested
    assert the_service(place.cluster)["status"]["rollout"]["phase"] == "Testing"


def serving_on(port: str) -> dict[str, Any]:
    """A server of the user's own, whose only port has this name."""
    return {"containers": [{"name": "mine", "image": "mine:1", "ports": [{"name": port, "containerPort": 9000}]}]}


def target_port(place: Place, name: str = "chat") -> str:
    found: str = place.child("Service", name)["spec"]["ports"][0]["targetPort"]
    return found


def of_a_foreign_server(*, history: int = 10) -> Place:
    place = Place(rollout={"strategy": "RollingUpdate", "revisionHistoryLimit": history})
    place.predictor = {"minReplicas": 2, **serving_on("web")}
    place.edit()
    return place


async def a_stable_foreign_server(*, pods: int, history: int = 10) -> Place:
    place = of_a_foreign_server(history=history)
    await place.look()
    place.roll_out(pods=pods)
    await place.settle()
    return place


async def test_requests_go_to_the_old_port_as_long_as_the_new_template_is_refused() -> None:
    place = await a_stable_foreign_server(pods=2)
    refuse(place, "Deployment", DENIED)
    place.edit(**serving_on("api"))
    for _ in range(3):
        await place.look()
        assert target_port(place) == "web"
    assert place.condition("Stalled") == ("True", "InvalidSpec")
    assert [call for call in place.cluster.writes if call[1] == "Service"] == []


async def test_requests_follow_the_pods_that_answer_when_a_port_gets_another_name_in_place() -> None:
    place = await a_stable_foreign_server(pods=2)
    place.edit(**serving_on("api"))
    await place.look()
    assert target_port(place) == "web"  # No pod has the new port yet.
    labels = place.child("Deployment", "chat-blue")["spec"]["template"]["metadata"]["labels"]
    place.cluster.put(POD, a_ready_pod("new-0", labels))
    await place.look()
    assert target_port(place) == "web"  # One of three.
    place.cluster.remove(POD, "chat-blue-0")
    await place.look()
    assert target_port(place) == "api"  # One of two, and the others go.


async def test_the_port_does_not_turn_before_the_template_where_there_are_no_pods() -> None:
    place = of_a_foreign_server()
    await place.look()
    refuse(place, "Deployment", DENIED)
    place.edit(**serving_on("api"))
    for _ in range(3):
        await place.look()
        assert [call for call in place.cluster.writes if call[1] == "Service"] == []
    assert target_port(place) == "web"


async def test_a_pod_that_drains_keeps_its_port_until_a_new_one_answers() -> None:
    place = await a_stable_foreign_server(pods=1)
    place.edit(**serving_on("api"))
    await place.look()
    old = place.child("Pod", "chat-blue-0")
    place.cluster.put(POD, {**old, "metadata": {**old["metadata"], "deletionTimestamp": "2026-01-01T12:00:00Z"}})
    await place.look()
    assert target_port(place) == "web"


async def test_the_port_of_pods_that_answer_outlives_the_history() -> None:
    place = await a_stable_foreign_server(pods=2, history=1)
    place.edit(**serving_on("api"))
    await place.look()
    labels = place.child("Deployment", "chat-blue")["spec"]["template"]["metadata"]["labels"]
    for number in range(2):
        place.cluster.remove(POD, f"chat-blue-{number}")
        place.cluster.put(POD, a_ready_pod(f"new-{number}", labels))
    await place.look()
    place.edit(**serving_on("grpc"))
    for _ in range(3):
        await place.look()
        assert target_port(place) == "api"
