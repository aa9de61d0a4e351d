"""Asks the operator to wake services: it writes a new time into the status, which it alone may do."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

import structlog

from penstock import errors, names
from penstock.kinds import INFERENCE_SERVICE, Kind, Manifest
from penstock.router import wake
from penstock.router.hold import Hold
from penstock.router.holds import Holds

log = structlog.get_logger(__name__)

_TICK_SECONDS: Final = 0.5
# After a failed write. The last one is repeated until it is too late to matter.
_PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)


class StatusWriter(Protocol):
    async def merge(
        self, kind: Kind, namespace: str, name: str, patch: Manifest, *, subresource: str = ..., manager: str = ...
    ) -> Manifest: ...


class Waker:
    """`on_ask` hears of each attempt whether it succeeded."""

    def __init__(
        self, server: StatusWriter, holds: Holds, now: Callable[[], datetime], on_ask: Callable[[bool], None]
    ) -> None:
        self._server = server
        self._holds = holds
        self._now = now
        self._on_ask = on_ask
        self._asked: dict[str, float] = {}  # by the service's UID
        self._asking: dict[str, asyncio.Task[None]] = {}

    def arrived(self, hold: Hold) -> None:
        """A request has come for the service."""
        service = hold.service
        if wake.on_arrival(self._asked.get(service.uid), _time(), is_waking=service.is_waking):
            self._begin(hold)

    async def run(self) -> None:
        """Ask again for as long as requests are held; until cancelled."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self._repeat()

    async def close(self) -> None:
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _repeat(self) -> None:
        now = _time()
        # An older ask than any pause says nothing.
        self._asked = {
            uid: asked for uid, asked in self._asked.items() if now - asked < wake.REPEAT_WHILE_WAKING_SECONDS
        }
        for hold in self._holds:
            asked, service = self._asked.get(hold.service.uid), hold.service
            if hold.held and wake.while_held(asked, now, is_waking=service.is_waking, has_pods=hold.has_pods):
                self._begin(hold)

    def _begin(self, hold: Hold) -> None:
        key, uid = hold.service.key, hold.service.uid
        if hold.service.refusal is not None or uid in self._asking:
            return
        self._asked[uid] = _time()
        task = self._asking[uid] = asyncio.create_task(self._ask(hold), name=f"wake-{key}")
        task.add_done_callback(lambda _: self._asking.pop(uid, None))

    async def _ask(self, hold: Hold) -> None:
        """Write until it is written, or no longer needed: the request that asked may have been forwarded long since."""
        for pause in _PAUSES:
            if hold.is_gone or hold.service.is_waking:
                return
            succeeded = await self._write(hold)
            self._on_ask(succeeded)
            if succeeded:
                return
            await asyncio.sleep(pause)

    async def _write(self, hold: Hold) -> bool:
        service = hold.service
        at = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        # A service that was deleted and made again meanwhile has not been asked for.
        patch = {"metadata": {"uid": service.uid}, "status": {"wakeRequestedAt": at}}
        try:
            await self._server.merge(
                INFERENCE_SERVICE,
                service.key.namespace,
                service.key.name,
                patch,
                subresource="status",
                manager=names.ROUTER_FIELD_MANAGER,
            )
        except (errors.ApiError, errors.Unreachable) as error:
            log.warning("not woken yet", service=str(service.key), error=str(error))
            return False
        self._asked[service.uid] = _time()
        log.info("asked to wake", service=str(service.key), state=service.state)
        return True


def _time() -> float:
    return asyncio.get_running_loop().time()
