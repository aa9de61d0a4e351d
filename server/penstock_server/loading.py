"""From `--model` to a warm engine, in the background of a server that already listens."""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

import structlog

from penstock_server import storage
from penstock_server.config import Settings
from penstock_server.engine.architectures import Identity, UnsupportedModel, identify
from penstock_server.failure import ExitCode, StartupFailure
from penstock_server.metrics import Metrics
from penstock_server.status import AnyEngine, Served, State

log = structlog.get_logger(__name__)


async def bring_up(settings: Settings, served: Served, metrics: Metrics) -> None:
    """Fetch, load, warm up. Raises StartupFailure, with `served` failed."""
    try:
        directory = await asyncio.to_thread(_fetch, settings, served, metrics)
        started = time.monotonic()
        served.advance(state=State.LOADING)
        log.info("loading the model", directory=str(directory))
        engine = await asyncio.to_thread(_build, directory, settings, metrics)
        served.engine = engine
        await _warm_up(engine, served)
    except StartupFailure as failure:
        served.advance(state=State.FAILED, message=str(failure))
        raise
    metrics.load_duration.set(time.monotonic() - started)
    metrics.describe(engine.info)
    served.advance(state=State.READY, loaded_bytes=_weight_bytes(directory))
    log.info("ready", seconds=round(time.monotonic() - started, 2), task=engine.info.task, device=engine.info.device)


def _fetch(settings: Settings, served: Served, metrics: Metrics) -> Path:
    if "://" not in settings.model:
        return _directory(settings.model)
    try:
        return storage.fetch(
            settings.model, into=settings.cache_dir, progress=_reporter(served, metrics), env=os.environ
        )
    except storage.StorageError as error:
        raise StartupFailure(ExitCode.DOWNLOAD_FAILED, str(error.reason), error.message) from error


def _directory(path: str) -> Path:
    directory = Path(path)
    if directory.is_dir():
        return directory
    message = f"--model {path}: there is no such directory"
    raise StartupFailure(ExitCode.DOWNLOAD_FAILED, "ModelDownloadFailed", message)


def _reporter(served: Served, metrics: Metrics) -> Callable[[storage.Progress], None]:
    first: list[tuple[float, int]] = []

    def report(progress: storage.Progress) -> None:
        now = time.monotonic()
        first.append((now, progress.bytes)) if not first else None
        began, had = first[0]
        served.advance(
            downloaded_bytes=progress.bytes,
            total_bytes=progress.total_bytes,
            bytes_per_second=(progress.bytes - had) / max(now - began, 0.001),
        )
        metrics.download_bytes.set(progress.bytes)

    return report


def _build(directory: Path, settings: Settings, metrics: Metrics) -> AnyEngine:
    try:
        identity = identify(directory, settings.task)
        return _engine(directory, identity, settings, metrics)
    except UnsupportedModel as error:
        raise StartupFailure(ExitCode.UNSUPPORTED_MODEL, "UnsupportedModel", str(error)) from error
    except Exception as error:  # Damaged files raise nearly any exception of the libraries that read them.
        message = f"the model does not load: {type(error).__name__}: {error}"
        raise StartupFailure(ExitCode.LOAD_FAILED, "ModelLoadFailed", message) from error


def _engine(directory: Path, identity: Identity, settings: Settings, metrics: Metrics) -> AnyEngine:
    # Imported only now, because torch takes seconds: the server already answers its probes, and has checked the
    # model's small files.
    from penstock_server.engine.build import Plan, build  # noqa: PLC0415
    from penstock_server.engine.devices import DType  # noqa: PLC0415

    plan = Plan(
        identity=identity,
        dtype=cast("DType", settings.dtype),
        max_queue=settings.max_queue,
        gpu_requested=settings.gpu_requested,
        on_batch=metrics.batch_size.observe,
    )
    return build(directory, plan)


async def _warm_up(engine: AnyEngine, served: Served) -> None:
    served.advance(state=State.WARMING)
    try:
        await engine.warm_up()
    except Exception as error:
        await asyncio.to_thread(engine.close)
        message = f"the first inference failed: {error}"
        raise StartupFailure(ExitCode.LOAD_FAILED, "ModelLoadFailed", message) from error


def _weight_bytes(directory: Path) -> int:
    with suppress(OSError):
        return sum(path.stat().st_size for path in directory.glob("*.safetensors"))
    return 0
