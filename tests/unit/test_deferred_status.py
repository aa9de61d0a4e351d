"""What is told a moment later, with what comes next; and what is told at once all the same."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from penstock import errors, names
from penstock.api.status import InferenceServiceStatus, LastAction
from penstock.controller.apply import Vanished
from penstock.kinds import INFERENCE_SERVICE, POD, SERVICE, Manifest
from penstock.rollout.decision import changed
from penstock.status.status import can_wait, status

from tests.builders import (
    T0,
    at,
    crash_looping,
    during,
    facts,
    loading,
    ready_pod,
    rolling,
    under_way,
)
from tests.fake_cluster import the_service
from tests.place import Place

PATIENCE = timedelta(seconds=1)
STATUS_WRITE = ("merge status", "InferenceService", "chat")


def told(**rollout: Any) -> InferenceServiceStatus:
    """A status in the middle of a blue/green rollout, with these fields of the rollout."""
    before = status(facts(during(under_way(), rolling(), ready_pod(), loading("new", "v2")), "v2"), T0)
    assert before.rollout is not None
    return before.model_copy(update={"rollout": changed(before.rollout, **{"phase": "Preparing", **rollout})})


class TestWhatCanWait:
    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({"message": "1 of 2 pods", "available_replicas": 1, "loaded_bytes": 9}, id="how far it is"),
            pytest.param({"progressed_at": at(5), "deadline_at": at(9)}, id="its clock"),
            pytest.param({"phase": "Switching", "active_slot": "green"}, id="that the traffic is on its way"),
            pytest.param({"phase": "Switching", "latched_replicas": 1}, id="the latch of a single pod"),
        ],
    )
    def test_words_counts_and_times_can(self, fields: dict[str, Any]) -> None:
        assert can_wait(told(), told(**fields))

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({"phase": "Waiting"}, id="a gate"),
            pytest.param({"phase": "Switching", "latched_replicas": 2}, id="the latch of several pods"),
            pytest.param({"phase": "Switching", "is_promoted": True}, id="what promote has opened"),
            pytest.param({"failed_revision": "v2"}, id="a revision that is given up"),
            pytest.param({"stable_revision": "v2"}, id="one that is rolled out"),
            pytest.param({"last_action": LastAction(verb="abort", id="1", result="Done")}, id="an action"),
            pytest.param({"is_paused": True}, id="a pause"),
            pytest.param({"switched_at": at(1), "hold_ends_at": at(2)}, id="a hold"),
        ],
    )
    def test_what_a_rollout_rests_on_cannot(self, fields: dict[str, Any]) -> None:
        assert not can_wait(told(), told(**fields))

    def test_how_many_pods_there_are_can(self) -> None:
        more = told().model_copy(update={"replicas": 5, "ready_replicas": 3, "selector": "a=b", "model_status": None})
        assert can_wait(told().model_copy(update={"model_status": None}), more)

    def test_a_condition_that_turns_cannot(self) -> None:
        first, *others = told().conditions
        turned = first.model_copy(update={"status": "False" if first.status == "True" else "True"})
        assert not can_wait(told(), told().model_copy(update={"conditions": [turned, *others]}))

    def test_a_newer_spec_cannot(self) -> None:
        assert not can_wait(told(), told().model_copy(update={"observed_generation": 7}))

    def test_a_pod_that_fails_cannot(self) -> None:
        crashing = status(facts(during(under_way(), rolling(), ready_pod(), crash_looping("new", "v2")), "v2"), T0)
        assert not can_wait(told(), crashing.model_copy(update={"rollout": told().rollout}))


async def a_rollout() -> Place:
    """The new revision's pod is coming up in green, and that is told."""
    place = Place(rollout={"strategy": "BlueGreen", "blueGreen": {"holdSeconds": 30}}, patience=PATIENCE)
    await place.look()
    place.roll_out()
    await place.settle()
    place.edit(nodeSelector={"zone": "a"})
    await place.settle()
    return place


def selected(place: Place) -> str:
    return str(place.child("Service")["spec"]["selector"][names.LABEL_SLOT])


def one_more_pod(place: Place) -> None:
    """Of the revision that serves."""
    pod = place.child("Pod", "chat-blue-0")
    place.cluster.put(POD, {**pod, "metadata": {**pod["metadata"], "name": "chat-blue-1"}})


def while_writing(place: Place, happens: Callable[[], object]) -> None:
    """Somebody edits the Service; while the next pass puts it back, that happens, once."""
    apply = place.cluster.apply

    async def once(manifest: Manifest) -> Manifest:
        place.cluster.apply = apply  # type: ignore[method-assign]
        written = await apply(manifest)
        happens()
        return written

    place.cluster.apply = once  # type: ignore[method-assign]
    place.cluster.edit(SERVICE, "chat", spec={**place.child("Service")["spec"], "selector": {}})


class TestAPass:
    async def test_what_can_wait_is_told_with_what_comes_next(self) -> None:
        place = await a_rollout()
        place.roll_out(slot="green")
        again = await place.look()
        assert (selected(place), STATUS_WRITE in place.cluster.writes) == ("green", False)
        assert again == PATIENCE
        place.follow()
        await place.look()
        assert place.cluster.writes == [STATUS_WRITE]
        assert place.status["rollout"]["phase"] == "Holding"
        assert (place.status["rollout"]["latchedReplicas"], place.status["rollout"]["activeSlot"]) == (1, "green")

    async def test_what_nothing_follows_is_told_after_a_second(self) -> None:
        place = await a_rollout()
        place.roll_out(slot="green")
        await place.look()
        place.now += timedelta(milliseconds=900)
        assert await place.look() == timedelta(milliseconds=100)
        assert place.cluster.writes == []
        place.now += timedelta(milliseconds=100)
        await place.look()
        assert place.status["rollout"]["phase"] == "Switching"
        await place.look()
        assert place.cluster.writes == []

    async def test_a_status_that_comes_back_to_what_is_told_is_not_written(self) -> None:
        place = await a_rollout()
        before = place.status
        one_more_pod(place)
        await place.look()
        place.cluster.remove(POD, "chat-blue-1")
        place.now += PATIENCE
        await place.look()
        assert (place.cluster.writes, place.status) == ([], before)

    async def test_a_status_that_somebody_has_wiped_meanwhile_is_written_anew(self) -> None:
        place = await a_rollout()
        place.roll_out(slot="green")
        await place.look()
        place.cluster.edit(INFERENCE_SERVICE, "chat", status={})
        await place.look()
        assert STATUS_WRITE in place.cluster.writes
        assert place.status["rollout"]["stableRevision"] != place.status["rollout"]["currentRevision"]

    async def test_the_next_operator_needs_nothing_of_what_was_put_off(self) -> None:
        place = await a_rollout()
        place.roll_out(slot="green")
        await place.look()
        place.restart()
        place.follow()
        await place.look()
        assert (selected(place), place.status["rollout"]["phase"]) == ("green", "Holding")

    async def test_one_made_anew_under_the_name_inherits_nothing(self) -> None:
        place = await a_rollout()
        one_more_pod(place)

        def made_anew() -> None:
            spec = the_service(place.cluster)["spec"]
            place.cluster.remove(INFERENCE_SERVICE, "chat")
            place.cluster.deliver(place.store)
            metadata = {"name": "chat", "namespace": "ml", "uid": "another", "generation": 1}
            place.cluster.put(INFERENCE_SERVICE, {"metadata": metadata, "spec": spec})

        while_writing(place, made_anew)
        for _ in range(9):
            with suppress(errors.Conflict, Vanished):
                await place.look()
        assert (place.status["rollout"]["phase"], place.status["rollout"].get("stableRevision")) == ("Deploying", None)

    async def test_a_status_that_is_wiped_during_the_pass_is_written_at_once(self) -> None:
        place = await a_rollout()
        one_more_pod(place)

        def wiped() -> None:
            place.cluster.edit(INFERENCE_SERVICE, "chat", status={})
            place.cluster.deliver(place.store)

        while_writing(place, wiped)
        await place.look()
        assert STATUS_WRITE in place.cluster.writes

    async def test_a_clock_that_is_set_back_makes_it_no_longer(self) -> None:
        place = await a_rollout()
        place.roll_out(slot="green")
        await place.look()
        place.now -= timedelta(hours=1)
        assert await place.look() == PATIENCE
