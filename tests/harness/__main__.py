"""The harness on the command line: `python -m tests.harness --help`."""

import argparse
import sys
from collections.abc import Callable

from tests.harness import cluster, gateway, images, resource_metrics, tools
from tests.harness.progress import HarnessError, progress, tail


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0, or 1 with one line on stderr that says what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except HarnessError as error:
        progress(f"error: {error}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.harness", description="Real Kubernetes clusters for tests and demos."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = _with_profile(commands.add_parser("up", help="start a cluster, or say where the running one is"), _up)
    up.add_argument(
        "--cluster",
        choices=cluster.PROVIDERS,
        help="default: $PENSTOCK_CLUSTER, else kind where Docker may run privileged containers, else local",
    )
    _with_profile(commands.add_parser("down", help="stop and remove a cluster; its logs stay"), _down)
    commands.add_parser("status", help="say which clusters run").set_defaults(run=_status)
    load = commands.add_parser("load-image", help="bring a local image to the node cluster; prints its name there")
    load.set_defaults(run=_load_image)
    load.add_argument("image", help="its name, such as penstock/operator:1")
    route = commands.add_parser("gateway", help="start a Gateway on the running node cluster; prints its address")
    route.set_defaults(run=_gateway)
    metrics = commands.add_parser("metrics", help="start metrics-server on the running node cluster")
    metrics.set_defaults(run=_metrics)
    logs = _with_profile(commands.add_parser("logs", help="print the end of each component's log"), _logs)
    logs.add_argument("component", nargs="*", help="only these (default: all)")
    logs.add_argument("--lines", type=int, default=30, help="of each (default: 30)")
    _with_profile(commands.add_parser("kubeconfig", help="print the path of the admin kubeconfig"), _kubeconfig)
    build = commands.add_parser("build-tools", help="build the cluster's programs, without starting anything")
    build.add_argument(
        "tool", nargs="*", metavar="TOOL", choices=[[], *tools.TOOLS], help=f"default: {', '.join(tools.FOR_TESTS)}"
    )
    build.set_defaults(run=_build_tools)
    prune = commands.add_parser("prune", help=f"empty the cache folder ({tools.cache_dir()}, $PENSTOCK_CACHE)")
    prune.set_defaults(run=lambda _: cluster.prune())
    return parser


def _with_profile(
    parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None]
) -> argparse.ArgumentParser:
    parser.add_argument(
        "--profile",
        choices=cluster.PROFILES,
        default="control-plane",
        help="control-plane: API server, controllers, fake nodes; node: a real node for pods (default: control-plane)",
    )
    parser.set_defaults(run=run)
    return parser


def _up(options: argparse.Namespace) -> None:
    made = cluster.up(options.profile, options.cluster or cluster.named_provider())
    print(f"{made.profile} cluster ({made.provider}) at {made.api_url}\nexport KUBECONFIG={made.kubeconfig}")


def _down(options: argparse.Namespace) -> None:
    cluster.down(options.profile, with_copies=True)


def _status(_: argparse.Namespace) -> None:
    for profile, description in cluster.status().items():
        print(f"{profile}: {description}")


def _load_image(options: argparse.Namespace) -> None:
    print(images.load(options.image))


def _gateway(_: argparse.Namespace) -> None:
    found = gateway.ensure(_running("node"))
    print(f"gateway {found.name} in namespace {found.namespace} at {found.url}")


def _metrics(_: argparse.Namespace) -> None:
    resource_metrics.ensure(_running("node"))


def _logs(options: argparse.Namespace) -> None:
    for name, log in _running(options.profile).logs().items():
        if not options.component or name in options.component:
            print(f"==> {log} <==\n{tail(log, options.lines)}\n")


def _kubeconfig(options: argparse.Namespace) -> None:
    print(_running(options.profile).kubeconfig)


def _build_tools(options: argparse.Namespace) -> None:
    for program, path in tools.ensure(*(options.tool or tools.FOR_TESTS)).items():
        print(f"{program}\t{path}")


def _running(profile: str) -> cluster.Cluster:
    found = cluster.running(profile)
    if not found:
        raise HarnessError(f"no {profile} cluster is running: start one with `up --profile {profile}`")
    return found


if __name__ == "__main__":
    sys.exit(main())
