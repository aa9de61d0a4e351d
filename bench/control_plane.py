"""The operator's cost and speed on a real control plane with fake nodes: `python -m bench.control_plane`.

Beside it, in the same run, the same children without any operator. The control plane is this run's own.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from penstock.kube.api_server import ApiServer, connect
from penstock.kube.throttle import TokenBucket
from penstock.metrics import Metrics, Snapshot

from bench import machine, phases, report
from bench.audit import AuditLog
from bench.phases import Bench, own_control_plane
from bench.process import Operator, install
from tests.harness.cluster import Cluster


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    with own_control_plane() as cluster:
        asyncio.run(_measure(cluster, options.services, options.json))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.control_plane", description=__doc__)
    parser.add_argument(
        "--services", type=int, nargs="+", default=[100, 1000], metavar="N", help="sizes (default: 100 1000)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser


async def _measure(cluster: Cluster, sizes: Sequence[int], file: Path | None) -> None:
    assert cluster.audit_log is not None
    operator = Operator(install(cluster, cluster.state), cluster.state / "logs" / "operator.log")
    results: dict[str, Any] = {"machine": machine.describe(), "flags": flags(cluster), "runs": []}
    nothing = Metrics(lambda: Snapshot(is_leader=False, queue_depth=0, services_by_phase={}, objects_by_kind={}))
    async with connect(nothing, TokenBucket(1e6, 1e6), str(cluster.kubeconfig)) as server:
        for services in sizes:
            results["runs"].append(await _run(cluster, server, operator, services))
            _tell(results, file)


def _tell(results: dict[str, Any], file: Path | None) -> None:
    """Print the newest run and write all: a long one that is broken off has then told something."""
    print(report.table({**results, "runs": results["runs"][-1:]}), flush=True)
    if file:
        file.write_text(json.dumps(results, indent=1) + "\n")


async def _run(cluster: Cluster, server: ApiServer, operator: Operator, services: int) -> dict[str, Any]:
    assert cluster.audit_log is not None
    bench = Bench(cluster, server, AuditLog(cluster.audit_log), services)
    bare = await phases.baseline(bench)
    return {"services": services, "without operator": bare, "operator": await phases.with_operator(bench, operator)}


def flags(cluster: Cluster) -> dict[str, str]:
    """The commands of the control plane, without this machine's paths and ports."""
    ours = ("=/", "port", "127.0.0.1")
    return {
        name: " ".join(word for word in flags[1:] if not any(part in word for part in ours))
        for name, flags in cluster.flags.items()
    }


if __name__ == "__main__":
    sys.exit(main())
