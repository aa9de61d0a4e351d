"""`penstock router`: the watches, the ports, and what is held behind them, put together.

Whatever ends unexpectedly ends the process: a restart is cheap, and the other replica answers meanwhile.
"""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from typing import Final

import structlog

from penstock import clock, health, process
from penstock.kube.api_server import connect
from penstock.kube.throttle import TokenBucket
from penstock.router import service
from penstock.router.hangups import Hangups
from penstock.router.holds import Holds
from penstock.router.metrics import RouterMetrics
from penstock.router.ports import Ports
from penstock.router.router import Router
from penstock.router.server import Server
from penstock.router.settings import Settings
from penstock.router.waker import StatusWriter, Waker
from penstock.watch import ready_pods
from penstock.watch.ready_pods import ReadyPods
from penstock.watch.store import Key

log = structlog.get_logger(__name__)

# For handlers that are cancelled when the grace has run out.
_LAST_SECONDS: Final = 0.5


class Parts:
    """All of the router but the watches, which call `follow`."""

    def __init__(self, settings: Settings, server: StatusWriter, metrics: RouterMetrics) -> None:
        self._settings = settings
        self.seen: ReadyPods[service.Service] = ReadyPods(service.read)
        self._holds = Holds(self.seen, routers=settings.replicas, most_held=settings.max_held_requests)
        self._waker = Waker(server, self._holds, clock.now, metrics.asked)
        self._hangups = Hangups()
        self._router = Router(self._holds, self._owner, self._waker, metrics, self._hangups, name=settings.pod_name)
        self._server = Server(self._router.handle, settings.pod_name)
        self.ports = Ports(settings.ports, self._server)
        metrics.read_from(
            held=lambda: ((hold.service.key, hold.held) for hold in self._holds),
            ports=lambda: len(self.ports),
            under_way=lambda: self._router.under_way,
        )

    def follow(self, keys: Iterable[Key]) -> None:
        """These services, or pods of theirs, have changed."""
        for key in keys:
            self._holds.follow(key)
            known = self.seen.service(key)
            self.ports.follow(key, known.port if known else None)

    def tasks(self) -> list[asyncio.Task[None]]:
        return [
            asyncio.create_task(self.ports.run(), name="ports"),
            asyncio.create_task(self._waker.run(), name="waker"),
        ]

    async def drain(self) -> None:
        """Go on while the endpoints follow, take nothing new after that, and end what there is."""
        log.info("stopping", requests=self._router.under_way)
        await asyncio.sleep(self._settings.drain_seconds)
        self.ports.close()
        try:
            async with asyncio.timeout(self._settings.grace_seconds):
                await self._router.idle()
        except TimeoutError:
            log.warning("requests are cut off", requests=self._router.under_way)

    async def close(self) -> None:
        """Break off what is there still."""
        self.ports.close()
        for connection in self._server.connections:
            connection.force_close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await self._router.idle()
        await self._waker.close()
        self._hangups.close()

    def _owner(self, port: int) -> Key | None:
        return self.ports.owner(port)


async def run(settings: Settings, *, kubeconfig: str | None = None) -> None:
    """Run until SIGTERM or SIGINT. Raises whatever ended a part that must not end."""
    metrics = RouterMetrics()
    # It writes one field of the status, at most once a second for each service that is asked for.
    writes = TokenBucket(50, 100)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(connect(metrics, writes, kubeconfig))
        parts = Parts(settings, server, metrics)
        stack.push_async_callback(parts.close)
        reflectors = ready_pods.reflectors(
            server, parts.seen, settings.namespaces, enqueue=parts.follow, metrics=metrics
        )
        heartbeat = health.Heartbeat()
        stop = process.on_signal()

        def unready() -> str:
            if stop.is_set():
                return "stopping"
            if not all(reflector.is_synced.is_set() for reflector in reflectors):
                return "not synced yet"
            return "" if parts.ports.is_settled else "not all ports are open yet"

        async def end() -> None:
            await stop.wait()
            await parts.drain()

        await stack.enter_async_context(
            health.serve(settings.metrics_port, metrics, is_alive=lambda: heartbeat.is_regular, unready=unready)
        )
        await process.run_until(
            end(),
            [
                asyncio.create_task(heartbeat.run(), name="heartbeat"),
                *parts.tasks(),
                *(asyncio.create_task(reflector.run(), name=f"reflect-{reflector.kind}") for reflector in reflectors),
            ],
        )
