"""The HTTP port of a process of ours: `/healthz`, `/readyz` and `/metrics`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol

from aiohttp import web

_TICK_SECONDS: Final = 1.0
_LONGEST_LAG_SECONDS: Final = 10.0


class Exposition(Protocol):
    def render(self) -> tuple[bytes, str]:
        """The metrics, and their content type."""


class Heartbeat:
    """Notices when the event loop has been blocked."""

    def __init__(self) -> None:
        self._beaten = asyncio.get_running_loop().time()
        self._worst = 0.0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self._worst = max(loop.time() - self._beaten - _TICK_SECONDS, 0.0)
            self._beaten = loop.time()

    @property
    def is_regular(self) -> bool:
        late = asyncio.get_running_loop().time() - self._beaten - _TICK_SECONDS
        return max(late, self._worst) < _LONGEST_LAG_SECONDS


@asynccontextmanager
async def serve(
    port: int, metrics: Exposition, *, is_alive: Callable[[], bool], unready: Callable[[], str]
) -> AsyncIterator[None]:
    """Serve until the block is left. `unready` says why the process is not ready; nothing if it is."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if is_alive() else web.Response(status=503, text="not alive\n")

    async def readyz(_: web.Request) -> web.Response:
        why = unready()
        return web.Response(status=503, text=f"{why}\n") if why else web.Response(text="ok\n")

    async def exposition(_: web.Request) -> web.Response:
        body, content_type = metrics.render()
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", exposition)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    try:
        yield
    finally:
        await runner.cleanup()
