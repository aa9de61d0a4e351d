"""Moving the traffic from one slot to the other, when others write at the wrong moment."""

from typing import Any

import pytest
from penstock import names
from penstock.controller.apply import Vanished
from penstock.kinds import DEPLOYMENT, INFERENCE_SERVICE, SERVICE

from tests.fake_cluster import the_service
from tests.place import CHAT, Place


async def about_to_switch(**options: Any) -> Place:
    """The new revision's pod is up in green, and no pass has seen it yet."""
    place = Place(rollout={"strategy": "BlueGreen", "blueGreen": {"holdSeconds": 0}, **options})
    await place.look()
    place.roll_out()
    await place.settle()
    place.edit(nodeSelector={"zone": "a"})
    await place.look()
    place.roll_out(slot="green")
    place.cluster.deliver(place.store)
    place.cluster.calls.clear()
    return place


def selected(place: Place) -> str:
    return str(place.child("Service")["spec"]["selector"][names.LABEL_SLOT])


async def test_only_what_is_to_get_the_traffic_is_looked_at_again() -> None:
    place = await about_to_switch()
    await place.reconcile(CHAT)
    assert selected(place) == "green"
    assert [call for call in place.cluster.calls if call[0] == "get"] == [("get", "Deployment", "chat-green")]


async def test_a_service_that_somebody_has_written_meanwhile_is_not_overwritten_from_what_was_before() -> None:
    place = await about_to_switch()
    place.cluster.edit(SERVICE, "chat", metadata={**place.child("Service")["metadata"], "finalizers": ["theirs/here"]})
    with pytest.raises(Vanished):
        await place.reconcile(CHAT)
    assert selected(place) == "blue"
    # What the refusal has taught is enough: no watch has told of it yet.
    await place.reconcile(CHAT)
    assert selected(place) == "green"


async def test_a_deployment_that_has_changed_meanwhile_gets_no_traffic() -> None:
    place = await about_to_switch()
    status = {**place.child("Deployment", "chat-green")["status"], "readyReplicas": 0, "availableReplicas": 0}
    place.cluster.edit(DEPLOYMENT, "chat-green", status=status)
    with pytest.raises(Vanished):
        await place.reconcile(CHAT)
    assert selected(place) == "blue"


async def test_old_pods_stay_when_what_is_to_do_alone_has_changed_meanwhile() -> None:
    place = await about_to_switch()
    await place.reconcile(CHAT)
    place.follow()
    place.cluster.deliver(place.store)
    status = {**place.child("Deployment", "chat-green")["status"], "readyReplicas": 0, "availableReplicas": 0}
    place.cluster.edit(DEPLOYMENT, "chat-green", status=status)
    with pytest.raises(Vanished):
        await place.reconcile(CHAT)
    assert place.child("Deployment", "chat-blue")["spec"]["replicas"] == 1


async def test_pods_that_fail_the_smoke_test_get_no_traffic() -> None:
    place = await about_to_switch()
    place.can_reach_pods = True
    place.test_results = {"chat-green-0": "status 500"}
    await place.passes()
    assert place.tested == [{"chat-green-0": "10.0.0.7"}]
    assert (selected(place), place.status["rollout"]["phase"]) == ("blue", "Testing")


async def test_pods_that_stop_answering_while_they_are_tested_get_no_traffic() -> None:
    place = await about_to_switch()
    place.can_reach_pods = True
    status = {**place.child("Deployment", "chat-green")["status"], "readyReplicas": 0, "availableReplicas": 0}
    place.while_asked = lambda: place.cluster.edit(DEPLOYMENT, "chat-green", status=status)
    await place.passes()
    assert (selected(place), place.status["rollout"]["phase"]) == ("blue", "Preparing")


async def test_a_revision_that_is_aborted_while_it_is_tested_gets_no_traffic() -> None:
    place = await about_to_switch()
    place.can_reach_pods = True
    asked = {**the_service(place.cluster)["metadata"], "annotations": {names.ANNOTATION_ACTION: "abort:1"}}
    place.while_asked = lambda: place.cluster.edit(INFERENCE_SERVICE, "chat", metadata=asked)
    await place.passes()
    assert (selected(place), place.status["rollout"]["phase"]) == ("blue", "RolledBack")


async def test_a_service_that_was_deleted_comes_back_leading_to_green_and_knows_it() -> None:
    place = await about_to_switch()
    await place.reconcile(CHAT)
    place.follow()
    await place.settle()
    assert place.status["rollout"]["phase"] == "Stable"
    place.cluster.remove(SERVICE, "chat")
    await place.settle()
    assert selected(place) == "green"
    assert place.child("Service")["metadata"]["annotations"][names.ANNOTATION_ACTIVE_SLOT] == "green"
