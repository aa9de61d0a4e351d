"""Requests that are held: their order, their bounds, and clients and pods that go away meanwhile."""

import asyncio

import aiohttp
import pytest
from aiohttp import web
from penstock import names

from tests.harness import ports
from tests.router_world import World, a_client, a_pod, a_router, asleep, hello, on_uvloop, until


class Gate:
    """A pod's handler that answers when it is let; it notes who came, in order."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self.most = 0
        self.now = 0
        self.open = asyncio.Event()

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        self.came.append(request.path)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.open.wait()
        finally:
            self.now -= 1
        return web.Response(text=request.path)


async def line_up(world: World, number: int) -> "list[asyncio.Task[object]]":
    """So many requests, /0 first."""
    asking: list[asyncio.Task[object]] = []
    for each in range(number):
        asking.append(asyncio.create_task(world.get(f"/{each}")))
        await world.holds(each + 1)
    return asking


@on_uvloop
async def test_the_first_that_came_is_the_first_that_is_forwarded() -> None:
    gate = Gate()
    gate.open.set()
    async with asleep(replicas=1) as world, a_pod(gate) as port:
        world.service(predictor={"containerConcurrency": 1})
        asking = await line_up(world, 12)
        world.pod(port)
        await asyncio.gather(*asking)
    assert gate.came == [f"/{number}" for number in range(12)]
    assert gate.most == 1


@on_uvloop
async def test_a_pod_gets_no_more_at_once_than_this_router_s_share() -> None:
    gate = Gate()
    async with asleep(replicas=2) as world, a_pod(gate) as port:
        world.service(predictor={"containerConcurrency": 6})
        asking = [world.start() for _ in range(8)]
        await world.holds(8)
        world.pod(port)
        await until(lambda: gate.now == 3)
        assert world.held == 5
        gate.open.set()
        assert {(await each).status for each in asking} == {200}
    assert gate.most == 3


@on_uvloop
async def test_the_pods_share_the_requests_evenly() -> None:
    first, second = Gate(), Gate()
    async with asleep() as world, a_pod(first) as one, a_pod(second) as two:
        asking = [world.start() for _ in range(8)]
        await world.holds(8)
        world.pod(one, name="chat-0")
        world.pod(two, name="chat-1")
        late = [world.start() for _ in range(8)]
        await until(lambda: first.now + second.now == 16)
        assert (first.now, second.now) == (8, 8)
        first.open.set()
        second.open.set()
        await asyncio.gather(*asking, *late)


@on_uvloop
async def test_the_slot_that_serves_comes_first() -> None:
    async def green(_: web.BaseRequest) -> web.Response:
        return web.Response(text="green")

    async with asleep() as world, a_pod(hello) as blue_port, a_pod(green) as green_port:
        world.service("Awake", slot="green")
        world.pod(blue_port, name="chat-blue", slot="blue")
        assert (await world.get()).body == b"hello"
        world.pod(green_port, name="chat-green", slot="green")
        assert {(await world.get()).body for _ in range(3)} == {b"green"}


@on_uvloop
async def test_an_answer_that_was_waited_for_says_so() -> None:
    async with asleep() as world, a_pod(hello) as port:
        asking = world.start()
        await world.holds(1)
        await asyncio.sleep(0.2)
        world.pod(port)
        answer = await asking
        assert 0.1 <= float(answer.headers[names.COLD_START_HEADER]) < 5
        assert names.ROUTER_HEADER not in answer.headers
        assert answer.headers["Connection"] == "close"
        assert world.metric("penstock_router_held_seconds_count") == 1
        assert names.COLD_START_HEADER not in (await world.get()).headers
        assert world.metric("penstock_router_forwarded_total") == 2
        assert world.metric("penstock_router_requests_total", code="200") == 2


@on_uvloop
async def test_a_pod_of_a_service_that_is_asleep_is_on_its_way_out_and_gets_nothing() -> None:
    gate = Gate()
    gate.open.set()
    async with asleep() as world, a_pod(gate) as port:
        world.pod(port, name="chat-old", is_wanted=False)
        asking = world.start()
        await world.holds(1)
        await until(lambda: bool(world.cluster.asks))
        assert gate.came == []
        world.pod(port)
        assert (await asking).status == 200


@on_uvloop
async def test_what_is_held_goes_on_to_the_pods_when_the_service_gives_its_port_back() -> None:
    gate = Gate()
    async with asleep(replicas=1) as world, a_pod(gate) as port:
        world.service(predictor={"containerConcurrency": 1})
        asking = [world.start() for _ in range(4)]
        await world.holds(4)
        world.pod(port)
        await until(lambda: gate.now == 1)
        world.service(None)
        gate.open.set()
        assert [(await each).status for each in asking] == [200] * 4


@on_uvloop
async def test_what_is_held_of_one_that_was_asleep_goes_on_too_when_it_gives_its_port_back() -> None:
    gate = Gate()
    gate.open.set()
    async with asleep() as world, a_pod(gate) as port:
        asking = world.start()
        await world.holds(1)
        world.pod(port, is_wanted=False)
        world.service(None)
        assert (await asking).status == 200


@on_uvloop
async def test_what_is_held_then_is_refused_when_the_pods_go_too() -> None:
    gate = Gate()
    async with asleep(replicas=1) as world, a_pod(gate) as port:
        world.service(predictor={"containerConcurrency": 1})
        asking = [world.start() for _ in range(2)]
        await world.holds(2)
        world.pod(port)
        await until(lambda: gate.now == 1)
        world.service(None)
        world.pod(port, ready=False)
        gate.open.set()
        assert sorted([(await each).status for each in asking]) == [200, 503]


@on_uvloop
async def test_a_service_holds_no_more_than_it_says() -> None:
    async with asleep() as world, a_pod(hello) as port:
        world.service(sleep={"maxHeldRequests": 2})
        asking = await line_up(world, 2)
        answer = await world.get()
        assert (answer.status, answer.reason) == (503, "TooManyHeldRequests")
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers[names.ROUTER_HEADER] == "router-0"
        assert answer.error["type"] == "service_unavailable_error"
        assert answer.error["param"] is None
        assert world.held == 2
        world.pod(port)
        await asyncio.gather(*asking)


@on_uvloop
async def test_all_services_together_hold_no_more_than_the_setting() -> None:
    async with asleep(max_held_requests=2) as world:
        asking = await line_up(world, 2)
        other = ports.free(1)[0]
        world.service(name="other", port=other, uid="uid-other")
        await world.opened(other)
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{other}/") as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (503, "TooManyHeldRequests")
        for each in asking:
            each.cancel()
        await world.holds(0)


@on_uvloop
async def test_the_bound_is_for_what_is_held_and_not_for_what_a_pod_takes() -> None:
    gate = Gate()
    async with asleep() as world, a_pod(gate) as port:
        world.service("Awake", sleep={"maxHeldRequests": 1})
        world.pod(port)
        asking = [world.start() for _ in range(5)]
        await until(lambda: gate.now == 5)
        gate.open.set()
        assert {(await each).status for each in asking} == {200}


@pytest.mark.parametrize("size", [0, 100_000], ids=["without a body", "with more than is read of it"])
@on_uvloop
async def test_a_client_that_gives_up_while_it_is_held_is_forgotten_at_once(size: int) -> None:
    async with asleep() as world:
        world.service(sleep={"maxHeldRequests": 1})
        async with a_client(world) as (_, writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: chat\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
            await writer.drain()
            await world.holds(1)
            writer.close()
            await world.holds(0)
        assert world.metric("penstock_router_held_requests", namespace="ml", name="chat") == 0
        assert world.metric("penstock_router_given_up_total") == 1
        await until(lambda: world.metric("penstock_router_requests_total", code="499") == 1)
        # Its place is free.
        asking = world.start()
        await world.holds(1)
        asking.cancel()


@on_uvloop
async def test_the_body_is_not_read_while_a_request_is_held() -> None:
    async with asleep() as world, a_client(world) as (_, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: chat\r\nContent-Length: 100000000\r\n\r\n")
        await world.holds(1)
        writer.write(b"x" * 100_000_000)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.5)


@on_uvloop
async def test_one_that_gives_up_is_not_forwarded_and_the_others_are_in_order() -> None:
    gate = Gate()
    gate.open.set()
    async with asleep(replicas=1) as world, a_pod(gate) as port:
        world.service(predictor={"containerConcurrency": 1})
        asking = await line_up(world, 4)
        asking[1].cancel()
        await world.holds(3)
        world.pod(port)
        await asyncio.gather(asking[0], asking[2], asking[3])
    assert gate.came == ["/0", "/2", "/3"]


@on_uvloop
async def test_what_is_held_for_a_service_that_goes_is_answered() -> None:
    async with asleep() as world:
        asking = world.start()
        await world.holds(1)
        world.no_service()
        answer = await asking
        assert (answer.status, answer.reason) == (503, "NoService")
        assert b'name="chat"' not in world.metrics.render()[0]


@on_uvloop
async def test_a_service_that_is_made_again_has_nothing_of_the_old_one() -> None:
    async with asleep() as world:
        asking = world.start()
        await world.holds(1)
        world.service(uid="uid-new")
        assert (await asking).reason == "NoService"
        asking = world.start()
        await world.holds(1)
        await until(lambda: world.cluster.asks[-1][1]["metadata"]["uid"] == "uid-new")
        asking.cancel()


@on_uvloop
async def test_a_pod_that_refuses_the_connection_costs_nothing_but_time() -> None:
    """It has ended, and the watch does not know yet."""
    async with asleep() as world, a_pod(hello) as port:
        asking = await line_up(world, 3)
        world.pod(ports.free(1)[0], name="chat-0")
        await until(lambda: world.parts._holds.total.held == 3)
        world.pod(port, name="chat-1")
        answers = await asyncio.gather(*asking)
    assert {each.status for each in answers} == {200}  # type: ignore[attr-defined]


@on_uvloop
async def test_one_whose_pod_refused_it_keeps_its_place() -> None:
    gate = Gate()
    gate.open.set()
    async with asleep(replicas=1) as world, a_pod(gate) as port:
        world.service(predictor={"containerConcurrency": 1})
        world.pod(ports.free(1)[0], name="chat-0")
        asking = await line_up(world, 5)
        world.pod(port, name="chat-1")
        await asyncio.gather(*asking)
    assert gate.came == [f"/{number}" for number in range(5)]


@on_uvloop
async def test_a_body_that_a_refusing_pod_should_have_had_comes_whole_to_the_next() -> None:
    async def echo(request: web.BaseRequest) -> web.Response:
        return web.Response(body=await request.content.read())

    async with asleep() as world, a_pod(echo) as port:
        world.pod(ports.free(1)[0], name="chat-0")
        asking = world.start(method="POST", data=b"x" * 50_000)
        await world.holds(1)
        world.pod(port, name="chat-1")
        assert (await asking).body == b"x" * 50_000


@on_uvloop
async def test_a_pod_that_never_takes_connections_leaves_the_time_bound() -> None:
    async with asleep() as world:
        world.service("Awake", sleep={"wakeTimeoutSeconds": 1})
        world.pod(ports.free(1)[0])
        assert (await world.get()).reason == "WakeTimeout"


@on_uvloop
async def test_two_routers_hold_for_one_service_by_themselves() -> None:
    async with asleep() as one, a_router() as other, a_pod(hello) as port:
        other.service()
        await other.opened()
        asking = [one.start(), other.start()]
        await one.holds(1)
        await other.holds(1)
        one.pod(port)
        other.pod(port)
        assert {(await each).status for each in asking} == {200}


@on_uvloop
async def test_what_is_under_way_when_the_router_closes_is_broken_off() -> None:
    gate = Gate()
    async with a_pod(gate) as port:
        async with asleep() as world:
            world.pod(port)
            asking = world.start()
            await until(lambda: gate.now == 1)
        with pytest.raises(aiohttp.ClientError):
            await asking


@on_uvloop
async def test_a_drain_takes_new_requests_first_then_none_and_ends_those_that_there_are() -> None:
    gate = Gate()
    async with asleep(drain_seconds=0.3, grace_seconds=10) as world, a_pod(gate) as port:
        held = world.start("/held")
        await world.holds(1)
        draining = asyncio.create_task(world.parts.drain())
        late = world.start("/late")
        await world.holds(2)
        await until(lambda: not len(world.parts.ports))
        with pytest.raises(aiohttp.ClientConnectorError):
            await world.get()
        assert not draining.done()
        world.pod(port)
        await until(lambda: gate.now == 2)
        assert not draining.done()
        gate.open.set()
        assert [(await each).status for each in (held, late)] == [200, 200]
        await draining


@on_uvloop
async def test_a_drain_does_not_wait_for_ever() -> None:
    async with asleep(drain_seconds=0, grace_seconds=0.1) as world:
        asking = world.start()
        await world.holds(1)
        await world.parts.drain()
        asking.cancel()
