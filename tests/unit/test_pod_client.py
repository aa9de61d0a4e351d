"""Asking pods over real connections. Every pod of a test is the same server on the loopback."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from penstock.kube.pod_access import Address, Direct, Message, direct
from penstock.observed.counters import Counters
from penstock.observed.values import Progress
from penstock.pod_metrics import PRESETS
from penstock.pods.client import HttpPodClient, NoPodClient
from penstock.rollout.smoke import SmokeRequest
from penstock_server.metrics import Metrics

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
HOST = "127.0.0.1"
ONE = [Address("ml", "chat-0", HOST)]


def pods(count: int) -> list[Address]:
    return [Address("ml", name, HOST) for name in names(count)]


def names(count: int) -> list[str]:
    return [f"chat-{number:03}" for number in range(count)]


class Pod:
    """A server that answers as it is told, and remembers what it was asked."""

    def __init__(self, port: int, probes: HttpPodClient, asked: list[tuple[str, str, str, bytes]]) -> None:
        self.port = port
        self.probes = probes
        self.asked = asked  # (method, path, content type, body)

    def request(self, **fields: Any) -> SmokeRequest:
        return SmokeRequest(**{"method": "GET", "port": self.port, "path": "/ping", **fields})

    async def tested(self, **fields: Any) -> str | None:
        """What is wrong with its answer."""
        return (await self.probes.smoke(self.request(**fields), ONE))["chat-0"]


@asynccontextmanager
async def a_pod(answer: Handler) -> AsyncIterator[Pod]:
    asked: list[tuple[str, str, str, bytes]] = []

    async def remembered(request: web.BaseRequest) -> web.StreamResponse:
        asked.append((request.method, request.path_qs, request.content_type, await request.read()))
        return await answer(request)

    runner = web.ServerRunner(web.Server(remembered, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        async with aiohttp.ClientSession() as session:
            port = runner.addresses[0][1]
            yield Pod(port, HttpPodClient(Direct(session), port=port), asked)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def a_broken_pod(answer: bytes) -> AsyncIterator[Pod]:
    """It writes these bytes whatever it is asked, and hangs up."""

    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(write, HOST, 0) as server, aiohttp.ClientSession() as session:
        port = server.sockets[0].getsockname()[1]
        yield Pod(port, HttpPodClient(Direct(session), port=port), [])


def says(text: str = "pong", *, status: int = 200, **headers: str) -> Handler:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=text, status=status, headers=headers)

    return answer


def says_json(body: Any, *, status: int = 200) -> Handler:
    return says(json.dumps(body), status=status)


async def says_nothing(_: web.BaseRequest) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def never_stops(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"pong")
    while True:
        await response.write(b"x" * 65_536)


JUNK = [
    pytest.param(b"", id="hangs up"),
    pytest.param(b"220 mail.example.com ESMTP\r\n", id="speaks another protocol"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npong", id="hangs up in the middle"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", id="sends broken chunks"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\npong", id="lies of gzip"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", id="sends endless headers"),
]


class TestProgress:
    async def test_the_pods_progress_is_summed(self) -> None:
        report = {"downloadedBytes": 5, "totalBytes": 9, "bytesPerSecond": 2, "loadedBytes": 1}
        async with a_pod(says_json(report, status=503)) as pod:
            found = await pod.probes.progress(pods(2))
        assert found == Progress(bytes=10, total_bytes=18, bytes_per_second=4, loaded_bytes=2)
        assert pod.asked[0][:2] == ("GET", "/startupz")

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("[1]", id="a list"),
            pytest.param("<html>", id="no JSON"),
            pytest.param('{"downloadedBytes": Infinity}', id="infinity"),
            pytest.param('{"totalBytes": NaN}', id="no number"),
            pytest.param('{"loadedBytes": true}', id="no count"),
            pytest.param("[" * 60_000, id="nested without end"),
        ],
    )
    async def test_a_report_that_makes_no_sense_counts_as_nothing(self, text: str) -> None:
        async with a_pod(says(text)) as pod:
            assert await pod.probes.progress(ONE) == Progress()

    async def test_a_report_without_an_end_counts_as_nothing(self) -> None:
        async with a_pod(never_stops) as pod:
            assert await pod.probes.progress(ONE) == Progress()

    @pytest.mark.parametrize("answer", JUNK)
    async def test_a_broken_pod_counts_as_nothing(self, answer: bytes) -> None:
        async with a_broken_pod(answer) as pod:
            assert await pod.probes.progress(ONE) == Progress()


class TestSmoke:
    async def test_the_expected_answer_passes(self) -> None:
        async with a_pod(says("ping pong")) as pod:
            assert await pod.tested(expect_body_contains="pong") is None
        assert pod.asked == [("GET", "/ping", "application/octet-stream", b"")]

    async def test_a_body_is_sent_as_json(self) -> None:
        async with a_pod(says()) as pod:
            assert await pod.tested(method="POST", path="/v1/x?y=1", body=b'{"a": 1}') is None
        assert pod.asked == [("POST", "/v1/x?y=1", "application/json", b'{"a": 1}')]

    async def test_every_pod_is_told_by_its_name(self) -> None:
        remaining = iter([200, 500, 200])

        async def answer(_: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=next(remaining))

        async with a_pod(answer) as pod:
            found = await pod.probes.smoke(pod.request(), pods(3))
        assert set(found) == set(names(3))
        assert sorted(map(str, found.values())) == ["GET /ping: status 500 instead of 200", "None", "None"]

    async def test_no_pods_are_no_answers(self) -> None:
        async with a_pod(says()) as pod:
            assert await pod.probes.smoke(pod.request(), []) == {}

    async def test_a_redirect_is_an_answer_and_not_followed(self) -> None:
        async with a_pod(says(status=302, Location="/elsewhere")) as pod:
            assert await pod.tested(expect_status=302) is None
            assert await pod.tested() == "GET /ping: status 302 instead of 200: pong"
        assert [path for _, path, _, _ in pod.asked] == ["/ping", "/ping"]

    async def test_an_answer_without_an_end_is_judged_by_its_beginning(self) -> None:
        async with a_pod(never_stops) as pod:
            assert await pod.tested(expect_body_contains="pong") is None
            told = await pod.tested(expect_body_contains="end")
        assert told is not None
        assert told.startswith("GET /ping: the answer does not contain 'end': pongxxx")
        assert len(told) < 300

    async def test_a_pod_that_says_nothing_fails_when_its_time_is_over(self) -> None:
        async with a_pod(says_nothing) as pod:
            assert await pod.tested(timeout_seconds=0.1) == "GET /ping: no answer within 0.1 s"

    async def test_a_pod_where_nobody_listens_fails(self) -> None:
        async with a_pod(says()) as pod:
            gone = pod.request()
        async with aiohttp.ClientSession() as session:
            told = (await HttpPodClient(Direct(session)).smoke(gone, ONE))["chat-0"]
        assert told is not None
        assert told.startswith(f"GET /ping: Cannot connect to host {HOST}:{gone.port}")

    @pytest.mark.parametrize("answer", JUNK)
    async def test_a_broken_pod_fails_with_a_short_word(self, answer: bytes) -> None:
        async with a_broken_pod(answer) as pod:
            told = await pod.tested()
        assert told is not None
        assert told.startswith("GET /ping: ")
        assert len("GET /ping: ") < len(told) < 300

    @pytest.mark.parametrize("path", ["//", "/?", "/#", "/a b", "/\ud800", "/[", "/%", "/\r\nX: y"])
    async def test_whatever_path_a_user_writes_it_never_raises(self, path: str) -> None:
        async with a_pod(says(status=404)) as pod:
            told = await pod.tested(path=path)
        assert told is not None
        assert len(pod.asked) <= 1

    @pytest.mark.parametrize("ip", [".", "1.2.3.4.5", "::::"])
    async def test_an_address_that_is_none_fails_its_pod(self, ip: str) -> None:
        async with a_pod(says()) as pod:
            found = await pod.probes.smoke(pod.request(), [*ONE, Address("ml", "chat-1", ip)])
        assert found["chat-0"] is None
        assert found["chat-1"] is not None

    async def test_the_inference_of_the_task_that_the_pod_names_follows(self) -> None:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            is_question = request.path == "/v1/models"
            return web.json_response({"data": [{"task": "dance"}]} if is_question else {}, status=200)

        async with a_pod(answer) as pod:
            then = pod.request(method="POST", path="/dance", body=b"{}", expect_body_contains="tango")
            told = await pod.tested(path="/v1/models", by_task={"dance": then})
        assert told == "POST /dance: the answer does not contain 'tango': {}"
        assert [path for _, path, _, _ in pod.asked] == ["/v1/models", "/dance"]

    async def test_nothing_follows_a_question_that_fails(self) -> None:
        async with a_pod(says(status=503)) as pod:
            told = await pod.tested(path="/v1/models", by_task={"dance": pod.request(path="/dance")})
        assert told == "GET /v1/models: status 503 instead of 200: pong"
        assert len(pod.asked) == 1


class TestManyPods:
    async def test_eight_are_asked_at_once_and_no_more(self) -> None:
        meeting, here, most = asyncio.Barrier(8), 0, 0

        async def answer(_: web.BaseRequest) -> web.StreamResponse:
            nonlocal here, most
            here += 1
            most = max(most, here)
            await meeting.wait()
            here -= 1
            return web.Response()

        async with a_pod(answer) as pod:
            assert await pod.probes.smoke(pod.request(), pods(24)) == dict.fromkeys(names(24))
        assert most == 8

    async def test_of_too_many_the_same_ones_are_asked_each_time(self) -> None:
        async with a_pod(says()) as pod:
            forwards = await pod.probes.smoke(pod.request(), pods(99))
            backwards = await pod.probes.smoke(pod.request(), pods(99)[::-1])
        assert set(forwards) == set(backwards) == set(names(64))

    async def test_those_whose_turn_does_not_come_in_time_are_left_for_the_next_attempt(self) -> None:
        async with a_pod(says_nothing) as pod:
            found = await pod.probes.smoke(pod.request(timeout_seconds=0.1), pods(20))
        assert found == dict.fromkeys(names(8), "GET /ping: no answer within 0.1 s")
        assert len(pod.asked) == 8


class TestCounters:
    async def test_each_pod_tells_what_it_has_counted(self) -> None:
        metrics = Metrics("tiny")
        metrics.finished("/predict", 200)(0.02)
        metrics.finished("/predict", 503)(0.02)
        async with a_pod(says(metrics.expose().decode())) as pod:
            found = await pod.probes.counters(pods(2))
        assert [(counted.requests, counted.errors) for counted in found.values()] == [(2, 1), (2, 1)]
        assert set(found) == set(names(2))
        assert {path for _, path, _, _ in pod.asked} == {"/metrics"}

    async def test_a_pod_that_has_answered_nothing_yet_has_counted_zero(self) -> None:
        async with a_pod(says(Metrics("tiny").expose().decode())) as pod:
            assert await pod.probes.counters(ONE) == {"chat-0": Counters()}

    async def test_another_server_is_asked_where_its_metrics_are_and_read_by_its_names(self) -> None:
        metrics = replace(PRESETS["TGI"], path="/own")
        async with a_pod(says("# TYPE tgi_request_success counter\ntgi_request_success 7\n")) as pod:
            found = await pod.probes.counters(ONE, metrics)
        assert found == {"chat-0": Counters(7)}
        assert {path for _, path, _, _ in pod.asked} == {"/own"}

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(says("not found", status=404), id="there are no metrics"),
            pytest.param(says(Metrics("tiny").expose().decode(), status=500), id="the metrics come with an error"),
            pytest.param(says("up 1\n"), id="they are another server's"),
            pytest.param(never_stops, id="they have no end"),
            pytest.param(says(Metrics("tiny").expose().decode() + "#" * 2**21), id="they are too long"),
        ],
    )
    async def test_a_pod_is_left_out_if(self, answer: Handler) -> None:
        async with a_pod(answer) as pod:
            assert await pod.probes.counters(ONE) == {}

    @pytest.mark.parametrize("answer", JUNK)
    async def test_a_broken_pod_is_left_out(self, answer: bytes) -> None:
        async with a_broken_pod(answer) as pod:
            assert await pod.probes.counters(ONE) == {}


class TestUnreachable:
    async def test_pods_that_cannot_be_reached_have_neither_passed_nor_failed(self) -> None:
        assert not NoPodClient().can_reach_pods
        assert await NoPodClient().smoke(SmokeRequest("GET", 8080, "/ping"), ONE) == {}

    async def test_pods_that_cannot_be_reached_tell_nothing(self) -> None:
        assert await NoPodClient().counters(ONE) == {}
        assert await NoPodClient().progress(ONE) == Progress()


async def test_the_address_of_a_service_is_asked_on_a_new_connection_each_time_whatever_its_pod_wants_to_keep() -> None:
    """One that is kept would stay with the pod, wherever the Service leads by then."""
    connections = 0

    async def keeps_alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(keeps_alive, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    async with server, direct() as (_, services):
        for _ in range(3):
            assert await services.send(ONE[0], Message("GET", port, "/", 5)) == (200, b"{}")
    assert connections == 3
