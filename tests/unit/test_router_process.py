"""The process itself, beside an API server that knows two lists: ready when it should be, and gone without a loss."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from penstock import names

from tests.harness import ports
from tests.router_world import a_pod, hello

SERVICES = "/apis/serving.penstock.dev/v1alpha1/inferenceservices"


class ApiServer:
    """Lists what it has, streams what changes, and keeps what is written."""

    def __init__(self) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {SERVICES: [], "/api/v1/pods": []}
        self.watches: dict[str, list[asyncio.Queue[dict[str, Any]]]] = {path: [] for path in self.objects}
        self.patches: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.is_up = True

    def change(self, path: str, obj: dict[str, Any]) -> None:
        for watch in self.watches[path]:
            watch.put_nowait({"type": "MODIFIED", "object": obj})

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self.is_up:
            return web.json_response({"reason": "InternalError", "message": "down"}, status=500)
        if request.method == "PATCH":
            await self.patches.put((request.path, await request.content.read()))
            return web.json_response({})
        if request.query.get("watch"):
            return await self._watch(request)
        metadata = {"resourceVersion": "1"}
        return web.json_response({"metadata": metadata, "items": self.objects[request.path]})

    async def _watch(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.watches[request.path].append(queue)
        while True:
            await answer.write(json.dumps(await queue.get()).encode() + b"\n")


class Process:
    def __init__(self, process: asyncio.subprocess.Process, port: int, metrics_port: int) -> None:
        self.process = process
        self.port, self.url = port, f"http://127.0.0.1:{port}"
        self.health = f"http://127.0.0.1:{metrics_port}"

    async def ready(self) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"{self.health}/readyz") as answer:
                    return answer.status, (await answer.text()).strip()
            except aiohttp.ClientConnectorError:
                return 0, ""

    async def becomes(self, status: int, why: str) -> None:
        async with asyncio.timeout(30):
            while await self.ready() != (status, why):  # noqa: ASYNC110 - another process tells nobody.
                await asyncio.sleep(0.05)

    async def get(self, path: str = "/") -> tuple[int, bytes]:
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
            return answer.status, await answer.read()


def service(port: int, state: str = "Asleep", version: str = "1") -> dict[str, Any]:
    metadata = {"name": "chat", "namespace": "ml", "uid": "u", "resourceVersion": version}
    sleep = {"state": state, "since": "2026-11-01T10:00:00Z", "port": port}
    return {"metadata": metadata, "spec": {"predictor": {}}, "status": {"autoscaling": {"sleep": sleep}}}


def pod(port: int) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "chat-0",
            "namespace": "ml",
            "uid": "p",
            "resourceVersion": "3",
            "labels": {names.LABEL_SERVICE: "chat"},
        },
        "spec": {"containers": [{"name": "model", "ports": [{"name": "http", "containerPort": port}]}]},
        "status": {"podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
    }


@asynccontextmanager
async def a_process(api: ApiServer, folder: Path, *flags: str) -> AsyncIterator[Process]:
    port, metrics_port = ports.free(2)
    api.objects[SERVICES] = [service(port)]
    async with a_pod(api.handle) as api_port:
        config = {
            "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "clusters": [{"name": "a", "cluster": {"server": f"http://127.0.0.1:{api_port}"}}],
            "users": [{"name": "a", "user": {}}],
        }
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(config))
        command = [sys.executable, "-m", "penstock.cli.main", "router", f"--kubeconfig={kubeconfig}"]
        settings = [f"--first-port={port}", f"--last-port={port}", f"--metrics-port={metrics_port}", *flags]
        process = await asyncio.create_subprocess_exec(*command, *settings, stderr=asyncio.subprocess.PIPE)
        try:
            yield Process(process, port, metrics_port)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def test_it_holds_wakes_forwards_and_ends_without_a_loss(tmp_path: Path) -> None:
    api = ApiServer()
    async with (
        a_pod(hello) as pod_port,
        a_process(api, tmp_path, "--pod-name=router-0", "--drain-seconds=1", "--grace-seconds=20") as router,
    ):
        await router.becomes(200, "ok")
        assert await router.get(names.ROUTER_PATH) == (200, b'{"router": "router-0", "service": "ml/chat"}')
        held = asyncio.create_task(router.get())
        path, body = await api.patches.get()
        assert path == "/apis/serving.penstock.dev/v1alpha1/namespaces/ml/inferenceservices/chat/status"
        assert json.loads(body)["metadata"] == {"uid": "u"}
        router.process.send_signal(signal.SIGTERM)
        await router.becomes(503, "stopping")
        # Who comes while the endpoints follow is held, too.
        late = asyncio.create_task(router.get())
        await asyncio.sleep(0.2)
        api.change(SERVICES, service(router.port, "Waking", "2"))
        api.change("/api/v1/pods", pod(pod_port))
        assert await held == await late == (200, b"hello")
        async with asyncio.timeout(20):
            assert await router.process.wait() == 0


async def test_it_is_not_ready_before_it_has_read_all_services(tmp_path: Path) -> None:
    api = ApiServer()
    api.is_up = False
    async with a_process(api, tmp_path) as router:
        await router.becomes(503, "not synced yet")
        await asyncio.sleep(2.5)  # As long as three attempts take.
        assert await router.ready() == (503, "not synced yet")
        api.is_up = True
        await router.becomes(200, "ok")


async def test_a_router_that_is_killed_breaks_what_it_holds(tmp_path: Path) -> None:
    api = ApiServer()
    async with a_process(api, tmp_path) as router:
        await router.becomes(200, "ok")
        held = asyncio.create_task(router.get())
        await api.patches.get()
        router.process.kill()
        with pytest.raises(aiohttp.ClientError):
            await held
