"""The port through what happens to its certificates, asked all the time by a client that trusts what is registered."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import trustme
from aiohttp import web
from penstock import clock
from penstock.adapter.certificate import SERVING_LIFE
from penstock.adapter.metrics import AdapterMetrics
from penstock.adapter.port import Port
from penstock.adapter.upkeep import Upkeep
from penstock.kinds import API_SERVICE, CONFIG_MAP, SECRET

from tests.harness import ports
from tests.unit.test_adapter_upkeep import INSTALLATION, NAMES, Objects


class Cluster:
    """The objects, a clock that can be put forward, and the authority of the aggregation layer."""

    def __init__(self) -> None:
        self.objects = Objects()
        self.later = -SERVING_LIFE * 0.8
        self.trust(trustme.CA())
        server: Any = self.objects
        self.number = ports.free(1)[0]
        upkeep = Upkeep(server, INSTALLATION, AdapterMetrics(), lambda: clock.now() + self.later)
        self.is_synced = True
        self.port = Port(self.number, upkeep, can_answer=lambda: self.is_synced, pause=0.05)

    def trust(self, authority: trustme.CA) -> None:
        """From now on, this authority signs the front proxy's certificate."""
        self.authority = authority
        data = {"requestheader-client-ca-file": authority.cert_pem.bytes().decode()}
        self.objects.put(CONFIG_MAP, {"metadata": {"name": "extension-apiserver-authentication"}, "data": data})

    async def trusts(self, authority: trustme.CA) -> None:
        """The same, once the port knows it."""
        self.trust(authority)
        pem = authority.cert_pem.bytes().decode()
        await until(lambda: self.port.front_proxy.client_ca == pem)

    def serial(self) -> str:
        """Of the certificate in the Secret."""
        return str(self.objects.live[SECRET.name, "tls"]["data"]["tls.crt"])

    async def ask(self) -> str:
        """The name in the client's certificate, as the server sees it; on a connection of its own."""
        context = ssl.create_default_context(cadata=base64.b64decode(self.objects.bundle(NAMES[0])).decode())
        context.check_hostname = False
        self.authority.issue_cert("front.example", common_name="front-proxy").configure_cert(context)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"https://127.0.0.1:{self.number}/", ssl=context) as answer,
        ):
            return await answer.text()


async def who(request: web.Request) -> web.Response:
    certificate = request.get_extra_info("peercert")
    return web.Response(text=str(dict(part[0] for part in certificate["subject"])["commonName"]))


@asynccontextmanager
async def a_port() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    app = web.Application()
    app.router.add_get("/", who)
    running = asyncio.create_task(cluster.port.run(app))
    try:
        await until(lambda: len(cluster.objects.live) == 5)
        yield cluster
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what the port has written is a dictionary, which tells nobody.
            await asyncio.sleep(0.01)


async def test_the_api_server_s_own_certificate_opens_it() -> None:
    async with a_port() as cluster:
        assert await cluster.ask() == "front-proxy"
        assert cluster.port.missing == ""


async def test_no_poll_fails_while_the_serving_certificate_is_renewed() -> None:
    async with a_port() as cluster:
        old, answers = cluster.serial(), 0
        cluster.later = timedelta()
        async with asyncio.timeout(20):
            while cluster.serial() == old or answers < 20:
                assert await cluster.ask() == "front-proxy"
                answers += 1


async def test_a_new_authority_of_the_aggregation_layer_is_taken_over() -> None:
    async with a_port() as cluster:
        await cluster.trusts(trustme.CA())
        assert await cluster.ask() == "front-proxy"


async def test_an_authority_that_another_one_has_signed_is_trusted_as_the_cluster_says() -> None:
    async with a_port() as cluster:
        await cluster.trusts(trustme.CA().create_child_ca())
        assert await cluster.ask() == "front-proxy"


async def test_it_is_not_registered_before_it_can_answer() -> None:
    """The API server would find nobody there, and hold up discovery and the deletion of namespaces."""
    cluster = Cluster()
    cluster.is_synced = False
    running = asyncio.create_task(cluster.port.run(web.Application()))
    try:
        await until(lambda: cluster.port.missing == "")
        assert (API_SERVICE.name, NAMES[0]) not in cluster.objects.live
        cluster.is_synced = True
        await until(lambda: (API_SERVICE.name, NAMES[0]) in cluster.objects.live)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_it_goes_on_with_what_it_has_while_the_api_server_does_not_answer() -> None:
    async with a_port() as cluster:
        cluster.objects.is_down = True
        await until(lambda: cluster.objects.refused >= 3)
        assert await cluster.ask() == "front-proxy"
        assert cluster.port.missing == ""
