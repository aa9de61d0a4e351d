"""One request through the router: whose it is, which pod takes it, what became of it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web

from penstock import names
from penstock.router import answers, exchange, refusal
from penstock.router.exchange import Exchange
from penstock.router.hangups import Hangups
from penstock.router.hold import Hold, Place
from penstock.router.holds import Holds
from penstock.router.metrics import RouterMetrics
from penstock.router.refusal import Refused
from penstock.router.upstream import Unreachable
from penstock.router.waker import Waker
from penstock.watch.store import Key

log = structlog.get_logger(__name__)

_GONE: Final = 499  # The client is; as nginx writes it.
_CUT: Final = 502


@dataclass(slots=True)
class _Record:
    """What the log says of a request."""

    service: Key | None
    method: str
    path: str
    began: float
    status: int = 0
    held: float = 0.0  # seconds


class Router:
    """`owner` says whose port it is; `name` is the router's own."""

    def __init__(
        self,
        holds: Holds,
        owner: Callable[[int], Key | None],
        waker: Waker,
        metrics: RouterMetrics,
        hangups: Hangups,
        *,
        name: str,
    ) -> None:
        self._holds = holds
        self._owner = owner
        self._waker = waker
        self._metrics = metrics
        self._hangups = hangups
        self._name = name
        self._under_way = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @property
    def under_way(self) -> int:
        """Requests that are held or forwarded."""
        return self._under_way

    async def idle(self) -> None:
        """Wait until there is none."""
        await self._is_idle.wait()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            raise ConnectionError("the client has gone")
        port: int = transport.get_extra_info("sockname")[1]
        path, _, _ = request.raw_path.partition("?")
        if path == names.ROUTER_PATH and request.method in ("GET", "HEAD"):
            return answers.of_router(self._name, self._owner(port))
        self._count(1)
        record = _Record(self._owner(port), request.method, path, time.monotonic())
        try:
            with self._hangups.watch(transport):
                return await self._answer(request, record, port)
        except asyncio.CancelledError:
            record.status = record.status or _GONE
            raise
        finally:
            self._count(-1)
            self._note(request, record)

    async def _answer(self, request: web.BaseRequest, record: _Record, port: int) -> web.StreamResponse:
        try:
            hold = self._holds.get(record.service) if record.service else None
            if hold is None:
                raise Refused(refusal.no_service(port))
            exchange.target(request)
            answer: web.StreamResponse = await self._forward(request, hold, record)
            record.status = answer.status
        except Refused as refused:
            record.status = refused.refusal.status
            self._metrics.refused(refused.refusal.reason)
            answer = answers.refused(self._name, refused.refusal)
        except Exception:
            log.exception("a request failed", service=str(record.service))
            record.status = 500
            answer = answers.refused(self._name, refusal.internal())
        return answer

    async def _forward(self, request: web.BaseRequest, hold: Hold, record: _Record) -> web.StreamResponse:
        self._waker.arrived(hold)
        async with hold.place() as place:
            try:
                return await self._to_a_pod(request, hold, place, record)
            except asyncio.CancelledError:
                if not place.taken.done():
                    self._metrics.given_up()
                raise
            finally:
                record.held = place.waited

    async def _to_a_pod(
        self, request: web.BaseRequest, hold: Hold, place: Place, record: _Record
    ) -> web.StreamResponse:
        while True:
            pod = await hold.wait(place)
            waited = f"{place.waited:.1f}".encode()
            extra = [(names.COLD_START_HEADER.encode(), waited)] if place.waited else []
            sent = Exchange(request, pod, timeout=hold.service.timeout, extra=extra)
            try:
                answer = await sent.run()
            except Unreachable as error:
                log.info("a pod did not take a request", service=str(hold.service.key), error=str(error))
                hold.put_back(place)
                continue
            except asyncio.CancelledError:
                # A client that has all of it may be gone before we are done.
                record.status = sent.delivered or record.status
                raise
            finally:
                if sent.delivered:
                    self._count_forwarded(place)
            return answer

    def _count_forwarded(self, place: Place) -> None:
        self._metrics.forwarded()
        if place.waited:
            self._metrics.held(place.waited)

    def _count(self, change: int) -> None:
        self._under_way += change
        if self._under_way:
            self._is_idle.clear()
        else:
            self._is_idle.set()

    def _note(self, request: web.BaseRequest, record: _Record) -> None:
        self._metrics.answered(record.status)
        log.info(
            "request",
            service=str(record.service or ""),
            method=record.method,
            path=record.path,
            status=record.status,
            held=round(record.held, 3),
            seconds=round(time.monotonic() - record.began, 3),
            bytes=request.writer.output_size,
        )
