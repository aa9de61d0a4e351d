"""`penstock run`: the operator."""

import argparse
import os
import sys

import structlog
import uvloop
from kubernetes.aio.config import ConfigException

from penstock import environment, logs
from penstock.controller import settings
from penstock.controller.run import NotInstalled, run
from penstock.kube.leader import LeaseLost

log = structlog.get_logger(__name__)


def carry_out(arguments: argparse.Namespace) -> int:
    try:
        found = settings.Settings.from_env(os.environ, vars(arguments))
    except environment.SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    logs.configure(found.log_level, found.log_format)
    try:
        # It takes less memory: docs/decisions/0009.
        uvloop.run(run(found, kubeconfig=arguments.kubeconfig))
    except (NotInstalled, LeaseLost, ConfigException) as error:
        log.error("stopped", reason=str(error))
        return 1
    return 0
