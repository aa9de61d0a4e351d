"""Pods behind an API server. A server on the loopback plays it, for what a real one cannot be made to do."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client
from penstock.kube.api_server import ApiServer
from penstock.kube.pod_access import Address, ThroughApiServer
from penstock.kube.throttle import TokenBucket
from penstock.metrics import Metrics, Snapshot
from penstock.observed.values import Progress
from penstock.pods.client import HttpPodClient
from penstock.rollout.smoke import SmokeRequest

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
POD = Address("ml", "chat-0", "10.0.0.7")
FORBIDDEN = {
    "kind": "Status",
    "apiVersion": "v1",
    "status": "Failure",
    "message": 'pods "chat-0:8080" is forbidden',
    "reason": "Forbidden",
    "code": 403,
}


class Proxy:
    """A server that answers as it is told, and remembers what it was asked."""

    def __init__(self, probes: HttpPodClient, asked: list[web.BaseRequest]) -> None:
        self.probes = probes
        self.asked = asked

    async def tested(self, path: str = "/ping", **fields: Any) -> str | None:
        """What is wrong with the pod's answer."""
        return (await self.probes.smoke(SmokeRequest("GET", 8080, path, **fields), [POD]))[POD.name]


@asynccontextmanager
async def an_api_server(answer: Handler) -> AsyncIterator[Proxy]:
    asked: list[web.BaseRequest] = []

    async def remembered(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request)
        return await answer(request)

    runner = web.ServerRunner(web.Server(remembered, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "localhost", 0).start()
        async with probes(runner.addresses[0][1]) as found:
            yield Proxy(found, asked)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def probes(port: int) -> AsyncIterator[HttpPodClient]:
    # A name, not an address: of those no cookies would be taken anyway.
    configuration = client.Configuration(host=f"http://localhost:{port}")
    metrics = Metrics(lambda: Snapshot(is_leader=False, queue_depth=0, services_by_phase={}, objects_by_kind={}))
    async with (
        client.ApiClient(configuration) as api,
        ApiServer(api, metrics, TokenBucket(1, 1)).pod_proxy() as proxy,
    ):
        yield HttpPodClient(ThroughApiServer(proxy))


def says(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Handler:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(text=text, status=status, headers=headers, content_type="application/json")

    return answer


async def says_nothing(_: web.BaseRequest) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_pod_is_asked_by_its_name_and_port() -> None:
    async with an_api_server(says("pong")) as proxy:
        assert await proxy.tested("/v1/x?y=1", expect_body_contains="pong") is None
    assert [(each.method, each.path_qs) for each in proxy.asked] == [
        ("GET", "/api/v1/namespaces/ml/pods/chat-0:8080/proxy/v1/x?y=1")
    ]


class TestWhoAnswers:
    async def test_a_failure_of_the_api_servers_own_is_told_as_such(self) -> None:
        async with an_api_server(says(FORBIDDEN, status=403)) as proxy:
            told = await proxy.tested()
        expected = f"403 Forbidden: {FORBIDDEN['message']}"
        assert told == f"GET /ping: the API server, not the pod, answered pods/proxy with {expected}"

    async def test_it_never_passes_for_the_status_that_the_test_expects(self) -> None:
        async with an_api_server(says(FORBIDDEN, status=403)) as proxy:
            assert "the API server, not the pod" in str(await proxy.tested(expect_status=403))

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param("not today", id="text"),
            pytest.param("", id="nothing"),
            pytest.param({"error": "not today"}, id="an object of its own"),
            pytest.param([FORBIDDEN], id="a list"),
            pytest.param({**FORBIDDEN, "code": 404}, id="a Status of something else"),
            pytest.param({**FORBIDDEN, "kind": "Pod"}, id="an object that is no Status"),
            pytest.param("[" * 60_000, id="something nested without end"),
            pytest.param({**FORBIDDEN, "details": "x" * 70_000}, id="a Status without an end"),
        ],
    )
    async def test_any_other_failure_is_the_pods(self, body: Any) -> None:
        async with an_api_server(says(body, status=403)) as proxy:
            assert "status 403 instead of 200" in str(await proxy.tested())
            assert await proxy.tested(expect_status=403) is None

    async def test_an_object_that_comes_with_a_success_is_the_pods(self) -> None:
        async with an_api_server(says({**FORBIDDEN, "code": 200})) as proxy:
            assert await proxy.tested() is None

    async def test_a_failure_of_its_own_is_no_progress_and_no_count(self) -> None:
        async with an_api_server(says({**FORBIDDEN, "downloadedBytes": 7}, status=403)) as proxy:
            assert await proxy.probes.progress([POD]) == Progress()
            assert await proxy.probes.counters([POD]) == {}


class TestBounds:
    async def test_an_api_server_that_says_nothing_fails_the_pod_when_its_time_is_over(self) -> None:
        async with an_api_server(says_nothing) as proxy:
            assert await proxy.tested(timeout_seconds=0.1) == "GET /ping: no answer within 0.1 s"

    async def test_an_api_server_that_is_not_there_fails_the_pod(self, unused_tcp_port: int) -> None:
        async with probes(unused_tcp_port) as found:
            told = (await found.smoke(SmokeRequest("GET", 8080, "/ping"), [POD]))[POD.name]
        assert str(told).startswith(f"GET /ping: Cannot connect to host localhost:{unused_tcp_port}")

    async def test_no_redirect_is_followed_with_the_operators_rights(self) -> None:
        async with an_api_server(says("", status=302, headers={"Location": "/api/v1/secrets"})) as proxy:
            assert await proxy.tested() == "GET /ping: status 302 instead of 200"
        assert len(proxy.asked) == 1

    async def test_a_pods_cookie_is_sent_to_nobody(self) -> None:
        async with an_api_server(says("", headers={"Set-Cookie": "a=b; Path=/"})) as proxy:
            await proxy.tested()
            await proxy.tested()
        assert [each.headers.get("Cookie") for each in proxy.asked] == [None, None]


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        [
            "/..",
            "/.",
            "/v1/../../../secrets",
            "/%2e%2e/secrets",
            "/.%2E/secrets",
            "/v1%2f..%2fsecrets",
            "/..\\secrets",
            "/..%5csecrets",
            "/../x?y=z",
            "/..#z",
        ],
    )
    async def test_a_path_that_might_lead_to_the_api_server_itself_is_not_sent(self, path: str) -> None:
        async with an_api_server(says("")) as proxy:
            told = await proxy.tested(path)
        assert str(told).endswith(": a path with . or .. in it is not sent through the API server")
        assert proxy.asked == []

    @pytest.mark.parametrize("path", ["/...", "/v1/model.bin", "/.well-known", "/a..b", "/?back=/../a", "/%252e%252e/"])
    async def test_dots_that_lead_nowhere_are_sent(self, path: str) -> None:
        async with an_api_server(says("")) as proxy:
            assert await proxy.tested(path) is None
        assert proxy.asked[0].path_qs == f"/api/v1/namespaces/ml/pods/chat-0:8080/proxy{path}"

    @pytest.mark.parametrize("path", ["//", "/?", "/#", "/a b", "/\ud800", "/[", "/%", "/\r\nX: y", "/@example.com:1/"])
    async def test_whatever_path_a_user_writes_it_leads_to_the_pod_or_nowhere(self, path: str) -> None:
        async with an_api_server(says("", status=404)) as proxy:
            assert await proxy.tested(path) is not None
        assert [each for each in proxy.asked if "/pods/chat-0:8080/proxy/" not in each.path] == []
