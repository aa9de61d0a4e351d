"""A service goes to sleep and wakes, pass by pass, against a cluster in memory."""

from datetime import timedelta
from itertools import count

import pytest
from penstock import errors, names
from penstock.controller.apply import Vanished
from penstock.kinds import DEPLOYMENT, INFERENCE_SERVICE, SERVICE
from penstock.observed.load import Load
from penstock.watch.store import ObjectId

from tests.fake_cluster import the_service
from tests.place import CHAT
from tests.sleepy import Sleepy


async def test_a_state_that_has_just_begun_is_looked_at_again_at_once() -> None:
    """The pods are asked every second from then on; nothing else told that, and a minute passed."""
    place = Sleepy()
    await place.wake_up()
    await place.at(0)
    place.now += timedelta(seconds=61)
    again = await place.look()
    assert place.sleep["state"] == "Redirecting"
    assert again is not None
    assert again <= timedelta(seconds=0.1)
    again = await place.look()
    assert again is not None
    assert again > timedelta(seconds=50)


async def test_a_router_that_asks_while_our_status_is_written_is_heard_at_once() -> None:
    """The answer to our write has its wish, so no watch tells of it any more."""
    place = Sleepy()
    await place.wake_up()
    await place.fall_asleep()
    place.pods_go()

    def asks() -> None:
        place.cluster.before_write = lambda: None
        place.ask()

    place.cluster.before_write = asks
    again = await place.look()
    assert place.status["wakeRequestedAt"] == "2026-01-01T13:00:00.000001Z"
    assert again is not None
    assert again <= timedelta(seconds=0.1)


async def test_a_pod_that_is_still_to_go_does_not_count_as_the_wake() -> None:
    """It looks ready until its end is told; the Service would lead to nothing then, for as long as a model loads."""
    place = Sleepy()
    await place.wake_up()
    await place.fall_asleep()
    assert place.sleep["state"] == "Asleep"
    place.ask()
    await place.at(1)
    assert (place.sleep["state"], place.selector[names.LABEL_SLOT]) == ("Waking", "asleep")
    place.pods_go()
    await place.at(1)
    place.roll_out()
    await place.at(1)
    assert (place.sleep["state"], place.selector[names.LABEL_SLOT]) == ("Awake", "blue")
    assert place.sleep["wakeSeconds"] == 2


async def test_a_node_whose_clock_is_slow_delays_a_wake_by_ten_seconds_at_most() -> None:
    place = Sleepy()
    await place.is_asleep()
    place.ask()
    await place.at(1)
    place.now -= timedelta(hours=1)
    place.roll_out()
    place.now += timedelta(hours=1)
    await place.at(8)
    assert place.sleep["state"] == "Waking"
    await place.at(2)
    assert place.sleep["state"] == "Awake"


async def test_the_selector_goes_only_after_a_look_that_has_seen_no_request_come() -> None:
    """The last look before may be half a minute old."""
    place = Sleepy()
    await place.wake_up()
    await place.at(0)
    place.now += timedelta(seconds=61)
    await place.look()
    assert (place.sleep["state"], place.selector[names.LABEL_SLOT]) == ("Redirecting", "blue")
    place.load = Load(1, 0)
    await place.at(0)
    assert (place.sleep["state"], place.selector[names.LABEL_SLOT]) == ("Awake", "blue")


async def test_one_that_sleeps_and_is_not_to_be_touched_is_not_ready() -> None:
    """Nothing wakes it: the routers refuse its requests."""
    place = Sleepy()
    await place.is_asleep()
    place.pause()
    await place.look()
    assert place.condition("Ready") == ("False", "PausedByUser")
    assert "nothing wakes it" in place.message("AutoscalingActive")
    assert place.sleep["message"] == "the annotation penstock.dev/paused keeps it asleep"
    place.cluster.edit(INFERENCE_SERVICE, "chat", status={})
    await place.settle()
    assert place.condition("Ready") == ("False", "PausedByUser")


async def test_a_service_that_nobody_asks_loses_its_pods_and_leads_to_the_routers() -> None:
    place = Sleepy()
    await place.wake_up()
    assert place.slice is None
    assert place.child("Service")["metadata"]["annotations"][names.ANNOTATION_ROUTER_PORT] == str(place.sleep["port"])
    await place.fall_asleep()
    assert (place.sleep["state"], place.pods_wanted) == ("Asleep", 0)
    assert place.selector[names.LABEL_SLOT] == "asleep"
    assert place.slice is not None
    assert place.slice["ports"] == [{"name": "http", "port": place.sleep["port"], "protocol": "TCP"}]
    assert [each["addresses"] for each in place.slice["endpoints"]] == [["10.1.0.1"], ["10.1.0.2"]]
    labels = place.slice["metadata"]["labels"]
    assert labels["kubernetes.io/service-name"] == "chat"
    assert labels["endpointslice.kubernetes.io/managed-by"] == "penstock.dev"
    place.pods_go()
    await place.settle()
    assert place.status["phase"] == "Asleep"
    assert place.condition("Ready") == ("True", "Asleep")
    assert place.condition("AutoscalingActive") == ("False", "Asleep")
    await place.look()
    assert place.cluster.writes == []
    await place.reconcile.close()


async def test_the_end_of_its_rollout_leads_to_the_next_pass_by_itself() -> None:
    place = Sleepy()
    await place.settle()
    place.roll_out()
    place.cluster.deliver(place.store)
    again = await place.reconcile(CHAT)
    assert (place.status["rollout"]["phase"], again) == ("Stable", timedelta(milliseconds=100))
    await place.reconcile(CHAT)
    assert place.sleep["message"] != "a rollout is under way"
    await place.reconcile.close()


async def test_a_request_wakes_it_and_the_service_leads_to_the_pod_as_soon_as_that_answers() -> None:
    place = Sleepy()
    await place.wake_up()
    await place.fall_asleep()
    place.pods_go()
    await place.settle()
    place.now += timedelta(seconds=600)
    place.ask()
    await place.settle()
    assert (place.sleep["state"], place.pods_wanted) == ("Waking", 1)
    assert place.condition("Ready") == ("True", "Waking")
    assert place.selector[names.LABEL_SLOT] == "asleep"
    place.now += timedelta(seconds=8)
    place.roll_out()
    await place.settle()
    assert (place.sleep["state"], place.sleep["wakeSeconds"]) == ("Awake", 8)
    await place.at(3)
    assert place.selector[names.LABEL_SLOT] == "blue"
    assert place.slice is None
    assert place.condition("Ready") == ("True", "Ready")
    await place.reconcile.close()


async def test_what_a_router_writes_is_never_overwritten() -> None:
    place = Sleepy()
    await place.wake_up()
    place.cluster.after_get = lambda: None
    place.ask()
    await place.settle()
    assert place.status["wakeRequestedAt"] == "2026-01-01T13:00:00.000001Z"
    await place.reconcile.close()


async def test_a_request_that_comes_at_the_last_moment_keeps_the_pods() -> None:
    place = Sleepy()
    await place.wake_up()
    await place.at(0)
    await place.at(61)
    place.is_router_reached = True
    await place.at(2)
    await place.at(2)
    assert place.sleep["state"] == "Draining"
    place.now += timedelta(seconds=12)
    for watched in place.reconcile._sleepers.idleness._watched.values():
        watched.is_due.set()
    await place._is_woken()
    place.cluster.deliver(place.store)
    place.ask()  # The watch has not told of it yet.
    with pytest.raises(Vanished):
        await place.reconcile(CHAT)
    assert place.pods_wanted == 1
    await place.settle()
    assert (place.sleep["state"], place.pods_wanted) == ("Awake", 1)
    await place.reconcile.close()


async def test_a_request_that_only_the_pods_counters_show_keeps_it_awake() -> None:
    place = Sleepy()
    await place.wake_up()
    await place.at(0)
    place.load = Load(1, 0)
    await place.at(40)
    await place.at(25)
    assert place.sleep["state"] == "Awake"
    place.load = Load(1, 1)
    await place.at(70)
    assert place.sleep["state"] == "Awake"
    place.load = Load(1, 0)
    await place.at(1)
    await place.at(61)
    assert place.sleep["state"] == "Redirecting"
    await place.reconcile.close()


class Ending(Sleepy):
    """The operator ends after so many writes, and another one takes over."""

    has_ended = False

    def end_after(self, writes: int) -> None:
        left = iter(range(writes))

        def write() -> None:
            if next(left, None) is None:
                raise errors.Unreachable("the operator has ended")

        self.cluster.before_write = write

    async def goes_on(self, seconds: float) -> None:
        try:
            await self.at(seconds)
        except errors.Unreachable:
            self.has_ended = True
            self.cluster.before_write = lambda: None
            await self.reconcile.close()
            self.restart()


async def test_another_operator_goes_on_wherever_the_last_one_ended() -> None:
    """Each write of a sleep and of a wake is the last one of an operator, once."""
    for writes in count():
        place = Ending()
        await place.wake_up()
        place.is_router_reached = True
        place.end_after(writes)
        for _ in range(30):
            await place.goes_on(10)
            if place.pods_wanted == 0:
                place.pods_go()
        assert (place.sleep["state"], place.pods_wanted) == ("Asleep", 0), writes
        place.ask()
        for _ in range(6):
            await place.goes_on(2)
            if place.pods_wanted:
                place.roll_out()
        assert (place.sleep["state"], place.slice, place.selector[names.LABEL_SLOT]) == ("Awake", None, "blue"), writes
        await place.reconcile.close()
        if not place.has_ended:
            assert writes > 8
            return


async def test_a_wiped_status_of_a_sleeping_service_wakes_it_on_the_same_port() -> None:
    place = Sleepy()
    await place.wake_up()
    await place.fall_asleep()
    place.pods_go()
    await place.settle()
    port = place.sleep["port"]
    place.cluster.edit(INFERENCE_SERVICE, "chat", status={})
    await place.reconcile.close()
    place.restart()
    await place.settle()
    assert (place.sleep["state"], place.sleep["port"]) == ("Waking", port)
    await place.reconcile.close()


async def test_a_service_that_must_not_sleep_any_more_wakes_and_forgets_the_routers() -> None:
    place = Sleepy()
    await place.wake_up()
    await place.fall_asleep()
    place.pods_go()
    await place.settle()
    service = the_service(place.cluster)
    spec = {**service["spec"], "autoscaling": {}, "predictor": {**place.predictor, "minReplicas": 1}}
    place.cluster.edit(INFERENCE_SERVICE, "chat", spec=spec)
    await place.settle()
    assert place.pods_wanted == 1
    place.roll_out()
    await place.settle()
    # Until pods are endpoints again, the Service leads to the routers.
    assert (place.selector[names.LABEL_SLOT], place.slice is None) == ("blue", False)
    place.follow()
    place.now += timedelta(seconds=100)
    await place.settle()
    assert (place.slice, place.selector[names.LABEL_SLOT]) == (None, "blue")
    # Requests that the routers hold are on their way to the pods still, and proxies on nodes follow later.
    assert place.sleep["port"] is not None
    assert await place.look() == timedelta(seconds=30)
    place.now += timedelta(seconds=30)
    await place.settle()
    assert names.ANNOTATION_ROUTER_PORT not in place.child("Service")["metadata"]["annotations"]
    assert "sleep" not in place.status.get("autoscaling", {})
    await place.reconcile.close()


async def test_a_new_revision_wakes_it_and_is_rolled_out() -> None:
    place = Sleepy()
    await place.wake_up()
    await place.fall_asleep()
    place.pods_go()
    await place.settle()
    place.edit(model={"storageUri": "s3://models/smollm3"})
    await place.settle()
    assert place.sleep["state"] == "Waking"
    assert place.pods_wanted == 1
    await place.reconcile.close()


async def test_a_deleted_service_object_is_made_again_as_it_was() -> None:
    place = Sleepy()
    await place.wake_up()
    await place.fall_asleep()
    place.pods_go()
    await place.settle()
    place.cluster.remove(SERVICE, "chat")
    await place.settle()
    assert (place.sleep["state"], place.selector[names.LABEL_SLOT]) == ("Asleep", "asleep")
    await place.reconcile.close()


async def test_what_an_autoscaler_writes_while_it_sleeps_brings_no_pod_and_is_the_number_of_the_next_wake() -> None:
    place = Sleepy(maxReplicas=4)
    await place.is_asleep()
    place.set(replicas=3)
    await place.settle()
    assert (place.sleep["state"], place.pods_wanted) == ("Asleep", 0)
    place.ask()
    await place.settle()
    assert (place.sleep["state"], place.pods_wanted) == ("Waking", 3)
    await place.reconcile.close()


async def test_a_wake_is_no_rollout_and_tests_nothing() -> None:
    place = Sleepy()
    await place.is_asleep()
    tested = len(place.tested)
    place.ask()
    await place.settle()
    place.roll_out()
    await place.settle()
    assert place.sleep["state"] == "Awake"
    assert (len(place.tested), place.status["rollout"]["phase"]) == (tested, "Stable")
    await place.reconcile.close()


@pytest.mark.parametrize("in_state", ["Redirecting", "Asleep"])
async def test_a_blue_green_rollout_of_one_that_sleeps_or_is_about_to_ends_in_the_other_slot(in_state: str) -> None:
    place = Sleepy()
    place.set(rollout={"strategy": "BlueGreen", "blueGreen": {"holdSeconds": 0}})
    if in_state == "Asleep":
        await place.is_asleep()
    else:
        await place.wake_up()
        await place.at(0)
        place.now += timedelta(seconds=61)
        await place.settle()
    assert place.sleep["state"] == in_state
    place.edit(model={"storageUri": "s3://models/smollm3"})
    await place.settle()
    assert place.sleep["state"] == ("Waking" if in_state == "Asleep" else "Awake")
    for _ in range(8):
        for slot in ("blue", "green"):
            deployment = place.cluster.objects.get(ObjectId(DEPLOYMENT.name, "ml", f"chat-{slot}"))
            if deployment is not None:
                place.roll_out(deployment["spec"]["replicas"], slot)
        place.now += timedelta(seconds=5)
        await place.at(0)
    assert (place.status["rollout"]["phase"], place.selector[names.LABEL_SLOT]) == ("Stable", "green")
    assert (place.sleep["state"], place.slice, place.condition("Ready")) == ("Awake", None, ("True", "Ready"))
    await place.reconcile.close()
