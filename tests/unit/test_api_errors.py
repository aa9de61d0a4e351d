"""What an answer of the API server, or of something in between, is taken for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio import client
from penstock import errors
from penstock.kinds import LEASE, POD, SERVICE
from penstock.kube.api_server import ApiServer
from penstock.kube.throttle import TokenBucket
from penstock.metrics import Metrics, Snapshot

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def an_api_server(answer: Answer, *, writes: TokenBucket | None = None) -> AsyncIterator[ApiServer]:
    """An ApiServer whose every request gets this answer."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    metrics = Metrics(lambda: Snapshot(is_leader=False, queue_depth=0, services_by_phase={}, objects_by_kind={}))
    async with TestServer(app) as server:
        configuration = client.Configuration()
        configuration.host = str(server.make_url("")).rstrip("/")
        async with client.ApiClient(configuration) as api:
            yield ApiServer(api, metrics, writes or TokenBucket(100, 100))


async def cut_short(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=500, headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b'{"kind":')
    assert request.transport is not None
    request.transport.close()
    return response


async def a_page_for_people(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>Please log in</html>", content_type="text/html")


@pytest.mark.parametrize("answer", [cut_short, a_page_for_people])
async def test_an_answer_that_is_none_counts_as_no_answer(answer: Answer) -> None:
    async with an_api_server(answer) as server:
        with pytest.raises(errors.Unreachable):
            await server.get(POD, "ml", "chat-0")


async def test_a_retry_after_that_is_a_date_is_a_second() -> None:
    error = errors.from_status(429, {}, "Wed, 21 Oct 2026 07:28:00 GMT")
    assert isinstance(error, errors.Throttled)
    assert error.retry_after == 1


@pytest.mark.parametrize("status", [400, 403, 422])
def test_what_a_policy_or_the_schema_forbids_is_for_the_user_to_mend(status: int) -> None:
    assert isinstance(errors.from_status(status, {"message": "denied by policy"}, None), errors.Rejected)


async def test_the_lease_is_written_however_many_writes_wait() -> None:
    async def echo(_: web.Request) -> web.StreamResponse:
        return web.json_response({})

    writes = TokenBucket(rate=0.001, burst=1)
    async with an_api_server(echo, writes=writes) as server:
        await server.create(SERVICE, {"metadata": {"namespace": "ml"}})
        async with asyncio.timeout(5):
            await server.replace(LEASE, {"metadata": {"namespace": "ml", "name": "penstock"}})
