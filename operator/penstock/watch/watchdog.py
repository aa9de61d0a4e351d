"""The check on the watches: now and then each kind is listed, metadata only, and held against the store.

A watch that has silently died looks just like a quiet cluster; only a list can tell the two apart. A list that fails
tells nothing: an API server that is overloaded is not helped by operators that start anew and list everything.
"""

import asyncio
import random
from dataclasses import dataclass

import structlog

from penstock import errors
from penstock.kinds import OPTIONAL, Kind
from penstock.kube.api_server import ApiServer
from penstock.watch.reflector import Enqueue
from penstock.watch.store import ObjectId, Store, identify

log = structlog.get_logger(__name__)

_RECHECK_SECONDS = 5.0
_TOLERANCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Watched:
    """One kind as it is watched."""

    kind: Kind
    namespace: str | None = None
    selector: str | None = None


class Watchdog:
    """Lists what is watched every `interval` seconds, each kind at its own moment."""

    def __init__(self, server: ApiServer, store: Store, *, enqueue: Enqueue, interval: float) -> None:
        self._server = server
        self._store = store
        self._enqueue = enqueue
        self._interval = interval
        self._behind: dict[Watched, float] = {}  # seconds over which lists, none of which failed, have shown it

    @property
    def is_healthy(self) -> bool:
        """False when lists show for more than a minute what the store still misses: the process must be restarted."""
        return all(seconds <= _TOLERANCE_SECONDS for seconds in self._behind.values())

    async def guard(self, watched: Watched) -> None:
        """Check one kind until cancelled."""
        while True:
            await asyncio.sleep(self._interval * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret.
            try:
                await self._check(watched)
            except (errors.ApiError, errors.Unreachable) as error:
                self._behind.pop(watched, None)
                if not isinstance(error, errors.NotFound) or watched.kind not in OPTIONAL:
                    log.warning("watchdog could not list", kind=watched.kind.name, error=str(error))

    async def _check(self, watched: Watched) -> None:
        listed, version = await self._list(watched)
        gone = self._store.retain(watched.kind, watched.namespace, listed, version=version)
        if gone:
            log.warning("objects had gone unnoticed", kind=watched.kind.name, services=sorted(map(str, gone)))
            self._enqueue(gone)
        clock = asyncio.get_running_loop().time
        since = clock()
        while missing := self._missing(watched, listed):
            self._behind[watched] = clock() - since
            log.warning("the store is behind", kind=watched.kind.name, objects=len(missing))
            await asyncio.sleep(_RECHECK_SECONDS)
            # Those deleted in the meantime are not missing.
            current, _ = await self._list(watched)
            listed = {identity: min(listed[identity], current[identity]) for identity in missing if identity in current}
        self._behind.pop(watched, None)

    async def _list(self, watched: Watched) -> tuple[dict[ObjectId, int], int]:
        listed: dict[ObjectId, int] = {}
        version = 0
        pages = self._server.pages(watched.kind, watched.namespace, selector=watched.selector, metadata_only=True)
        async for page in pages:
            version = int(page["metadata"]["resourceVersion"])
            for item in page["items"]:
                listed[identify(watched.kind, item)] = int(item["metadata"]["resourceVersion"])
        return listed, version

    def _missing(self, watched: Watched, listed: dict[ObjectId, int]) -> list[ObjectId]:
        known = self._store.versions(watched.kind, watched.namespace)
        return [identity for identity, version in listed.items() if known.get(identity, -1) < version]
