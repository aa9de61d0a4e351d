"""Whether requests come to the pods of services that may sleep."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from penstock.kube.pod_access import Address
from penstock.observed.load import Load
from penstock.observed.values import Activity
from penstock.pod_metrics import PodMetrics
from penstock.pods.client import NoPodClient
from penstock.pods.idleness import Idleness, Question, every
from penstock.watch.store import Key

from tests.builders import T0
from tests.virtual_time import loop, until, virtual_time

CHAT = Key("ml", "chat")
POD = Address("ml", "chat-0", "10.0.0.7")


class Pods(NoPodClient):
    """Pods that answer what the test says, and a Service whose address may lead to a router."""

    can_reach_pods = True

    def __init__(self) -> None:
        self.answers: Mapping[str, Load | str] = {"chat-0": Load(0, 0)}
        self.looks = 0
        self.is_router = False
        self.asked_services: list[str] = []

    async def loads(self, pods: Sequence[Address], metrics: PodMetrics) -> dict[str, Load | str]:
        del metrics
        self.looks += 1
        return {pod.name: self.answers[pod.name] for pod in pods if pod.name in self.answers}

    async def is_router_at(self, service_ip: str, namespace: str, name: str) -> bool:
        self.asked_services.append(f"{namespace}/{name} at {service_ip}")
        return self.is_router


class World:
    """One service that is watched, in virtual time."""

    def __init__(self, **question: object) -> None:
        self.pods = Pods()
        self.woken = 0
        self.question = Question([POD], PodMetrics(), every=15, **question)  # type: ignore[arg-type]
        self.idleness = Idleness(self.pods, self._wake, lambda: T0 + timedelta(seconds=loop().time() - 1000))

    def _wake(self, key: Key) -> None:
        assert key == CHAT
        self.woken += 1

    def activity(self) -> Activity | None:
        return self.idleness.activity(CHAT, self.question)

    async def looked(self, times: int) -> Activity:
        self.activity()
        await until(lambda: self.pods.looks >= times)
        found = self.activity()
        assert found is not None
        return found

    def quiet_for(self, found: Activity) -> float | None:
        return None if found.quiet_since is None else (found.looked_at - found.quiet_since).total_seconds()


@virtual_time
async def test_quiet_begins_with_the_first_look_and_lasts_while_no_pod_counts_more() -> None:
    world = World()
    assert world.activity() is None
    assert world.quiet_for(await world.looked(1)) == 0
    assert world.woken == 1
    assert world.quiet_for(await world.looked(3)) == 30
    assert world.woken == 1
    await world.idleness.close()


@virtual_time
async def test_a_request_between_two_looks_ends_it_though_none_is_under_way() -> None:
    world = World()
    await world.looked(2)
    world.pods.answers = {"chat-0": Load(1, 0)}
    assert world.quiet_for(await world.looked(3)) is None
    assert world.woken == 2
    assert world.quiet_for(await world.looked(4)) == 0
    await world.idleness.close()


@virtual_time
async def test_a_request_under_way_ends_it_and_so_does_a_counter_that_began_anew() -> None:
    world = World()
    world.pods.answers = {"chat-0": Load(5, 0)}
    await world.looked(1)
    world.pods.answers = {"chat-0": Load(5, 1)}
    assert world.quiet_for(await world.looked(2)) is None
    world.pods.answers = {"chat-0": Load(5, 0)}
    assert world.quiet_for(await world.looked(3)) == 0
    world.pods.answers = {"chat-0": Load(1, 0)}
    assert world.quiet_for(await world.looked(4)) is None
    await world.idleness.close()


@virtual_time
async def test_a_pod_that_does_not_tell_is_not_quiet_and_the_reason_is_kept() -> None:
    world = World()
    world.pods.answers = {"chat-0": "does not count hits_total at /metrics"}
    found = await world.looked(1)
    assert (found.quiet_since, found.unknown) == (None, "pod chat-0 does not count hits_total at /metrics")
    world.pods.answers = {}
    assert (await world.looked(2)).unknown == "1 of 1 pods were not asked"
    await world.idleness.close()


@virtual_time
async def test_a_pod_that_did_not_tell_for_a_moment_and_has_counted_nothing_was_quiet_all_the_time() -> None:
    world = World()
    world.pods.answers = {"chat-0": Load(5, 0)}
    await world.looked(1)
    world.pods.answers = {"chat-0": "does not tell its metrics: TimeoutError"}
    assert (await world.looked(2)).quiet_since is None
    world.pods.answers = {"chat-0": Load(5, 0)}
    assert world.quiet_for(await world.looked(3)) == 30
    world.pods.answers = {"chat-0": "does not tell its metrics: TimeoutError"}
    await world.looked(4)
    world.pods.answers = {"chat-0": Load(6, 0)}
    assert (await world.looked(5)).quiet_since is None
    await world.idleness.close()


@virtual_time
async def test_what_nobody_has_told_was_not_quiet() -> None:
    world = World()
    world.pods.answers = {"chat-0": "does not tell its metrics: TimeoutError"}
    await world.looked(3)
    world.pods.answers = {"chat-0": Load(500, 0)}
    assert world.quiet_for(await world.looked(4)) == 0
    await world.idleness.close()


@virtual_time
async def test_of_several_pods_that_do_not_tell_the_first_by_name_is_named_and_no_pass_is_woken_again() -> None:
    world = World()
    silent = {name: f"is not there, says {name}" for name in ("chat-1", "chat-0")}
    world.pods.answers = silent
    assert (await world.looked(1)).unknown == "pod chat-0 is not there, says chat-0"
    world.pods.answers = {**silent, "chat-0": "has another excuse"}
    await world.looked(2)
    assert world.woken == 1
    await world.idleness.close()


@virtual_time
async def test_the_router_is_looked_for_only_a_look_after_the_service_leads_there() -> None:
    world = World()
    await world.looked(1)
    world.question = Question([POD], PodMetrics(), every=1, is_close=True, service_ip="10.2.0.1")
    found = await world.looked(2)
    assert (found.is_router_reached, world.pods.asked_services) == (False, [])
    found = await world.looked(3)
    assert (found.is_router_reached, world.pods.asked_services) == (False, ["ml/chat at 10.2.0.1"])
    world.pods.is_router = True
    assert (await world.looked(4)).is_router_reached
    # Once it was reached nobody asks again, until the next time.
    await world.looked(6)
    assert len(world.pods.asked_services) == 2
    world.question = Question([POD], PodMetrics(), every=15)
    assert not (await world.looked(7)).is_router_reached
    await world.idleness.close()


@virtual_time
async def test_every_look_wakes_a_pass_while_the_next_step_depends_on_it() -> None:
    world = World()
    await world.looked(1)
    world.question = Question([POD], PodMetrics(), every=1, is_close=True, service_ip="10.2.0.1")
    woken, began = world.woken, loop().time()
    await world.looked(4)
    assert world.woken >= woken + 3
    assert loop().time() - began < 5  # The first of these looks did not wait for its turn in the slow order.
    await world.idleness.close()


@virtual_time
async def test_nobody_is_asked_where_pods_cannot_be_reached() -> None:
    world = World()
    world.pods.can_reach_pods = False
    found = world.activity()
    assert found is not None
    assert "podAccess" in found.unknown
    await world.idleness.close()


def test_a_service_is_looked_at_four_times_before_it_sleeps_but_not_too_often() -> None:
    assert [every(seconds, is_close=False) for seconds in (1, 60, 300, 86400)] == [1, 15, 30, 30]
    assert every(300, is_close=True) == 1
