"""The check on the watches: what proves that one of them has died, and what proves nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
from penstock import errors
from penstock.kinds import POD, Kind, Manifest
from penstock.kube.api_server import ApiServer
from penstock.watch.store import Store
from penstock.watch.watchdog import Watchdog, Watched

from tests.virtual_time import loop, until, virtual_time

PODS = Watched(POD, "ml")
OVERLOADED = errors.Throttled(429, "TooManyRequests", "too many requests", 1)


class Server:
    """An API server that lists one pod, which is `version` by now, or fails as it is told."""

    def __init__(self) -> None:
        self.version = 7
        self.fault: Exception | None = None
        self.seconds = 0.0
        self.lists = 0

    async def pages(self, kind: Kind, namespace: str | None, **options: Any) -> AsyncIterator[Manifest]:
        del kind, options
        self.lists += 1
        await asyncio.sleep(self.seconds)
        if self.fault is not None:
            raise self.fault
        metadata = {"name": "a", "namespace": namespace, "resourceVersion": str(self.version)}
        yield {"metadata": {"resourceVersion": str(self.version)}, "items": [{"metadata": metadata}]}


class Place:
    def __init__(self) -> None:
        self.server, self.store = Server(), Store()
        # Each kind is listed after half of it at the earliest.
        self.watchdog = Watchdog(cast("ApiServer", self.server), self.store, enqueue=lambda _: None, interval=600)

    async def while_alive(self, seconds: float, then: Callable[[], object] = lambda: None) -> float:
        """For how long the process is not to be restarted; at most so long."""
        began = loop().time()
        while self.watchdog.is_healthy and loop().time() - began < seconds:
            await asyncio.sleep(1)
            then()
        return loop().time() - began


@asynccontextmanager
async def a_place() -> AsyncIterator[Place]:
    place = Place()
    guarding = asyncio.create_task(place.watchdog.guard(PODS))
    try:
        yield place
    finally:
        guarding.cancel()
        with suppress(asyncio.CancelledError):
            await guarding


async def behind(place: Place) -> None:
    """The first list has shown a pod of which no watch has told."""
    await until(lambda: place.server.lists > 0, limit=600)


@virtual_time
async def test_a_store_that_stays_behind_what_is_listed_for_a_minute_is_a_watch_that_has_died() -> None:
    async with a_place() as place:
        await behind(place)
        assert 60 <= await place.while_alive(3600) <= 70


@pytest.mark.parametrize("fault", [OVERLOADED, errors.Unreachable("reset"), errors.ApiError(500, "etcd", "timeout")])
@virtual_time
async def test_lists_that_fail_prove_nothing(fault: Exception) -> None:
    async with a_place() as place:
        await behind(place)
        place.server.fault = fault
        assert await place.while_alive(3600) >= 3600


@virtual_time
async def test_a_list_that_does_not_end_proves_nothing() -> None:
    async with a_place() as place:
        await behind(place)
        place.server.seconds = 1e6
        assert await place.while_alive(3600) >= 3600


@virtual_time
async def test_a_list_that_fails_begins_the_minute_anew() -> None:
    async with a_place() as place:
        await behind(place)
        await place.while_alive(50)
        place.server.fault = OVERLOADED
        await place.while_alive(10)
        place.server.fault = None
        lists = place.server.lists
        assert 300 < await place.while_alive(3600) < 680
        assert place.server.lists - lists >= 12


@virtual_time
async def test_a_store_that_catches_up_is_healthy() -> None:
    async with a_place() as place:
        await behind(place)
        await place.while_alive(50)
        metadata = {"name": "a", "namespace": "ml", "resourceVersion": "7"}
        place.store.put(POD, {"metadata": metadata, "spec": {"containers": []}, "status": {}})
        assert await place.while_alive(3600) >= 3600
