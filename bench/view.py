"""Waiting for objects: one kind in one namespace, as a watch tells it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Self

from penstock import errors
from penstock.kinds import Kind, Manifest
from penstock.kube.api_server import ApiServer

Test = Callable[[Manifest], bool]


def _no_one(_: Manifest) -> None:
    return


class View:
    """The objects seen so far, by name. A wait ends in the turn of the event loop that brings the event."""

    def __init__(
        self, server: ApiServer, kind: Kind, namespace: str, listener: Callable[[Manifest], None] = _no_one
    ) -> None:
        self._listener = listener
        self._server = server
        self._kind = kind
        self._namespace = namespace
        self._waiting: list[tuple[str, Test, asyncio.Future[None]]] = []
        self._counting: tuple[Test, set[str], int, asyncio.Future[None]] | None = None
        self.objects: dict[str, Manifest] = {}

    @classmethod
    @asynccontextmanager
    async def of(
        cls, server: ApiServer, kind: Kind, namespace: str, listener: Callable[[Manifest], None] = _no_one
    ) -> AsyncIterator[Self]:
        """A view that follows its kind until the block is left; the listener hears of every object as it comes."""
        view = cls(server, kind, namespace, listener)
        version = await view._list()
        following = asyncio.create_task(view._follow(version))
        try:
            yield view
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    async def until_all(self, number: int, test: Test, *, seconds: float = 600) -> None:
        """Wait until that many objects pass the test. Raises TimeoutError with how many did."""
        passed = {name for name, obj in self.objects.items() if test(obj)}
        if len(passed) >= number:
            return
        done = asyncio.get_running_loop().create_future()
        self._counting = (test, passed, number, done)
        try:
            async with asyncio.timeout(seconds):
                await done
        except TimeoutError:
            raise TimeoutError(f"{len(passed)} of {number} {self._kind.plural} after {seconds:.0f} s") from None
        finally:
            self._counting = None

    async def until(self, name: str, test: Test, *, seconds: float = 60) -> None:
        """Wait until the named object is there and passes the test. Raises TimeoutError."""
        if name in self.objects and test(self.objects[name]):
            return
        done = asyncio.get_running_loop().create_future()
        entry = (name, test, done)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(seconds):
                await done
        except TimeoutError:
            raise TimeoutError(f"{self._kind} {name} is not as awaited after {seconds:.0f} s") from None
        finally:
            self._waiting.remove(entry)

    async def _list(self) -> str:
        async for page in self._server.pages(self._kind, self._namespace):
            for obj in page["items"]:
                self._take(obj)
            version: str = page["metadata"]["resourceVersion"]
        return version

    async def _follow(self, version: str) -> None:
        while True:
            try:
                async for event in self._server.watch(self._kind, self._namespace, since=version):
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] in ("ADDED", "MODIFIED"):
                        self._take(event["object"])
                    elif event["type"] == "DELETED":
                        self.objects.pop(event["object"]["metadata"]["name"], None)
            except errors.Gone:
                version = await self._list()

    def _take(self, obj: Manifest) -> None:
        name = obj["metadata"]["name"]
        self.objects[name] = obj
        self._listener(obj)
        for awaited, test, done in self._waiting:
            if awaited == name and not done.done() and test(obj):
                done.set_result(None)
        if self._counting is None:
            return
        test, passed, number, done = self._counting
        if test(obj):
            passed.add(name)
        else:
            passed.discard(name)
        if len(passed) >= number and not done.done():
            done.set_result(None)
