"""`penstock metrics-adapter`: the watches, the scraper, the API and its upkeep, put together.

Whatever ends unexpectedly ends the process: a restart is cheap, and the other replica answers meanwhile.
"""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Final

import aiohttp

from penstock import clock, health, process
from penstock.adapter.api import Api
from penstock.adapter.metrics import AdapterMetrics
from penstock.adapter.port import Port
from penstock.adapter.registration import Installation
from penstock.adapter.reviews import Reviews
from penstock.adapter.scraper import Scraper
from penstock.adapter.settings import Settings
from penstock.adapter.targets import Targets
from penstock.adapter.upkeep import Upkeep
from penstock.adapter.values import Values
from penstock.kube.api_server import connect
from penstock.kube.throttle import TokenBucket
from penstock.watch import ready_pods
from penstock.watch.store import Key

_LAST_ANSWERS_SECONDS: Final = 5.0


async def run(settings: Settings, *, kubeconfig: str | None = None) -> None:
    """Run until SIGTERM or SIGINT. Raises whatever ended a part that must not end."""
    metrics, targets = AdapterMetrics(), Targets()
    # It writes a Secret and two APIServices, and seldom.
    writes = TokenBucket(10, 20)
    # Each pod has a connection of its own, which stays open between two scrapes.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(connect(metrics, writes, kubeconfig))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        )
        scraper = Scraper(targets, session, metrics.scraped)
        stack.push_async_callback(scraper.close)
        metrics.read_from(lambda: (*targets.numbers, scraper.active))

        def follow(keys: Iterable[Key]) -> None:
            for key in keys:
                scraper.follow(key)

        reflectors = ready_pods.reflectors(server, targets, settings.namespaces, enqueue=follow, metrics=metrics)

        def is_synced() -> bool:
            return all(reflector.is_synced.is_set() for reflector in reflectors)

        port = Port(settings.port, Upkeep(server, _installation(settings), metrics, clock.now), can_answer=is_synced)
        reviews = Reviews(server.review, asyncio.get_running_loop().time)
        api = Api(Values(targets, scraper), reviews, metrics, lambda: port.front_proxy)
        heartbeat = health.Heartbeat()
        stop = process.on_signal()

        def unready() -> str:
            if stop.is_set():
                return "stopping"
            return port.missing if is_synced() else "not synced yet"

        await stack.enter_async_context(
            health.serve(settings.metrics_port, metrics, is_alive=lambda: heartbeat.is_regular, unready=unready)
        )
        await process.run_until(
            _stop(stop),
            [
                asyncio.create_task(heartbeat.run(), name="heartbeat"),
                asyncio.create_task(port.run(api.application()), name="port"),
                *(asyncio.create_task(reflector.run(), name=f"reflect-{reflector.kind}") for reflector in reflectors),
            ],
        )


async def _stop(stop: asyncio.Event) -> None:
    await stop.wait()
    # Others learn of the end when we do: what they still send meanwhile is answered.
    await asyncio.sleep(_LAST_ANSWERS_SECONDS)


def _installation(settings: Settings) -> Installation:
    return Installation(
        settings.service_namespace, settings.service_name, settings.secret_name, settings.owner_cluster_role
    )
