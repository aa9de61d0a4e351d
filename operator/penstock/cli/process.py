"""`penstock run`, `metrics-adapter` and `router`: processes that run until they are stopped."""

import argparse
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog
import uvloop
from kubernetes.aio.config import ConfigException

from penstock import environment, logs, process
from penstock.environment import ProcessSettings

S = TypeVar("S", bound=ProcessSettings)

log = structlog.get_logger(__name__)


def carry_out(
    arguments: argparse.Namespace,
    settings: type[S],
    run: Callable[..., Coroutine[Any, Any, None]],
    *,
    ends: tuple[type[Exception], ...],
) -> int:
    """Run until a signal comes; what is in `ends` stops it with one line instead of a traceback."""
    try:
        found = settings.from_env(os.environ, vars(arguments))
    except environment.SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    logs.configure(found.log_level, found.log_format)
    process.raise_open_files()
    try:
        # It takes less memory than asyncio's own loop: docs/decisions/0009.
        uvloop.run(run(found, kubeconfig=arguments.kubeconfig))
    except (ConfigException, *ends) as error:  # type: ignore[misc] # mypy does not see into an unpacked tuple.
        log.error("stopped", reason=str(error))
        return 1
    return 0
