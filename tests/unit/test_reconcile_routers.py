"""Where the Service of one that may sleep leads, pass by pass: the routers' slice, their ports, and when it goes."""

from datetime import timedelta

import pytest
from penstock import names
from penstock.kinds import ENDPOINT_SLICE, INFERENCE_SERVICE, SERVICE
from penstock.watch.store import Key

from tests.fake_cluster import the_service
from tests.place import CHAT
from tests.sleepy import Sleepy


async def test_the_routers_stay_a_moment_after_the_pods_are_back() -> None:
    """What the operator knows of the endpoints may be from before the selector went."""
    place = Sleepy()
    await place.wake_up()
    await place.at(0)
    await place.at(61)
    assert place.selector[names.LABEL_SLOT] == "asleep"
    place.ask()
    again = await place.look()
    assert place.selector[names.LABEL_SLOT] == "blue"
    place.follow()
    await place.look()
    assert place.slice is not None
    assert again is not None
    assert again <= timedelta(seconds=3)
    await place.at(3)
    assert place.slice is None


async def test_one_that_stops_sleeping_leaves_the_routers_as_soon_as_any_other() -> None:
    place = Sleepy()
    await place.is_asleep()
    place.set(autoscaling={}, predictor={**place.predictor, "minReplicas": 1})
    await place.settle()
    place.now += timedelta(seconds=1)
    place.roll_out()
    await place.look()
    again = await place.look()
    assert (place.sleep["state"], place.selector[names.LABEL_SLOT]) == ("Awake", "blue")
    place.follow()
    assert again is not None
    assert again <= timedelta(seconds=3)
    await place.at(3)
    assert place.slice is None


async def test_pausing_it_as_it_wakes_leaves_the_routers_where_they_are() -> None:
    place = Sleepy()
    await place.wake_up()
    await place.at(0)
    await place.at(61)
    place.ask()
    await place.look()
    place.follow()
    place.pause()
    again = await place.look()
    assert place.slice is not None
    assert again is not None
    await place.at(3)
    assert place.slice is None


async def test_the_slice_is_there_before_the_selector_goes_and_goes_after_it_is_back() -> None:
    place = Sleepy()
    await place.wake_up()
    await place.at(0)
    place.now += timedelta(seconds=61)
    await place.look()
    assert place.sleep["state"] == "Redirecting"
    assert (place.slice is not None, place.selector.get(names.LABEL_SLOT)) == (True, "blue")
    await place.look()
    assert place.selector[names.LABEL_SLOT] == "asleep"
    place.follow()
    place.ask()
    await place.look()
    assert (place.sleep["state"], place.selector[names.LABEL_SLOT]) == ("Awake", "blue")
    assert place.slice is not None
    await place.at(3)
    assert place.slice is None
    await place.reconcile.close()


async def test_a_refused_spec_keeps_no_slice_of_routers_beside_pods() -> None:
    place = Sleepy()
    await place.is_asleep()
    place.set(
        autoscaling={"scaleToZero": {"afterSeconds": 60}, "schedules": [{"start": "no", "end": "no", "minReplicas": 1}]}
    )
    place.ask()
    await place.settle()
    assert place.condition("Stalled")[0] == "True"
    place.roll_out()
    await place.settle()
    await place.at(3)
    assert place.condition("Stalled")[0] == "True"
    assert (place.sleep["state"], place.selector[names.LABEL_SLOT], place.slice) == ("Awake", "blue", None)
    await place.reconcile.close()


async def test_the_slice_follows_the_routers_of_a_paused_service_too() -> None:
    place = Sleepy()
    await place.is_asleep()
    place.pause()
    await place.settle()
    place.routers("10.1.0.8", "10.1.0.9")
    await place.look()
    assert place.slice_addresses == ["10.1.0.8", "10.1.0.9"]
    assert {call[1] for call in place.cluster.writes} <= {ENDPOINT_SLICE.name, INFERENCE_SERVICE.name}
    await place.reconcile.close()


async def test_a_slice_keeps_the_family_of_its_service_when_it_loses_all_routers() -> None:
    place = Sleepy()
    place.cluster.ip_family = "IPv6"
    place.routers("fd00::1", "fd00::2")
    await place.is_asleep()
    assert place.slice_addresses == ["fd00::1", "fd00::2"]
    for addresses in ((), ("fd00::3", "fd00::4")):
        place.routers(*addresses)
        await place.settle()
        assert place.slice_addresses == list(addresses)
        assert place.condition("Stalled")[0] == "False"
    await place.reconcile.close()


async def test_a_slice_of_another_family_is_made_anew() -> None:
    place = Sleepy()
    await place.is_asleep()
    place.cluster.remove(SERVICE, "chat")
    place.cluster.ip_family = "IPv6"
    place.routers("fd00::1", "fd00::2")
    await place.settle()
    assert place.slice_addresses == ["fd00::1", "fd00::2"]
    await place.reconcile.close()


async def test_ready_is_false_while_no_router_could_hold_a_request() -> None:
    place = Sleepy()
    await place.is_asleep()
    place.routers()
    await place.settle()
    assert place.condition("Ready") == ("False", "NoRouter")
    assert "no router is ready" in place.sleep["message"]
    place.ask()
    await place.settle()
    assert (place.sleep["state"], place.condition("Ready")) == ("Waking", ("False", "NoRouter"))
    place.routers("10.1.0.1")
    await place.settle()
    assert place.condition("Ready") == ("True", "Waking")
    await place.reconcile.close()


async def test_where_no_router_is_installed_any_more_nothing_leads_to_one() -> None:
    place = Sleepy()
    await place.is_asleep()
    await place.another_operator(routers=0)
    place.routers()
    await place.look()
    assert not [call for call in place.cluster.writes if call[:2] == ("apply", ENDPOINT_SLICE.name)]
    assert (place.selector[names.LABEL_SLOT], place.slice, place.pods_wanted) == ("blue", None, 1)
    place.roll_out()
    await place.settle()
    assert (place.sleep["state"], place.condition("Ready")) == ("Awake", ("True", "Ready"))
    place.set(suspend=True)
    await place.settle()
    assert (place.selector[names.LABEL_SLOT], place.slice, place.pods_wanted) == ("blue", None, 0)
    assert place.condition("Stalled")[0] == "False"
    await place.reconcile.close()


@pytest.mark.parametrize("patience", [timedelta(0), timedelta(seconds=1)])
async def test_another_range_of_ports_is_told_to_the_routers_before_requests_are_led_there(
    patience: timedelta,
) -> None:
    place = Sleepy(patience=patience)
    await place.is_asleep()
    old = place.sleep["port"]
    await place.another_operator(router_ports=(30000, 30009))
    await place.look()
    new = place.sleep["port"]
    assert new in range(30000, 30010)
    assert place.slice is not None
    assert place.slice["ports"][0]["port"] == old
    await place.look()
    assert place.slice["ports"][0]["port"] == new
    await place.reconcile.close()


async def test_one_that_gets_no_port_says_so_and_is_awake() -> None:
    place = Sleepy()
    await place.is_asleep()
    await place.another_operator(router_ports=(30000, 30000))
    place.reconcile._sleepers._ports.of(Key("ml", "other"), None)
    await place.settle()
    assert (place.sleep["state"], "port" in place.sleep, place.pods_wanted) == ("Awake", False, 1)
    assert place.sleep["message"] == "all ports of the routers are taken (chart value router.ports)"
    assert (place.selector[names.LABEL_SLOT], place.slice) == ("blue", None)
    await place.reconcile.close()


async def test_one_that_wakes_without_scale_to_zero_hears_of_routers_too() -> None:
    place = Sleepy()
    await place.is_asleep()
    place.set(autoscaling={}, predictor={**place.predictor, "minReplicas": 1})
    await place.settle()
    assert place.sleep["state"] == "Waking"
    assert place.routers("10.1.0.8") == {CHAT}
    await place.look()
    assert place.slice_addresses == ["10.1.0.8"]
    await place.reconcile.close()


async def test_a_suspended_service_that_may_sleep_is_written_once() -> None:
    place = Sleepy()
    await place.wake_up()
    place.set(suspend=True)
    await place.settle()
    place.pods_go()
    await place.settle()
    place.now += timedelta(seconds=60)
    await place.look()
    assert place.cluster.writes == []
    await place.reconcile.close()


async def test_a_suspended_service_leads_to_the_routers_and_wakes_when_it_goes_on() -> None:
    place = Sleepy()
    await place.wake_up()
    service = the_service(place.cluster)
    place.cluster.edit(INFERENCE_SERVICE, "chat", spec={**service["spec"], "suspend": True})
    await place.settle()
    place.pods_go()
    await place.settle()
    assert (place.status["phase"], place.pods_wanted, place.selector[names.LABEL_SLOT]) == ("Suspended", 0, "asleep")
    place.ask()
    await place.settle()
    assert place.pods_wanted == 0
    place.cluster.edit(INFERENCE_SERVICE, "chat", spec=service["spec"])
    await place.settle()
    assert (place.sleep["state"], place.pods_wanted) == ("Waking", 1)
    await place.reconcile.close()
