"""The ports: whose they are, and that one service's trouble is not the others'."""

import asyncio
import socket

import aiohttp
import pytest
from penstock import names
from penstock.environment import SettingsError
from penstock.router.ports import Ports
from penstock.router.settings import Settings
from penstock.watch.store import Key
from structlog.testing import capture_logs

from tests.harness import ports
from tests.router_world import World, a_pod, a_router, asleep, hello, until

CHAT, OTHER = Key("ml", "chat"), Key("ml", "other")


async def who(port: int, host: str = "127.0.0.1") -> str:
    url = f"http://{host}:{port}{names.ROUTER_PATH}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return str((await answer.json())["service"])


async def test_the_port_tells_the_service_whatever_the_host_header_says() -> None:
    async with asleep() as world:
        other = ports.free(1)[0]
        world.service(name="other", port=other, uid="uid-other")
        await world.opened(other)
        assert await who(world.port) == "ml/chat"
        assert await who(other) == "ml/other"
        answer = await world.get(names.ROUTER_PATH, headers={"Host": "other.ml.svc"})
        assert answer.json["service"] == "ml/chat"


async def test_a_port_is_closed_when_its_service_goes_and_opened_where_it_is_moved_to() -> None:
    async with asleep() as world:
        old, new = world.port, ports.free(1)[0]
        world.service(port=new)
        await world.opened(new)
        await until(lambda: len(world.parts.ports) == 1)
        assert await who(new) == "ml/chat"
        with pytest.raises(aiohttp.ClientConnectorError):
            await who(old)
        world.service(None)
        await until(lambda: len(world.parts.ports) == 0)


async def test_a_port_of_two_services_is_the_first_one_s_until_that_goes() -> None:
    async with asleep() as world:
        with capture_logs() as logs:
            world.service(name="other", uid="uid-other")
        assert [(each["log_level"], each["service"]) for each in logs] == [("warning", "ml/other")]
        assert await who(world.port) == "ml/chat"
        world.no_service()
        await until(lambda: world.parts.ports.is_settled)
        assert await who(world.port) == "ml/other"


async def test_a_port_out_of_range_is_left_alone() -> None:
    opened = Ports(range(20000, 20010), asyncio.Protocol)
    with capture_logs() as logs:
        opened.follow(CHAT, 80)
    assert [each["port"] for each in logs] == [80]
    assert opened.owner(80) is None
    assert opened.is_settled
    opened.follow(CHAT, None)


async def test_a_port_that_is_taken_is_tried_again_and_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.router.ports._RETRY_SECONDS", 0.05)
    async with a_router() as world:
        with socket.create_server(("", world.port)):
            world.service()
            other = ports.free(1)[0]
            world.service(name="other", port=other, uid="uid-other")
            await world.opened(other)
            assert await who(other) == "ml/other"
            assert world.parts.ports.is_settled  # One service that cannot be served is no reason to serve none.
        await world.opened()
        assert world.parts.ports.is_settled
        assert await who(world.port) == "ml/chat"


async def test_it_is_not_settled_before_each_port_is_open() -> None:
    world = World()
    world.service()
    assert not world.parts.ports.is_settled
    tasks = world.parts.tasks()
    await until(lambda: world.parts.ports.is_settled)
    assert await who(world.port) == "ml/chat"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await world.parts.close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
async def test_it_listens_for_both_families_and_names_clients_by_their_own_address() -> None:
    async with asleep() as world, a_pod(hello) as port:
        world.pod(port)
        assert await who(world.port, "[::1]") == "ml/chat"
        assert await who(world.port) == "ml/chat"


def test_the_settings_have_a_range_and_a_port_of_their_own() -> None:
    assert Settings().ports == range(20000, 28000)
    with pytest.raises(SettingsError, match="must not be below"):
        Settings.from_env({"PENSTOCK_FIRST_PORT": "3000", "PENSTOCK_LAST_PORT": "2000"})
    with pytest.raises(SettingsError, match="must not be one of"):
        Settings.from_env({"PENSTOCK_FIRST_PORT": "8000", "PENSTOCK_LAST_PORT": "9000"})
