"""The `penstock` command, which `kubectl penstock` finds by its second name `kubectl-penstock`.

Nothing is imported here that `--help` does not need (tests/unit/test_cli_imports.py): each command loads its own part.
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no public name.

_REVISION = r"[0-9A-Za-z][0-9A-Za-z.-]*"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 0, 1 for a failure, 2 for a wrong call."""
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser(next(iter(words), "")).parse_args(words)
    if arguments.command == "run":
        return _run(arguments)
    if arguments.command == "metrics-adapter":
        return _metrics_adapter(arguments)
    if arguments.command == "router":
        return _router(arguments)
    from penstock.cli import commands  # noqa: PLC0415

    return commands.carry_out(arguments)


def _run(arguments: argparse.Namespace) -> int:
    from penstock.cli import process  # noqa: PLC0415
    from penstock.controller.run import NotInstalled, run  # noqa: PLC0415
    from penstock.controller.settings import Settings  # noqa: PLC0415
    from penstock.kube.leader import LeaseLost  # noqa: PLC0415

    return process.carry_out(arguments, Settings, run, ends=(NotInstalled, LeaseLost))


def _metrics_adapter(arguments: argparse.Namespace) -> int:
    from penstock import errors  # noqa: PLC0415
    from penstock.adapter.run import run  # noqa: PLC0415
    from penstock.adapter.settings import Settings  # noqa: PLC0415
    from penstock.cli import process  # noqa: PLC0415

    return process.carry_out(arguments, Settings, run, ends=(errors.ApiError, errors.Unreachable))


def _router(arguments: argparse.Namespace) -> int:
    from penstock import errors  # noqa: PLC0415
    from penstock.cli import process  # noqa: PLC0415
    from penstock.router.run import run  # noqa: PLC0415
    from penstock.router.settings import Settings  # noqa: PLC0415

    return process.carry_out(arguments, Settings, run, ends=(errors.ApiError, errors.Unreachable))


def _parser(command: str = "") -> argparse.ArgumentParser:
    """The parser for a call that begins with `command`: only a process of ours has its settings loaded."""
    name = "kubectl penstock" if Path(sys.argv[0]).name == "kubectl-penstock" else "penstock"
    parser = argparse.ArgumentParser(prog=name, description="Model serving on Kubernetes.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show program's version number and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    _add_run(commands, with_settings=command == "run")
    _add_metrics_adapter(commands, with_settings=command == "metrics-adapter")
    _add_router(commands, with_settings=command == "router")
    _add_reading(commands)
    _add_actions(commands)
    return parser


class _Version(argparse.Action):
    """What argparse's own would do, without reading the package's metadata for every other call."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version  # noqa: PLC0415

        print(f"penstock {version('penstock')}")
        parser.exit()


def _add_run(commands: "Commands", *, with_settings: bool) -> None:
    text = "Watch InferenceServices and reconcile what they own."
    runner = _process(commands, "run", "run the operator", text, example="--namespaces=ml --log-level=debug")
    if with_settings:
        from penstock.controller import settings  # noqa: PLC0415

        settings.Settings.add_flags(runner)


def _add_metrics_adapter(commands: "Commands", *, with_settings: bool) -> None:
    text = "Serve what the pods of services have counted as custom metrics of the Kubernetes API, for autoscaling."
    name, summary = "metrics-adapter", "serve custom metrics for autoscaling"
    runner = _process(commands, name, summary, text, example="--namespaces=ml --log-level=debug")
    if with_settings:
        from penstock.adapter import settings  # noqa: PLC0415

        settings.Settings.add_flags(runner)


def _add_router(commands: "Commands", *, with_settings: bool) -> None:
    text = "Hold the requests of services that sleep, ask the operator to wake them, and forward the requests then."
    summary = "hold requests while services wake"
    runner = _process(commands, "router", summary, text, example="--namespaces=ml --log-level=debug")
    if with_settings:
        from penstock.router import settings  # noqa: PLC0415

        settings.Settings.add_flags(runner)


def _process(commands: "Commands", name: str, summary: str, text: str, *, example: str) -> argparse.ArgumentParser:
    """A command that runs until it is stopped, as a pod of the installation does."""
    runner = _command(commands, name, summary, text, example=example)
    runner.add_argument(
        "--kubeconfig", help="path of a kubeconfig; default: the pod's ServiceAccount, else $KUBECONFIG"
    )
    return runner


def _add_reading(commands: "Commands") -> None:
    status = _about_a_service(
        commands,
        "status",
        "show a service, its rollout and its slots",
        "Show how a service and its rollout are. With --watch until nothing is on its way any more: the exit status is "
        "then 0 if the rollout is Stable, 1 if it is RolledBack.",
        example="chat -n ml --watch",
    )
    status.add_argument(
        "--watch", "-w", action="store_true", help="go on until the rollout is Stable (exit 0) or RolledBack (exit 1)"
    )
    text = "Say in sentences why a service is not Ready, what it waits for, and what would unblock it."
    _about_a_service(commands, "explain", "say what is in the way, and what to do", text, example="chat -n ml")
    text = "List the stored revisions of a service, the oldest first."
    _about_a_service(commands, "history", "list the stored revisions", text, example="chat -n ml")
    text = "Show what changed in the pod template from one stored revision to another."
    diff = _about_a_service(commands, "diff", "compare two revisions", text, example="chat 1f0c8b2d4e 9a3e5d7c10 -n ml")
    diff.add_argument("old", metavar="REV", help="the one revision, as `history` lists it")
    diff.add_argument("new", metavar="REV", help="the other one")


def _add_actions(commands: "Commands") -> None:
    promote = _action(
        commands,
        "promote",
        "let the new revision go on",
        "Open the gate that a tested revision waits at, or end the hold after the switch.",
        example="chat -n ml --full",
    )
    promote.add_argument("--full", action="store_true", help="leave out soak, steps, analysis and hold, too")
    _action(commands, "abort", "go back to the stable revision", "Give up the rollout under way.", example="chat -n ml")
    text = "Try the revision again that was given up, or start the analysis afresh."
    _action(commands, "retry", "try the failed revision again", text, example="chat -n ml")
    text = "Go back to the revision before, or to any that is stored. The spec is not changed."
    rollback = _action(commands, "rollback", "go back to an earlier revision", text, example="chat --to 1f0c8b2d4e")
    rollback.add_argument("--to", metavar="REVISION", type=_revision, help="default: the one that was stable before")
    _action(commands, "pause", "halt the rollout", "Let rollout and deadline stand still.", example="chat -n ml")
    _action(commands, "resume", "go on with the rollout", "Go on with a paused rollout.", example="chat -n ml")
    text = "Replace all pods, as a new revision of the same spec."
    _about_a_service(commands, "restart", "replace all pods", text, example="chat -n ml", prints_data=False)


def _action(commands: "Commands", name: str, summary: str, text: str, *, example: str) -> argparse.ArgumentParser:
    """A command that the operator answers."""
    parser = _about_a_service(commands, name, summary, text, example=example)
    parser.add_argument("--no-wait", dest="wait", action="store_false", help="do not wait for the operator's answer")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=_seconds, default=30.0, help="how long to wait for it (default: 30)"
    )
    return parser


def _about_a_service(
    commands: "Commands", name: str, summary: str, text: str, *, example: str, prints_data: bool = True
) -> argparse.ArgumentParser:
    parser = _command(commands, name, summary, text, example=example)
    parser.add_argument("name", metavar="NAME", help="the InferenceService")
    parser.add_argument("--namespace", "-n", help="default: the kubeconfig context's namespace, else default")
    parser.add_argument("--kubeconfig", metavar="PATH", help="default: $KUBECONFIG, else ~/.kube/config")
    parser.add_argument("--context", help="context of the kubeconfig; default: the current one")
    if prints_data:
        parser.add_argument("--output", "-o", choices=["json"], help="print JSON instead of text")
    return parser


def _command(commands: "Commands", name: str, summary: str, text: str, *, example: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=textwrap.fill(text, 78),
        epilog=f"example:\n  %(prog)s {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _revision(word: str) -> str:
    """A colon or an equals sign would be read as another part of the action."""
    if not re.fullmatch(_REVISION, word):
        raise argparse.ArgumentTypeError(f"{word!r} is no revision")
    return word


def _seconds(word: str) -> float:
    seconds = float(word)
    if not seconds > 0:
        raise argparse.ArgumentTypeError("it must be above 0")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
