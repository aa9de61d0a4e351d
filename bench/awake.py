"""What scale to zero costs a service that is awake: its latency beside that of one that never sleeps.

The same small server twice on one node, asked in turn at the same pace. Nothing is asserted but that no request fails.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import machine
from tests.e2e.service import Isvc, eventually
from tests.e2e.specs import own_server
from tests.e2e.traffic import Traffic
from tests.harness import cluster as clusters
from tests.harness import images, release
from tests.harness.cluster import Cluster

NAMESPACE = "awake"
ROUNDS, SECONDS = 6, 6.0  # of each service and kind of connection
PLAIN: dict[str, Any] = {"minReplicas": 1}
SLEEPER: dict[str, Any] = {"minReplicas": 0, "metrics": {"requests": "hits_total"}}
WAYS = {"connections that are kept": (4, 0), "a connection for each request": (0, 4)}


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.awake", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args(argv)
    where, was_running = machine.describe(), clusters.running("node") is not None
    try:
        cluster = clusters.up("node")
        image = images.ensure_operator(cluster)
        release.install(cluster, image, image)
        with _services(cluster, image) as services:
            before = _through_routers(cluster)
            rows = {way: _measured(services, *clients) for way, clients in WAYS.items()}
            passed = _through_routers(cluster) - before
    finally:
        if not was_running:
            clusters.down("node")
    for way, row in rows.items():
        print(f"{way}: {json.dumps(row)}")
    print(f"requests through the routers: {passed:.0f}")
    if options.json:
        found = {"machine": where, "ways": rows, "through routers": passed}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


@contextmanager
def _services(cluster: Cluster, image: str) -> Iterator[dict[str, Isvc]]:
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={NAMESPACE}", "--timeout=30s")
    found = {name: Isvc(cluster, NAMESPACE, name) for name in ("never-sleeps", "may-sleep")}
    try:
        found["never-sleeps"].apply(own_server(image, **PLAIN))
        found["may-sleep"].apply(
            {**own_server(image, **SLEEPER), "autoscaling": {"scaleToZero": {"afterSeconds": 600}}}
        )
        for service in found.values():
            eventually(service.is_rolled_out, service, within=90)
        yield found
    finally:
        for service in found.values():
            service.remove()
        cluster.kubectl("delete", "namespace", NAMESPACE)


def _measured(services: dict[str, Isvc], clients: int, fresh: int) -> dict[str, Any]:
    """By service, and their ratio: seconds are the same for both, and take turns so that the machine's noise does."""
    took: dict[str, list[float]] = {name: [] for name in services}
    for number in range(ROUNDS):
        names = list(services) if number % 2 else list(reversed(services))
        for name in names:
            with Traffic(services[name].url(), {}, clients=clients, fresh=fresh, pause_seconds=0.01) as traffic:
                time.sleep(SECONDS)  # How long it is measured; nothing is waited for.
            assert traffic.failures == []
            took[name] += [answer.took for answer in traffic.answers]
    figures = {name: _figures(found) for name, found in took.items()}
    plain, sleeper = figures["never-sleeps"], figures["may-sleep"]
    return {**figures, "ratio": {key: round(sleeper[key] / plain[key], 2) for key in ("p50 ms", "p99 ms")}}


def _figures(took: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(took, n=100)
    return {"requests": len(took), "p50 ms": round(cuts[49] * 1000, 2), "p99 ms": round(cuts[98] * 1000, 2)}


def _through_routers(cluster: Cluster) -> float:
    """Requests that all routers have counted."""
    selector = "--selector=app.kubernetes.io/component=router"
    listed = cluster.kubectl("get", "pods", f"--namespace={release.NAMESPACE}", selector, "--output=json")
    total = 0.0
    for pod in json.loads(listed)["items"]:
        path = f"/api/v1/namespaces/{release.NAMESPACE}/pods/{pod['metadata']['name']}:8080/proxy/metrics"
        lines = cluster.kubectl("get", "--raw", path).splitlines()
        total += sum(float(line.split()[-1]) for line in lines if line.startswith("penstock_router_requests_total"))
    return total


if __name__ == "__main__":
    raise SystemExit(main())
