"""The life of the server's process: listen, load, serve until a signal, drain, end."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

import structlog
from aiohttp import web

from penstock_server import logs
from penstock_server.admission import Admission, AdmissionState
from penstock_server.app import build_app
from penstock_server.config import Settings, parse
from penstock_server.failure import ExitCode, StartupFailure, record, termination_log
from penstock_server.loading import bring_up
from penstock_server.metrics import Metrics
from penstock_server.service import Service
from penstock_server.status import AnyEngine, Served

LAST_STEP_SECONDS = 10.0  # taken from the slack of the pod's grace period; no client waits for this step any more

log = structlog.get_logger(__name__)


def run(argv: Sequence[str]) -> NoReturn:
    """Serve as the arguments say, and end the process."""
    logs.configure()
    try:
        settings = parse(argv)
        asyncio.run(serve(settings))
    except StartupFailure as failure:
        log.error("cannot serve", reason=failure.reason, message=str(failure))
        record(failure, termination_log())
        sys.exit(failure.code)
    sys.exit(ExitCode.DRAINED)


async def serve(settings: Settings) -> None:
    """Serve until a signal, then drain. Raises StartupFailure."""
    service = _service(settings)
    stop = _on_signals()
    runner = web.AppRunner(
        build_app(service), handle_signals=False, handler_cancellation=True, access_log=None, shutdown_timeout=2
    )
    await _listen(runner, settings)
    try:
        await _until_stopped(service, stop)
        await drain(service, stop)
    finally:
        await runner.cleanup()
        if service.served.engine is not None:
            await _close(service.served.engine)
    log.info("drained")


async def _close(engine: AnyEngine) -> None:
    closing = asyncio.create_task(asyncio.to_thread(engine.close))
    done, _ = await asyncio.wait([closing], timeout=LAST_STEP_SECONDS)
    if not done:
        log.warning("a step of the engine does not end: leaving without it")
        _leave()


def _service(settings: Settings) -> Service:
    admission = Admission(
        concurrency=settings.container_concurrency, max_queue=settings.max_queue, timeout=settings.timeout
    )
    return Service(settings, Served(), Metrics(settings.model_name), admission, int(time.time()))


def _on_signals() -> asyncio.Queue[signal.Signals]:
    """Every SIGTERM and SIGINT from now on."""
    seen: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, seen.put_nowait, number)
    return seen


async def _listen(runner: web.AppRunner, settings: Settings) -> None:
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port, backlog=1024).start()
    except OSError as error:
        await runner.cleanup()
        raise StartupFailure(ExitCode.CANNOT_LISTEN, "CannotListen", str(error)) from error
    log.info("listening", host=settings.host, port=runner.addresses[0][1], model=settings.model_name)


async def _until_stopped(service: Service, stop: "asyncio.Queue[signal.Signals]") -> None:
    """Bring the model up and wait for a signal, which is left in the queue. Raises StartupFailure."""
    loading = asyncio.create_task(bring_up(service.settings, service.served, service.metrics))
    signalled = asyncio.create_task(stop.get())
    await asyncio.wait([loading, signalled], return_when=asyncio.FIRST_COMPLETED)
    if not signalled.done():
        await _after_loading(loading, service)
    number = await signalled
    if not loading.done():
        # Leave without cleaning up: neither a download nor a load can be interrupted, and torch would abort at exit.
        log.info("stopped while loading")
        _leave()
    stop.put_nowait(number)


async def _after_loading(loading: "asyncio.Task[None]", service: Service) -> None:
    await loading
    engine = service.served.engine
    if engine is not None:
        service.metrics.watch(engine.stats, lambda: service.admission.waiting)


async def drain(service: Service, stop: "asyncio.Queue[signal.Signals]") -> None:
    """Stop accepting requests in two steps, then wait for those in flight.

    SIGINT comes from a terminal, where no endpoints need time to update: the server stops accepting at once. A second
    signal ends what is in flight.
    """
    settings, admission = service.settings, service.admission
    delay = settings.drain_delay if await stop.get() is signal.SIGTERM else 0.0
    admission.state = AdmissionState.DRAINING
    log.info("draining", delay=delay, timeout=settings.drain_timeout)
    await _signal_within(stop, delay)
    admission.state = AdmissionState.CLOSED
    in_time = asyncio.create_task(admission.drained())
    again = asyncio.create_task(stop.get())
    await asyncio.wait([in_time, again], timeout=settings.drain_timeout, return_when=asyncio.FIRST_COMPLETED)
    if not in_time.done():
        log.warning("cutting off what is still in flight")
        admission.cut_off()
    again.cancel()
    await in_time


async def _signal_within(stop: "asyncio.Queue[signal.Signals]", seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.get(), seconds)


def _leave() -> NoReturn:
    sys.stderr.flush()
    os._exit(ExitCode.DRAINED)
