"""`penstock router`: the requests of services that sleep, held until they are awake."""

import argparse
import os
import sys

import structlog
import uvloop
from kubernetes.aio.config import ConfigException

from penstock import environment, errors, logs, process
from penstock.router.run import run
from penstock.router.settings import Settings

log = structlog.get_logger(__name__)


def carry_out(arguments: argparse.Namespace) -> int:
    try:
        found = Settings.from_env(os.environ, vars(arguments))
    except environment.SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    logs.configure(found.log_level, found.log_format)
    process.raise_open_files()
    try:
        uvloop.run(run(found, kubeconfig=arguments.kubeconfig))
    except (ConfigException, errors.ApiError, errors.Unreachable) as error:
        log.error("stopped", reason=str(error))
        return 1
    return 0
