"""Keeps the store in step with one kind: list, then watch, then list again when the watch has fallen behind.

kopf watches the InferenceServices; their children, pods and nodes come through here, for two reasons measured in
docs/decisions/0002-own-reflectors.md: kopf spends forty times the CPU on every event, and after an outage it never
tells which objects vanished meanwhile.
"""

import asyncio
import random
import sys
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from penstock import errors
from penstock.kinds import NOT_WAITED_FOR, OPTIONAL, RESOURCE_QUOTA, Kind, Manifest
from penstock.kube.api_server import ApiServer
from penstock.watch.store import Key, ObjectId, identify

log = structlog.get_logger(__name__)

Enqueue = Callable[[Iterable[Key]], None]

_LONGEST_PAUSE_SECONDS = 30.0
_SHORTEST_WATCH_SECONDS = 0.5
_PATIENCE = 3  # attempts


class Sink(Protocol):
    """What is kept in step. Each call returns the services that the change concerns."""

    def put(self, kind: Kind, obj: Manifest) -> set[Key]:
        """Take in an object as a watch or a list returned it; an older version than known is ignored."""

    def drop(self, identity: ObjectId, *, version: int | None = None) -> set[Key]:
        """Forget an object that is gone; `version`, where given, is that of its deletion."""

    def retain(self, kind: Kind, namespace: str | None, listed: Iterable[ObjectId], *, version: int) -> set[Key]:
        """After a list: forget what it does not have any more. Objects newer than the list stay."""


class EventCounter(Protocol):
    def event_seen(self, kind: str, event_type: str) -> None: ...


class Reflector:
    """One kind in one namespace, or in all.

    `is_synced` is set after the first whole list, or after a few failures if it need not be waited for.
    """

    def __init__(
        self,
        server: ApiServer,
        store: Sink,
        kind: Kind,
        *,
        enqueue: Enqueue,
        metrics: EventCounter,
        namespace: str | None = None,
        selector: str | None = None,
        is_waited_for: bool = True,
    ) -> None:
        self._server = server
        self._store = store
        self._enqueue = enqueue
        self._metrics = metrics
        self._version = ""
        self._is_waited_for = is_waited_for and kind not in NOT_WAITED_FOR
        self.kind = kind
        self.namespace = namespace
        self.selector = selector
        self.is_synced = asyncio.Event()

    async def run(self) -> None:
        """Reflect until cancelled, whatever the API server does."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                failures = 0
            except errors.Gone:
                self._version = ""
            except (errors.ApiError, errors.Unreachable) as error:
                failures += 1
                if isinstance(error, errors.NotFound) and self.kind in OPTIONAL:
                    self._without()
                else:
                    log.warning("watch interrupted", kind=self.kind.name, error=str(error), attempt=failures)
                if self.kind is RESOURCE_QUOTA and isinstance(error, errors.ApiError) and error.status == 403:
                    # A plan without them is better than one with those of yesterday.
                    self._without()
                # No answer at all says nothing of this kind, or of this namespace.
                is_refused = isinstance(error, errors.ApiError)
                if not self._is_waited_for and is_refused and failures >= _PATIENCE:
                    self.is_synced.set()
                if isinstance(error, errors.ApiError) and not isinstance(error, errors.Throttled):
                    # Whatever the server means by it, a fresh list is right.
                    self._version = ""
                pause = min(_LONGEST_PAUSE_SECONDS, 0.2 * 2 ** min(failures, 8))
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret.
                continue
            if loop.time() - started < _SHORTEST_WATCH_SECONDS:
                # Something between us and the API server ends every stream at once: that must not become a hot loop.
                await asyncio.sleep(_SHORTEST_WATCH_SECONDS)

    async def _list(self) -> None:
        listed = []
        version = ""
        async for page in self._server.pages(self.kind, self.namespace, selector=self.selector):
            version = page["metadata"]["resourceVersion"]
            for obj in page["items"]:
                listed.append(identify(self.kind, obj))
                self._metrics.event_seen(self.kind.name, "LISTED")
                self._enqueue(self._store.put(self.kind, obj))
            await asyncio.sleep(0)  # A big list must not hold up the lease.
        self._enqueue(self._store.retain(self.kind, self.namespace, listed, version=int(version)))
        self._version = version
        self.is_synced.set()

    def _without(self) -> None:
        """The cluster does not serve this kind, or does not show it to us, for now."""
        self._enqueue(self._store.retain(self.kind, self.namespace, [], version=sys.maxsize))
        self.is_synced.set()

    async def _watch(self) -> None:
        stream = self._server.watch(self.kind, self.namespace, since=self._version, selector=self.selector)
        async for event in stream:
            self._take(event)

    def _take(self, event: Manifest) -> None:
        obj = event["object"]
        self._version = obj["metadata"]["resourceVersion"]
        if event["type"] == "BOOKMARK":
            return
        self._metrics.event_seen(self.kind.name, event["type"])
        if event["type"] == "DELETED":
            # Also sent when an object no longer matches the selector: for us it is gone either way.
            self._enqueue(self._store.drop(identify(self.kind, obj), version=int(self._version)))
            return
        self._enqueue(self._store.put(self.kind, obj))
