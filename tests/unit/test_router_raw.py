"""Clients that are no well-behaved library: what they send comes in bits, in odd orders, or is no HTTP."""

import asyncio

import pytest
from aiohttp import web
from penstock import names

from tests.router_world import a_client, a_pod, asleep, hello, on_uvloop, until


async def length(request: web.BaseRequest) -> web.Response:
    return web.Response(text=str(len(await request.content.read())))


@on_uvloop
async def test_a_request_may_come_byte_by_byte() -> None:
    async with asleep() as world, a_pod(length) as port, a_client(world) as (reader, writer):
        world.pod(port)
        for byte in b"POST / HTTP/1.1\r\nHost: chat\r\nContent-Length: 3\r\n\r\nabc":
            writer.write(bytes([byte]))
            await writer.drain()
        assert (await reader.read()).endswith(b"\r\n\r\n3")


@on_uvloop
async def test_one_whose_head_never_ends_holds_nothing() -> None:
    async with asleep() as world, a_client(world) as (_, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: chat\r\n")
        await writer.drain()
        assert (await world.get(names.ROUTER_PATH)).status == 200
        assert world.held == 0
        assert world.cluster.asks == []


@on_uvloop
@pytest.mark.parametrize("body", [b"", b"abc"], ids=["without a body", "with one"])
async def test_a_client_that_closes_its_half_has_gone(body: bytes) -> None:
    async with asleep() as world, a_client(world) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: chat\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await world.holds(1)
        writer.write_eof()
        await world.holds(0)
        assert await reader.read() == b""


@on_uvloop
async def test_of_requests_in_a_row_the_first_is_answered_and_the_connection_ends() -> None:
    """The client sends the others again, to a pod."""
    async with asleep() as world, a_pod(hello) as port, a_client(world) as (reader, writer):
        writer.write(b"GET /1 HTTP/1.1\r\nHost: chat\r\n\r\nGET /2 HTTP/1.1\r\nHost: chat\r\n\r\n")
        await world.holds(1)
        world.pod(port)
        got = await reader.read()
    assert got.count(b"HTTP/1.1 200 OK") == 1
    assert b"Connection: close" in got


@on_uvloop
@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HELO there\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: chat\r\n\r\n",
        b"BREW / HTTP/1.1\r\nHost: chat\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: chat\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: chat\r\nContent-Length: three\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: chat\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
    ],
    ids=["TLS", "SMTP", "version", "method", "no host", "two lengths", "no number", "a long header"],
)
async def test_what_is_no_http_is_refused_and_wakes_nobody(garbage: bytes) -> None:
    async with asleep() as world, a_client(world) as (reader, writer):
        writer.write(garbage)
        got = await reader.read()
        assert got.startswith(b"HTTP/1.0 400 ")
        assert names.ROUTER_HEADER.encode() + b": router-0" in got
        assert b'"code": "NotProxied"' in got
        assert world.cluster.asks == []
        assert world.held == 0


@on_uvloop
async def test_a_body_that_breaks_its_framing_is_not_a_whole_one_for_the_pod() -> None:
    came, ended = asyncio.Event(), asyncio.Event()
    whole: list[bytes] = []

    async def read(request: web.BaseRequest) -> web.Response:
        try:
            await request.content.readany()
            came.set()
            whole.append(await request.content.read())
        finally:
            ended.set()
        return web.Response()

    async with asleep() as world, a_pod(read) as port, a_client(world) as (reader, writer):
        world.pod(port)
        writer.write(b"POST / HTTP/1.1\r\nHost: chat\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        await came.wait()
        writer.write(b"no number\r\n")
        assert b" 400 Bad Request\r\n" in await reader.read()
        await ended.wait()
    assert whole == []


@on_uvloop
async def test_who_waits_for_the_word_to_go_on_gets_it_when_there_is_a_pod() -> None:
    async with asleep() as world, a_pod(length) as port, a_client(world) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: chat\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        await world.holds(1)
        reading = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        await asyncio.sleep(0.1)
        assert not reading.done()
        world.pod(port)
        assert await reading == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        got = await reader.read()
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert got.endswith(b"3")


@on_uvloop
async def test_who_is_refused_does_not_get_it() -> None:
    async with asleep() as world, a_client(world) as (reader, writer):
        world.service(spec={"suspend": True})
        writer.write(b"POST / HTTP/1.1\r\nHost: chat\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert (await reader.readline()) == b"HTTP/1.1 503 Service Unavailable\r\n"


@on_uvloop
async def test_an_answer_to_a_large_body_that_nobody_wants_is_still_read() -> None:
    """Most clients send all before they read."""
    async with asleep() as world, a_client(world) as (reader, writer):
        world.service(spec={"suspend": True})
        writer.write(b"POST / HTTP/1.1\r\nHost: chat\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 5_000_000)
        await writer.drain()
        assert b"Suspended" in await reader.read()


@on_uvloop
async def test_a_connection_that_only_comes_and_goes_counts_for_nothing() -> None:
    """A TCP health check."""
    async with asleep() as world:
        for _ in range(5):
            async with a_client(world):
                pass
        assert (await world.get(names.ROUTER_PATH)).status == 200
        assert world.cluster.asks == []
        assert b"penstock_router_requests_total{" not in world.metrics.render()[0]


@on_uvloop
async def test_a_body_s_bytes_that_came_while_it_was_held_are_not_lost() -> None:
    async with asleep() as world, a_pod(length) as port, a_client(world) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: chat\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 500_000)
        await world.holds(1)
        world.pod(port)
        await until(lambda: world.held == 0)
        writer.write(b"x" * 500_000)
        assert (await reader.read()).endswith(b"\r\n\r\n1000000")
