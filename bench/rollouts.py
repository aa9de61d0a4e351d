"""N services rolled blue/green at once, on a real control plane with fake nodes: `python -m bench.rollouts`.

Beside it, in the same run, the same by Argo Rollouts, and the same moves made by one client without any operator: a
second Deployment, the selector of the Service once its pod is available, and after the hold the first Deployment
without pods.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, Final

from penstock import names
from penstock.kinds import DEPLOYMENT, INFERENCE_SERVICE, SERVICE, Manifest, kind_of
from penstock.kube.api_server import connect
from penstock.kube.throttle import TokenBucket
from penstock.metrics import Metrics, Snapshot
from penstock.names import Slot

from bench import argo_rollouts, machine, workload
from bench.argo_rollouts import REPLICA_SET
from bench.audit import AuditLog
from bench.control_plane import flags
from bench.phases import Bench, at_once, measured, merge, own_control_plane, own_namespace, running, serves, settle
from bench.process import Operator, install
from bench.timing import spread, stopwatch
from bench.view import View
from tests.harness.cluster import Cluster

HOLD_SECONDS: Final = 30
_ROLLOUT: Final = {
    "strategy": "BlueGreen",
    "blueGreen": {"holdSeconds": HOLD_SECONDS},
    "smokeTest": {"enabled": False},  # Fake pods have no network.
}


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    with own_control_plane() as cluster:
        results = asyncio.run(_measure(cluster, options.services))
    print(_table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.rollouts", description=__doc__)
    parser.add_argument("--services", type=int, default=1000, metavar="N", help="how many (default: 1000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser


async def _measure(cluster: Cluster, services: int) -> dict[str, Any]:
    assert cluster.audit_log is not None
    operator = Operator(install(cluster, cluster.state), cluster.state / "logs" / "operator.log")
    nothing = Metrics(lambda: Snapshot(is_leader=False, queue_depth=0, services_by_phase={}, objects_by_kind={}))
    async with connect(nothing, TokenBucket(1e6, 1e6), str(cluster.kubeconfig)) as server:
        bench = Bench(cluster, server, AuditLog(cluster.audit_log), services)
        return {
            "machine": machine.describe(),
            "flags": flags(cluster),
            "services": services,
            "hold s": HOLD_SECONDS,
            "without operator": await _by_hand(bench),
            "Argo Rollouts": await argo_rollouts.measure(bench, hold_seconds=HOLD_SECONDS),
            "operator": await _with_operator(bench, operator),
        }


async def _by_hand(bench: Bench) -> dict[str, Any]:
    async with own_namespace(bench, f"rollouts-{bench.services}-bare") as namespace:
        objects = [child for name in bench.names() for child in workload.without_operator(name, namespace)]
        async with View.of(bench.server, DEPLOYMENT, namespace) as deployments:
            await at_once(bench.server.create(kind_of(obj), obj) for obj in objects)
            await deployments.until_all(bench.services, _is_available)
            async with measured(bench, "rolled by hand") as found:
                await at_once(_by_hand_one(bench, deployments, name, namespace) for name in bench.names())
                await asyncio.sleep(HOLD_SECONDS)
                gone = [_scaled_down(name, namespace) for name in bench.names()]
                await at_once(merge(bench, obj, {"spec": {"replicas": 0}}) for obj in gone)
    return found


async def _by_hand_one(bench: Bench, deployments: View, name: str, namespace: str) -> None:
    """One service's second Deployment, and its selector as soon as that is available."""
    green = workload.second_slot(name, namespace)
    await bench.server.create(DEPLOYMENT, green)
    await deployments.until(green["metadata"]["name"], _is_available, seconds=600)
    service = {"kind": SERVICE.name, "metadata": {"name": name, "namespace": namespace}}
    await merge(bench, service, {"spec": {"selector": {names.LABEL_SLOT: Slot.GREEN.value}}})


def _scaled_down(name: str, namespace: str) -> Manifest:
    metadata = {"name": names.deployment(name, Slot.BLUE), "namespace": namespace}
    return {"kind": DEPLOYMENT.name, "metadata": metadata}


async def _with_operator(bench: Bench, operator: Operator) -> dict[str, Any]:
    async with (
        own_namespace(bench, f"rollouts-{bench.services}", is_last=True) as namespace,
        running(operator),
        View.of(bench.server, INFERENCE_SERVICE, namespace) as services,
    ):
        objects = [workload.inference_service(name, namespace, rollout=_ROLLOUT) for name in bench.names()]
        await at_once(bench.server.create(INFERENCE_SERVICE, obj) for obj in objects)
        await services.until_all(bench.services, serves)
        await settle(operator)
        switches, before = _Switches(), operator.cpu_seconds()
        async with (
            View.of(bench.server, DEPLOYMENT, namespace, switches.deployment),
            View.of(bench.server, REPLICA_SET, namespace, switches.replica_set),
            View.of(bench.server, SERVICE, namespace, switches.service),
            measured(bench, "rolled blue/green", operator) as found,
        ):
            await at_once(merge(bench, obj, workload.release("2")) for obj in objects)
            await services.until_all(bench.services, _is_promoted)
        found["available to selector"] = spread(switches.seconds())
        found["pods available to selector"] = spread(switches.seconds_from_pods())
        found["one more, right after s"] = await _one_more(bench, namespace)
        found["settled after s"] = await settle(operator)
        found["operator CPU s until settled"] = round(operator.cpu_seconds() - before, 2)
    return found


async def _one_more(bench: Bench, namespace: str) -> float:
    """From the create call to its Deployment."""
    async with View.of(bench.server, DEPLOYMENT, namespace) as deployments:
        with stopwatch() as watch:
            await bench.server.create(INFERENCE_SERVICE, workload.inference_service("newcomer", namespace))
            await deployments.until(names.deployment("newcomer", Slot.BLUE), lambda _: True)
    return round(watch.seconds, 3)


class _Switches:
    """When each new slot and its pods became available, and when its Service led there, by the watches' events.

    The slot's Deployment is what opens the gate; its controller learns of the pods by their ReplicaSet.
    """

    def __init__(self) -> None:
        self._with_pods: dict[str, float] = {}
        self._available: dict[str, float] = {}
        self._led: dict[str, float] = {}

    def deployment(self, obj: Manifest) -> None:
        name: str = obj["metadata"]["name"]
        if name.endswith(f"-{Slot.GREEN}") and _is_available(obj):
            self._available.setdefault(name.removesuffix(f"-{Slot.GREEN}"), time.perf_counter())

    def replica_set(self, obj: Manifest) -> None:
        labels = obj["metadata"]["labels"]
        is_available = obj.get("status", {}).get("availableReplicas", 0) >= 1
        if labels[names.LABEL_SLOT] == Slot.GREEN and is_available:
            self._with_pods.setdefault(labels[names.LABEL_SERVICE], time.perf_counter())

    def service(self, obj: Manifest) -> None:
        name: str = obj["metadata"]["name"]
        if obj["spec"].get("selector", {}).get(names.LABEL_SLOT) == Slot.GREEN and not name.endswith("-preview"):
            self._led.setdefault(name, time.perf_counter())

    def seconds(self) -> list[float]:
        return [max(at - self._available[name], 0) for name, at in self._led.items() if name in self._available]

    def seconds_from_pods(self) -> list[float]:
        return [max(at - self._with_pods[name], 0) for name, at in self._led.items() if name in self._with_pods]


def _is_available(deployment: Manifest) -> bool:
    status = deployment.get("status", {})
    seen = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return bool(seen and status.get("availableReplicas", 0) >= 1)


def _is_promoted(service: Manifest) -> bool:
    rollout = service.get("status", {}).get("rollout", {})
    is_new = workload.has_release(service, "2") and serves(service)
    return bool(is_new and rollout["phase"] == "Stable" and rollout["stableRevision"] == rollout["currentRevision"])


def _table(results: dict[str, Any]) -> str:
    bare, argo, own = results["without operator"], results["Argo Rollouts"], results["operator"]
    rows = [
        ("all promoted, s", *(each["seconds"] for each in (bare, argo, own)), "<= 70"),
        ("requests per service", *(each["requests per service"]["all clients"] for each in (bare, argo, own)), "<= 42"),
        *(
            (title, "", *(reduce(getitem, path, each) for each in (argo, own)), aim)
            for title, path, aim in (
                ("requests per service, its own", ("requests per service", "operator"), ""),
                ("its CPU until settled, s", ("operator CPU s until settled",), "<= 40"),
                ("available pods to selector, p50 ms", ("pods available to selector", "p50 ms"), ""),
                ("available pods to selector, p99 ms", ("pods available to selector", "p99 ms"), ""),
                ("peak RSS, MB", ("operator peak RSS MB",), ""),
            )
        ),
        ("its gate to selector, p50 ms", "", "", own["available to selector"]["p50 ms"], ""),
        ("its gate to selector, p99 ms", "", "", own["available to selector"]["p99 ms"], "< 500"),
        ("one more right after, s", "", "", own["one more, right after s"], "< 1"),
    ]
    about = results["machine"]
    title = f"{results['services']} services, hold {results['hold s']} s; {about['cpu']}, {about['cores']} cores"
    head = ("", "by hand", "Argo Rollouts", "Penstock", "aim at 1,000")
    lines = (
        f"{name:<36}{hand!s:>10}{peer!s:>15}{mine!s:>10}  {aim}".rstrip()
        for name, hand, peer, mine, aim in (head, *rows)
    )
    return "\n".join([title, *lines])


if __name__ == "__main__":
    sys.exit(main())
