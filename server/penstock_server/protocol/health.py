"""Probes and metrics: answered from the first second, never counted, never queued."""

from typing import Any

from aiohttp import web

from penstock_server.service import SERVICE
from penstock_server.status import State

EXPOSITION = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}


async def livez(request: web.Request) -> web.Response:
    """The answer itself shows that the event loop runs; the heartbeat shows that the engine does."""
    return _probe_result(request.app[SERVICE].served.is_alive, ok="alive", not_ok="the engine has stopped or is stuck")


async def readyz(request: web.Request) -> web.Response:
    """Whether to send requests here."""
    service = request.app[SERVICE]
    if service.admission.is_draining:
        return _probe_result(False, ok="", not_ok="draining")
    return _probe_result(service.served.is_ready, ok="ready", not_ok=str(service.served.status.state))


async def startupz(request: web.Request) -> web.Response:
    """503 with the progress until the model is loaded and warm."""
    status = request.app[SERVICE].served.status
    return web.json_response(status.body(), status=200 if status.state is State.READY else 503)


async def metrics(request: web.Request) -> web.Response:
    """Prometheus' text format."""
    return web.Response(body=request.app[SERVICE].metrics.expose(), headers=EXPOSITION)


def _probe_result(passed: bool, *, ok: str, not_ok: str) -> web.Response:
    body: dict[str, Any] = {"status": ok if passed else not_ok}
    return web.json_response(body, status=200 if passed else 503)
