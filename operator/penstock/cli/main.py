"""The `penstock` command."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

import structlog
from kubernetes.aio.config import ConfigException

from penstock import logs, settings
from penstock.leader import LeaseLost
from penstock.run import NotInstalled, run

log = structlog.get_logger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 0, 1 for a failure, 2 for a wrong call."""
    arguments = _parser().parse_args(argv)
    try:
        found = settings.Settings.from_env(os.environ, vars(arguments))
    except settings.SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    logs.configure(found.log_level, found.log_format)
    try:
        asyncio.run(run(found, kubeconfig=arguments.kubeconfig))
    except (NotInstalled, LeaseLost, ConfigException) as error:
        log.error("stopped", reason=str(error))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="penstock", description="Model serving on Kubernetes.")
    parser.add_argument("--version", action="version", version=f"penstock {version('penstock')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    runner = commands.add_parser(
        "run", help="run the operator", description="Watch InferenceServices and reconcile what they own."
    )
    runner.add_argument(
        "--kubeconfig", help="path of a kubeconfig; default: the pod's ServiceAccount, else $KUBECONFIG"
    )
    settings.add_flags(runner)
    return parser


if __name__ == "__main__":
    sys.exit(main())
