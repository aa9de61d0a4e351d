"""Forwarding: both messages arrive as they were sent, while they are sent."""

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from penstock import names

from tests.router_world import World, a_client, a_pod, a_raw_pod, asleep, on_uvloop, until


class Pod:
    """A connection's other end, by hand: the request as it came, and bytes to answer with."""

    def __init__(self, answer: bytes, *, then_abort: bool = False, reads_body: int = 0) -> None:
        self.answer = answer
        self.then_abort = then_abort
        self.reads_body = reads_body
        self.heads: list[bytes] = []
        self.body = b""
        self.closed = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            self.body = await reader.readexactly(self.reads_body)
            writer.write(self.answer)
            await writer.drain()
            if self.then_abort:
                writer.close()
                return
            await reader.read()
        finally:
            self.closed.set()

    @property
    def lines(self) -> list[bytes]:
        return self.heads[-1].split(b"\r\n")


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def exchange(world: World, request: bytes) -> bytes:
    """What a bare client gets until the connection ends."""
    async with a_client(world) as (reader, writer):
        writer.write(request)
        return await reader.read()


@on_uvloop
async def test_the_request_arrives_as_it_was_sent() -> None:
    pod = Pod(OK, reads_body=3)
    async with asleep() as world, a_raw_pod(pod) as port:
        world.pod(port)
        await exchange(
            world,
            b"PATCH /a%2Fb//../c%zz?q=%41+b&&x HTTP/1.1\r\nHost: chat.ml:81\r\nX-Odd: caf\xe9\r\nx-lower: 1\r\n"
            b"Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nTE: trailers\r\nContent-Length: 3\r\n\r\nabc",
        )
    assert pod.lines[0] == b"PATCH /a%2Fb//../c%zz?q=%41+b&&x HTTP/1.1"
    assert pod.lines[1:5] == [b"Host: chat.ml:81", b"X-Odd: caf\xe9", b"x-lower: 1", b"Content-Length: 3"]
    assert sorted(pod.lines[5:-2]) == [b"Connection: close", b"X-Forwarded-For: 127.0.0.1", b"X-Forwarded-Proto: http"]
    assert pod.body == b"abc"


@on_uvloop
async def test_the_answer_arrives_as_it_was_sent() -> None:
    answer = (
        b"HTTP/1.1 299 Fine, so far\r\nX-Odd: caf\xe9\r\nset-cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: X-Hop\r\n"
        b"X-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 3\r\n\r\n\x00\x01\x02"
    )
    async with asleep() as world, a_raw_pod(Pod(answer)) as port:
        world.pod(port)
        got = await exchange(world, b"GET / HTTP/1.1\r\nHost: chat\r\n\r\n")
    assert got == (
        b"HTTP/1.1 299 Fine, so far\r\nX-Odd: caf\xe9\r\nset-cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 3\r\n"
        b"Connection: close\r\n\r\n\x00\x01\x02"
    )


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PROPFIND", "REPORT", "PURGE"])
@on_uvloop
async def test_methods_are_passed_on(method: str) -> None:
    async def tell(request: web.BaseRequest) -> web.Response:
        return web.Response(text=request.method)

    async with asleep() as world, a_pod(tell) as port:
        world.pod(port)
        assert (await world.ask(method)).body == method.encode()


@on_uvloop
async def test_a_url_as_the_target_becomes_its_path() -> None:
    pod = Pod(OK)
    async with asleep() as world, a_raw_pod(pod) as port:
        world.pod(port)
        await exchange(world, b"GET http://chat.ml/a?b HTTP/1.1\r\nHost: chat.ml\r\n\r\n")
    assert pod.lines[0] == b"GET /a?b HTTP/1.1"


@pytest.mark.parametrize("request_line", [b"CONNECT chat:80 HTTP/1.1", b"OPTIONS * HTTP/1.1"])
@on_uvloop
async def test_what_is_for_no_pod_is_refused(request_line: bytes) -> None:
    async with asleep() as world:
        got = await exchange(world, request_line + b"\r\nHost: chat:80\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 400 ")
    assert b"NotProxied" in got


@on_uvloop
async def test_a_redirect_and_a_compressed_body_are_left_as_they_are() -> None:
    body = gzip.compress(b"hello")

    async def redirect(_: web.BaseRequest) -> web.Response:
        headers = {"Location": "http://nowhere.example/", "Content-Encoding": "gzip"}
        return web.Response(status=307, body=body, headers=headers)

    async with asleep() as world, a_pod(redirect) as port:
        world.pod(port)
        answer = await world.get()
    assert (answer.status, answer.headers["Location"]) == (307, "http://nowhere.example/")
    assert (answer.headers["Content-Encoding"], answer.body) == ("gzip", body)


@pytest.mark.parametrize("is_chunked", [False, True], ids=["of known length", "chunked"])
@on_uvloop
async def test_large_bodies_go_through_whole_both_ways(is_chunked: bool) -> None:
    size, block = 24 * 1024 * 1024, b"0123456789abcdef" * 4096

    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        if request.content_length is not None:
            answer.content_length = request.content_length
        await answer.prepare(request)
        async for chunk in request.content.iter_any():
            await answer.write(chunk)
        return answer

    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(size // len(block)):
            yield block

    headers = {} if is_chunked else {"Content-Length": str(size)}
    async with asleep() as world, a_pod(echo) as port:
        asking = world.start(method="POST", data=blocks(), headers=headers)
        await world.holds(1)
        world.pod(port)
        answer = await asking
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(block * (size // len(block))).digest()
    assert ("Content-Length" in answer.headers) is not is_chunked


@on_uvloop
async def test_events_arrive_one_by_one_while_the_stream_goes_on() -> None:
    go_on = asyncio.Event()

    async def stream(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b"data: 1\n\n")
        await go_on.wait()
        await answer.write(b"data: 2\n\n")
        return answer

    async with asleep() as world, a_pod(stream) as port:
        world.pod(port)
        async with aiohttp.ClientSession() as session, session.get(world.url) as answer:
            assert answer.headers["Content-Type"] == "text/event-stream"
            assert await answer.content.readany() == b"data: 1\n\n"
            go_on.set()
            assert await answer.content.read() == b"data: 2\n\n"


@on_uvloop
async def test_the_request_s_body_arrives_bit_by_bit_while_the_answer_goes_on() -> None:
    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        async for chunk in request.content.iter_any():
            await answer.write(chunk)
        return answer

    async with asleep() as world, a_pod(echo) as port, a_client(world) as (reader, writer):
        world.pod(port)
        writer.write(b"POST / HTTP/1.1\r\nHost: chat\r\nTransfer-Encoding: chunked\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for letter in (b"a", b"b", b"c"):
            writer.write(b"1\r\n" + letter + b"\r\n")
            assert await reader.readexactly(6) == b"1\r\n" + letter + b"\r\n"
        writer.write(b"0\r\n\r\n")
        assert await reader.read() == b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("status", "headers"), [("204 No Content", b""), ("304 Not Modified", b"Content-Length: 7\r\nETag: x\r\n")]
)
@on_uvloop
async def test_an_answer_without_a_body_ends_with_its_head(status: str, headers: bytes) -> None:
    async with asleep() as world, a_raw_pod(Pod(f"HTTP/1.1 {status}\r\n".encode() + headers + b"\r\n")) as port:
        world.pod(port)
        got = await exchange(world, b"GET / HTTP/1.1\r\nHost: chat\r\n\r\n")
    assert got == f"HTTP/1.1 {status}\r\n".encode() + headers + b"Connection: close\r\n\r\n"


@on_uvloop
async def test_the_answer_to_head_has_the_length_and_no_body() -> None:
    async with asleep() as world, a_raw_pod(Pod(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")) as port:
        world.pod(port)
        got = await exchange(world, b"HEAD / HTTP/1.1\r\nHost: chat\r\n\r\n")
    assert got == b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n"


@on_uvloop
async def test_interim_answers_are_left_out() -> None:
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK
    async with asleep() as world, a_raw_pod(Pod(answer)) as port:
        world.pod(port)
        got = await exchange(world, b"GET / HTTP/1.1\r\nHost: chat\r\n\r\n")
    assert got == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@on_uvloop
async def test_an_answer_without_a_length_is_whole_when_the_pod_ends_it() -> None:
    pod = Pod(b"HTTP/1.1 200 OK\r\n\r\nall of it", then_abort=True)
    async with asleep() as world, a_raw_pod(pod) as port:
        world.pod(port)
        assert (await world.get()).body == b"all of it"


@on_uvloop
async def test_a_client_of_http_1_0_gets_no_chunks() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    async with asleep() as world, a_raw_pod(Pod(answer)) as port:
        world.pod(port)
        got = await exchange(world, b"GET / HTTP/1.0\r\n\r\n")
    assert got == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
    ids=["of known length", "chunked"],
)
@on_uvloop
async def test_an_answer_that_the_pod_breaks_off_has_no_end(answer: bytes) -> None:
    async with asleep() as world, a_raw_pod(Pod(answer, then_abort=True)) as port:
        world.pod(port)
        async with aiohttp.ClientSession() as session, session.get(world.url) as got:
            assert await got.content.readexactly(4) == b"half"
            with pytest.raises(aiohttp.ClientPayloadError):
                await got.content.read()


@on_uvloop
async def test_nor_has_it_for_a_client_that_takes_the_connection_s_end_for_the_answer_s() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
    async with asleep() as world, a_raw_pod(Pod(answer, then_abort=True)) as port:
        world.pod(port)
        with pytest.raises(ConnectionResetError):
            await exchange(world, b"GET / HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 O", b"220 smtp.example ESMTP\r\n\r\n"])
@on_uvloop
async def test_a_pod_that_breaks_before_it_answers_is_a_bad_gateway(answer: bytes) -> None:
    async with asleep() as world, a_raw_pod(Pod(answer, then_abort=True)) as port:
        world.pod(port)
        got = await world.get()
    assert (got.status, got.reason) == (502, "PodFailed")
    assert got.headers[names.ROUTER_HEADER] == "router-0"
    assert "chat-0" in got.error["message"]


@on_uvloop
async def test_no_request_is_sent_twice() -> None:
    pod = Pod(b"", then_abort=True)
    async with asleep() as world, a_raw_pod(pod) as port:
        world.pod(port)
        await world.get()
    assert len(pod.heads) == 1


@on_uvloop
async def test_a_pod_that_does_not_begin_to_answer_in_time_is_given_up() -> None:
    pod = Pod(b"")
    async with asleep() as world, a_raw_pod(pod) as port:
        world.service("Awake", predictor={"timeout": 1})
        world.pod(port)
        got = await world.get()
        assert (got.status, got.reason) == (504, "PodTimeout")
        async with asyncio.timeout(5):
            await pod.closed.wait()


@on_uvloop
async def test_a_stream_may_take_longer_than_that() -> None:
    async def stream(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(3):
            await asyncio.sleep(0.5)
            await answer.write(b"x")
        return answer

    async with asleep() as world, a_pod(stream) as port:
        world.service("Awake", predictor={"timeout": 1})
        world.pod(port)
        assert (await world.get()).body == b"xxx"


@on_uvloop
async def test_so_may_a_slow_sender() -> None:
    async def length(request: web.BaseRequest) -> web.Response:
        return web.Response(text=str(len(await request.content.read())))

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(4):
            await asyncio.sleep(0.4)
            yield b"x"

    async with asleep() as world, a_pod(length) as port:
        world.service("Awake", predictor={"timeout": 1})
        world.pod(port)
        assert (await world.ask("POST", data=slowly())).body == b"4"


@on_uvloop
async def test_a_client_that_leaves_ends_the_pod_s_work() -> None:
    pod = Pod(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
    async with asleep() as world, a_raw_pod(pod) as port:
        world.pod(port)
        async with a_client(world) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: chat\r\n\r\n")
            await reader.readuntil(b"half\r\n")
        async with asyncio.timeout(5):
            await pod.closed.wait()
        await until(lambda: world.metric("penstock_router_requests_in_flight") == 0)
        assert world.metric("penstock_router_requests_total", code="499") == 1
        assert world.metric("penstock_router_given_up_total") == 0


@on_uvloop
async def test_it_does_so_too_while_the_pod_reads_nothing_of_a_large_body() -> None:
    pod = Pod(b"")
    async with asleep() as world, a_raw_pod(pod) as port:
        world.pod(port)
        async with a_client(world) as (_, writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: chat\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000)
            await until(lambda: bool(pod.heads))
        async with asyncio.timeout(5):
            await pod.closed.wait()


@on_uvloop
async def test_a_slow_reader_slows_the_pod_and_fills_no_memory() -> None:
    sent = 0

    async def flood(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"x" * 65536)
            sent += 65536

    async with asleep() as world, a_pod(flood) as port, a_client(world) as (_, writer):
        world.pod(port)
        writer.write(b"GET / HTTP/1.1\r\nHost: chat\r\n\r\n")
        before = -1
        async with asyncio.timeout(10):
            while sent != before or not sent:
                before = sent
                await asyncio.sleep(0.2)
    assert sent < 30_000_000  # What the kernel's buffers of both connections take.


@on_uvloop
async def test_a_websocket_is_passed_through_both_ways() -> None:
    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=["chat"])
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{request.path} {message.data}")
        return socket

    async with asleep() as world, a_pod(echo) as port:
        world.pod(port)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{world.url}/ws", protocols=["chat"]) as socket,
        ):
            assert socket.protocol == "chat"
            for number in range(3):
                await socket.send_str(str(number))
                assert await socket.receive_str() == f"/ws {number}"
            large = "x" * 1_000_000
            await socket.send_str(large)
            assert await socket.receive_str() == f"/ws {large}"


@pytest.mark.parametrize("who", ["pod", "client"])
@on_uvloop
async def test_the_end_of_a_websocket_is_passed_on(who: str) -> None:
    ended = asyncio.Event()

    async def talk(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if who == "pod":
            await socket.close(code=4000)
        async for _ in socket:
            pass
        ended.set()
        return socket

    async with asleep() as world, a_pod(talk) as port:
        asking = asyncio.create_task(_websocket(world))
        await world.holds(1)
        world.pod(port)
        session, socket = await asking
        async with session:
            if who == "pod":
                message = await socket.receive()
                assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 4000)
            await socket.close()
        async with asyncio.timeout(5):
            await ended.wait()
        await until(lambda: world.metric("penstock_router_requests_in_flight") == 0)


async def _websocket(world: World) -> "tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]":
    session = aiohttp.ClientSession()
    return session, await session.ws_connect(world.url)


@on_uvloop
async def test_a_websocket_that_the_pod_declines_is_an_answer_like_any_other() -> None:
    async def decline(_: web.BaseRequest) -> web.Response:
        return web.Response(status=403, text="no")

    async with asleep() as world, a_pod(decline) as port:
        world.pod(port)
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(world.url)
    assert refused.value.status == 403


@on_uvloop
async def test_another_protocol_is_not_asked_for() -> None:
    pod = Pod(OK)
    async with asleep() as world, a_raw_pod(pod) as port:
        world.pod(port)
        got = await exchange(
            world, b"GET / HTTP/1.1\r\nHost: chat\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
        )
    assert got.endswith(b"ok")
    assert b"h2c" not in pod.heads[0]
