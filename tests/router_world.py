"""A router on the loopback: its own ports, pods that are real servers, and objects that the tests put before it."""

import asyncio
import contextlib
import functools
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, ParamSpec

import aiohttp
import uvloop
from aiohttp import web
from penstock import errors, names
from penstock.kinds import INFERENCE_SERVICE, POD, Kind, Manifest
from penstock.router.metrics import RouterMetrics
from penstock.router.run import Parts
from penstock.router.settings import Settings
from penstock.watch.store import Key, ObjectId

from tests.harness import ports

SINCE = "2026-11-01T10:00:00Z"
LATER = "2026-11-01T10:00:05Z"
BEFORE = "2026-11-01T09:59:00Z"

P = ParamSpec("P")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def on_uvloop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run the async test as the router runs: what is noticed of a connection differs between event loops."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(test(*args, **kwargs))

    return run


class Cluster:
    """Stands for the API server: what is written to it is kept, or fails as it is told to."""

    def __init__(self) -> None:
        self.asks: list[tuple[str, Manifest]] = []
        self.failures: list[Exception] = []

    async def merge(
        self, kind: Kind, namespace: str, name: str, patch: Manifest, *, subresource: str = "", manager: str = ""
    ) -> Manifest:
        assert (kind, subresource, manager) == (INFERENCE_SERVICE, "status", names.ROUTER_FIELD_MANAGER)
        if self.failures:
            raise self.failures.pop(0)
        self.asks.append((f"{namespace}/{name}", patch))
        return {}


class World:
    """The router `router-0`, and the ways to change what it sees and to ask it."""

    def __init__(self, **settings: Any) -> None:
        self.cluster = Cluster()
        self.metrics = RouterMetrics()
        self.settings = Settings(pod_name="router-0", first_port=1024, last_port=65535, metrics_port=80, **settings)
        self.parts = Parts(self.settings, self.cluster, self.metrics)
        self.port = ports.free(1)[0]
        self._versions = itertools.count(1)
        self._told: tuple[str | None, dict[str, Any]] = (None, {})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def opened(self, port: int | None = None) -> None:
        number = port or self.port
        await until(lambda: number in self.parts.ports._servers)

    def service(
        self,
        state: str | None = "Asleep",
        *,
        name: str = "chat",
        port: int | None = None,
        spec: dict[str, Any] | None = None,
        predictor: dict[str, Any] | None = None,
        annotations: dict[str, str] | None = None,
        slot: str | None = "blue",
        sleep: dict[str, Any] | None = None,
        uid: str = "uid-chat",
        **status: Any,
    ) -> None:
        """Put the service before the router; without a state it has no port."""
        told = {"port": port, "spec": spec, "predictor": predictor, "annotations": annotations, "slot": slot}
        told |= {"sleep": sleep, "uid": uid}
        self._told = (state, {**told, **status}) if name == "chat" else self._told
        limits = {"wakeTimeoutSeconds": 5, "maxHeldRequests": 1000, **(sleep or {})}
        found = {"state": state, "since": SINCE, "port": port or self.port}
        obj = {
            "metadata": {
                "name": name,
                "namespace": "ml",
                "uid": uid,
                "resourceVersion": str(next(self._versions)),
                "annotations": annotations or {},
            },
            "spec": {"predictor": predictor or {}, "autoscaling": {"scaleToZero": limits}, **(spec or {})},
            "status": {
                **({"autoscaling": {"sleep": found}} if state else {}),
                **({"rollout": {"activeSlot": slot}} if slot else {}),
                **status,
            },
        }
        self.parts.follow(self.parts.seen.put(INFERENCE_SERVICE, obj))

    def no_service(self, name: str = "chat") -> None:
        self.parts.follow(self.parts.seen.drop(ObjectId(INFERENCE_SERVICE.name, "ml", name)))

    def pod(
        self,
        port: int,
        *,
        name: str = "chat-0",
        ip: str = "127.0.0.1",
        slot: str = "blue",
        ready: bool = True,
        is_wanted: bool = True,
    ) -> None:
        """Put a pod of the service before the router. The operator has noted before that the service wakes."""
        state, told = self._told
        if state == "Asleep" and ready and is_wanted:
            self.service("Waking", **told)
        obj = {
            "metadata": {
                "name": name,
                "namespace": "ml",
                "uid": f"uid-{name}",
                "resourceVersion": str(next(self._versions)),
                "labels": {names.LABEL_SERVICE: "chat", names.LABEL_SLOT: slot},
            },
            "spec": {"containers": [{"name": "model", "ports": [{"name": "http", "containerPort": port}]}]},
            "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
        }
        self.parts.follow(self.parts.seen.put(POD, obj))

    @property
    def held(self) -> int:
        hold = self.parts._holds.get(Key("ml", "chat"))
        return hold.held if hold else 0

    async def holds(self, number: int) -> None:
        await until(lambda: self.held == number)

    async def get(self, path: str = "/", **options: Any) -> "Answer":
        return await self.ask("GET", path, **options)

    async def ask(self, method: str, path: str = "/", **options: Any) -> "Answer":
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(method, self.url + path, allow_redirects=False, **options) as answer,
        ):
            return Answer(answer.status, answer.headers, await answer.read())

    def start(self, path: str = "/", method: str = "GET", **options: Any) -> "asyncio.Task[Answer]":
        return asyncio.create_task(self.ask(method, path, **options))

    def metric(self, name: str, /, **labels: str) -> float:
        return self.metrics._registry.get_sample_value(name, labels) or 0.0


class Answer:
    """One that has been read to its end."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def reason(self) -> str:
        return str(self.error["code"])

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["error"]
        return found


@asynccontextmanager
async def a_router(**settings: Any) -> AsyncIterator[World]:
    world = World(**settings)
    tasks = world.parts.tasks()
    try:
        yield world
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await world.parts.close()


@asynccontextmanager
async def asleep(**settings: Any) -> AsyncIterator[World]:
    """A router that listens for a service that sleeps."""
    async with a_router(**settings) as world:
        world.service()
        await world.opened()
        yield world


@asynccontextmanager
async def a_pod(handler: Handler, *, ip: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server that answers every request so; its port."""
    server = web.Server(handler, handler_cancellation=True, access_log=None, auto_decompress=False)  # type: ignore[arg-type]
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, ip, 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def a_raw_pod(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A server that does with each connection what it is told; its port."""
    open_ones: set[asyncio.StreamWriter] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await talk(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for each in open_ones:
            each.transport.abort()
        await asyncio.sleep(0)


@asynccontextmanager
async def a_client(world: World) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection to the service's port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def until(holds: Callable[[], bool], limit: float = 10.0) -> None:
    async with asyncio.timeout(limit):
        while not holds():  # noqa: ASYNC110 - what the router knows is values, which tell nobody.
            await asyncio.sleep(0.005)


async def hello(_: web.BaseRequest) -> web.Response:
    return web.Response(text="hello")


def conflict() -> errors.Conflict:
    return errors.Conflict(409, "Conflict", "somebody was faster")
