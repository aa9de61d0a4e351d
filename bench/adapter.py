"""What the metrics adapter costs at 1,000 and 5,000 pods: `python -m bench.adapter`.

The pods are addresses of the loopback that answer with what our model server exposes. The adapter is a process of its
own with all that the real one has but the watches: its targets are given to it. It is asked over TLS, as the API server
asks it, for the metrics of services of 100 pods each.
"""

import argparse
import asyncio
import ipaddress
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil

from bench import machine
from bench.timing import spread
from tests.harness import ports

PODS_OF_A_SERVICE: Final = 100
_SETTLE_SECONDS: Final = 20  # a whole window, and the first scrapes of all
_MEASURED_SECONDS: Final = 30
_QUESTIONS_PER_SECOND: Final = 10


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.adapter", description=__doc__)
    parser.add_argument("--pods", type=int, nargs="+", default=[1000, 5000], metavar="N", help="default: 1000 5000")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args(argv)
    results: dict[str, Any] = {"machine": machine.describe(), "runs": []}
    for pods in options.pods:
        results["runs"].append(_run(pods))
        print(_table(results["runs"][-1]), flush=True)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def addresses(pods: int) -> list[str]:
    """One for each pod; the loopback has sixteen million of them."""
    first = ipaddress.IPv4Address("127.1.0.1")
    return [str(first + number) for number in range(pods)]


def _run(pods: int) -> dict[str, Any]:
    pod_port, api_port = ports.free(2)
    with (
        _process("bench.adapter_pods", str(pods), str(pod_port)) as served,
        _process("bench.adapter_process", str(pods), str(pod_port), str(api_port)) as adapter,
    ):
        answers = asyncio.run(_ask(pods, api_port, adapter, served))
    return {"pods": pods, **answers}


@contextmanager
def _process(module: str, *arguments: str) -> Iterator[psutil.Popen]:
    """Until it says that it is ready, and ended when the block is left."""
    process = psutil.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n", f"{module} did not start"
        yield process
    finally:
        process.terminate()
        process.wait()


async def _ask(pods: int, port: int, adapter: psutil.Popen, served: psutil.Popen) -> dict[str, Any]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    services = pods // PODS_OF_A_SERVICE
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=1)) as session:

        async def question(number: int) -> tuple[float, int]:
            url = f"https://127.0.0.1:{port}/apis/custom.metrics.k8s.io/v1beta2/namespaces/bench/pods/*/inference_requests_per_second"
            selector = f"serving.penstock.dev/inferenceservice=s{number % services}"
            began = time.perf_counter()
            async with session.get(url, params={"labelSelector": selector}) as answer:
                items = len(json.loads(await answer.read())["items"])
            return time.perf_counter() - began, items

        await asyncio.gather(*(question(number) for number in range(services)))
        await asyncio.sleep(_SETTLE_SECONDS)
        before, scraped, began = _cpu(adapter), await _scrapes(session, port), time.monotonic()
        pods_before = _cpu(served)
        found: list[tuple[float, int]] = []
        while time.monotonic() - began < _MEASURED_SECONDS:
            found.append(await question(len(found)))
            await asyncio.sleep(1 / _QUESTIONS_PER_SECOND)
        seconds = time.monotonic() - began
        done = {result: count - scraped.get(result, 0) for result, count in (await _scrapes(session, port)).items()}
        return {
            "% of a core": round(100 * (_cpu(adapter) - before) / seconds, 1),
            "RSS MB": round(adapter.memory_info().rss / 1e6, 1),
            "scrapes per second": round(sum(done.values()) / seconds, 1),
            "failed scrapes": round(done.get("failed", 0)),
            "seconds between two scrapes of a pod": round(pods * seconds / max(sum(done.values()), 1), 2),
            "list of 100 pods": spread([took for took, _ in found]),
            "pods left out of lists": sum(PODS_OF_A_SERVICE - items for _, items in found),
            "the pods' own % of a core": round(100 * (_cpu(served) - pods_before) / seconds, 1),
        }


async def _scrapes(session: aiohttp.ClientSession, port: int) -> dict[str, float]:
    async with session.get(f"https://127.0.0.1:{port}/scrapes") as answer:
        found: dict[str, float] = await answer.json()
    return found


def _cpu(process: psutil.Popen) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _table(run: dict[str, Any]) -> str:
    flat = {**run, "list of 100 pods": " / ".join(f"{value} {name}" for name, value in run["list of 100 pods"].items())}
    return "\n".join(f"{name:<40}{value}" for name, value in flat.items()) + "\n"


if __name__ == "__main__":
    sys.exit(main())
