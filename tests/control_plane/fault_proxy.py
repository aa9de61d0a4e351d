"""A proxy in front of the API server that puts faults in between: plain HTTP on loopback, TLS behind."""

import asyncio
import base64
import json
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import yaml
from aiohttp import web

from tests.harness import ports
from tests.harness.cluster import Cluster

T = TypeVar("T")
# A fault looks at a request and answers it itself, or lets it pass by returning None.
Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]

_DROPPED_HEADERS = {"content-length", "content-encoding", "transfer-encoding", "connection", "date"}
_CLOSING_SECONDS = 0.25


@dataclass(frozen=True, eq=False)
class _Stream:
    """An answer on its way."""

    request: web.Request
    response: web.StreamResponse
    copying: asyncio.Task[None]


class FaultProxy:
    """Runs on a thread of its own, so that a test may block."""

    def __init__(self, cluster: Cluster) -> None:
        self._upstream = cluster.api_url
        authority = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
        self._tls = ssl.create_default_context(
            cadata=base64.b64decode(authority["certificate-authority-data"]).decode()
        )
        self._port = ports.free(1)[0]
        self.url = f"http://127.0.0.1:{self._port}"
        self._faults: list[Fault] = []
        self._streams: list[_Stream] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._do(self._start())

    def stop(self) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def put(self, *faults: Fault) -> None:
        """The faults from now on; none to be well again."""
        self._faults = list(faults)

    def cut(self, resource: str = "") -> int:
        """End the watches of a resource in the middle; the number of those that there were."""
        return self._do(self._cut(resource))

    def say(self, resource: str, event: dict[str, Any]) -> None:
        """Put an event of our own into the watches of a resource."""
        self._do(self._say(resource, event))

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=0),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def _stop(self) -> None:
        await self._cut("")
        await self._runner.cleanup()
        await self._session.close()
        # TLS connections are closed a moment after their session, and this loop ends next: what is still open then is
        # found as a leak in somebody else's test (https://docs.aiohttp.org/en/stable/client_advanced.html).
        await asyncio.sleep(_CLOSING_SECONDS)

    async def _cut(self, resource: str) -> int:
        found = [stream.copying for stream in self._streams if is_watch(stream.request, resource)]
        for task in found:
            task.cancel()
        await asyncio.gather(*found, return_exceptions=True)
        return len(found)

    async def _say(self, resource: str, event: dict[str, Any]) -> None:
        for stream in tuple(self._streams):
            if is_watch(stream.request, resource):
                await stream.response.write(json.dumps(event).encode() + b"\n")

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        for fault in self._faults:
            answer = await fault(request)
            if answer is not None:
                return answer
        return await self._pass(request)

    async def forward(self, request: web.Request) -> None:
        """Let a request happen without telling its answer."""
        headers = {key: value for key, value in request.headers.items() if key.lower() != "host"}
        url = f"{self._upstream}{request.raw_path}"
        async with self._session.request(
            request.method, url, headers=headers, data=await request.read() or None
        ) as answer:
            await answer.read()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        headers = {key: value for key, value in request.headers.items() if key.lower() != "host"}
        url = f"{self._upstream}{request.raw_path}"
        body = await request.read() or None  # An empty body would be given a type, which the API server refuses.
        async with self._session.request(request.method, url, headers=headers, data=body) as answer:
            kept = {key: value for key, value in answer.headers.items() if key.lower() not in _DROPPED_HEADERS}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            stream = _Stream(request, response, asyncio.ensure_future(_copy(answer, response)))
            self._streams.append(stream)
            try:
                await stream.copying
            except (asyncio.CancelledError, ConnectionError):
                if request.transport:
                    request.transport.abort()
            finally:
                stream.copying.cancel()
                self._streams.remove(stream)
            return response

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        done: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result(timeout=10)


def is_watch(request: web.Request, resource: str = "") -> bool:
    return "watch" in request.query and (not resource or request.path.endswith(f"/{resource}"))


def is_write(request: web.Request) -> bool:
    return request.method != "GET" and "/leases" not in request.path


def status(code: int, reason: str, *, retry_after: int | None = None) -> web.Response:
    """The API server's way to say no."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": reason,
    }
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return web.json_response(body, status=code, headers=headers)


async def _copy(answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
