"""How long a step in load takes to become pods: our metrics adapter beside Prometheus with prometheus-adapter.

A small server that counts its requests, `scaleMetric: rps`, 5 per second and pod, 1 to 4 pods. A few clients, each with
a new connection for every request, ask for about 30 a second until 4 pods are ready, and then stop. The same
HorizontalPodAutoscaler, the same load, one way after the other, each with a service of its own. Real pods on the node
cluster; nothing here is asserted.

more wanted    from the first request to the first higher number in `spec.replicas`
4 pods ready   from the first request
1 pod wanted   from the last request
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pykube

from bench import machine, scaling_peers
from bench.scaling_peers import FAST, USUAL, Pace
from tests.control_plane.objects import Manifest, Missing, Objects
from tests.e2e.service import Isvc
from tests.e2e.specs import SERVER, own_server
from tests.e2e.traffic import Traffic
from tests.harness import cluster as clusters
from tests.harness import images, peers, release
from tests.harness.cluster import Cluster, HarnessError
from tests.harness.control_plane import HPA_SYNC_SECONDS

NAMESPACE, TARGET, MOST, CLIENTS, PAUSE_SECONDS = "scaling", 5, 4, 6, 0.2
METRIC = "inference_requests_per_second"
# Back soon, so that a round does not take two minutes more; the same in every way.
QUICK_DOWN = {
    "scaleDown": {"stabilizationWindowSeconds": 10, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 5}]}
}
_POLL_SECONDS = 0.25
_LONGEST_SECONDS = 300.0
_AT_REST_SECONDS = 10.0
FIGURES = ("more wanted", "4 pods ready", "1 pod wanted")


@dataclass(frozen=True)
class Way:
    """One way from the pods' counters to the autoscaler."""

    name: str
    pace: Pace | None  # of Prometheus; None: our adapter


WAYS = (
    Way("Penstock's adapter", None),
    Way("Prometheus, 2 s scrapes, 15 s rate", FAST),
    Way("Prometheus, 15 s scrapes, 1 min rate", USUAL),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    options = _parser().parse_args(argv)
    was_running = clusters.running("node") is not None
    results: dict[str, Any] = {
        "machine": machine.describe(),
        "autoscaler's loop s": HPA_SYNC_SECONDS,
        "peers": _versions(options.peers),
        "rounds": options.rounds,
        "ways": {},
    }
    missing = peers.missing(options.peers, *scaling_peers.PROGRAMS)
    if missing:
        print(f"left out: Prometheus and prometheus-adapter, for want of {', '.join(missing)} in --peers DIR")
    try:
        cluster = clusters.up("node")
        for way in WAYS:
            if way.pace is None or not missing:
                results["ways"][way.name] = _measure(cluster, way, options)
                if options.json:  # What was measured before a failure is worth keeping.
                    options.json.write_text(json.dumps(results, indent=1) + "\n")
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        if not was_running:
            clusters.down("node")
    print(_table(results))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="steps in load for each way (default: 3)")
    parser.add_argument(
        "--peers",
        type=Path,
        default=peers.folder(),
        metavar="DIR",
        help="where the programs prometheus and adapter are",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser


def _versions(programs: Path | None) -> list[str]:
    """What the file VERSIONS beside the programs says: they themselves do not know."""
    file = programs / "VERSIONS" if programs else None
    return file.read_text().splitlines() if file and file.exists() else []


def _measure(cluster: Cluster, way: Way, options: argparse.Namespace) -> list[dict[str, Any]]:
    rounds = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        _serving(cluster, way, options.peers, Path(scratch)),
        _namespace(cluster),
        _service(cluster) as service,
    ):
        scaling_peers.wait_for_metric(cluster, NAMESPACE, METRIC)
        for number in range(options.rounds):
            rounds.append(_round(cluster, service))
            print(f"{way.name}, round {number + 1}: {rounds[-1]}", flush=True)
    return rounds


@contextmanager
def _serving(cluster: Cluster, way: Way, programs: Path | None, scratch: Path) -> Iterator[None]:
    """The metrics API belongs to this way alone until the block is left."""
    # No model runs here, so the server's image is only named.
    image = images.ensure_operator(cluster)
    release.install(cluster, image, image, f"--set=adapter.enabled={way.pace is None}".lower())
    if way.pace is None:
        yield
        return
    assert programs is not None
    _wait_until(lambda: "custom.metrics" not in cluster.kubectl("get", "apiservices", "--output=name"))
    with scaling_peers.serving(cluster, programs, way.pace, scratch):
        yield


@contextmanager
def _namespace(cluster: Cluster) -> Iterator[None]:
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={NAMESPACE}", "--timeout=30s")
    try:
        yield
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE)


@contextmanager
def _service(cluster: Cluster) -> Iterator[Isvc]:
    service = Isvc(cluster, NAMESPACE, "busy")
    spec = own_server(images.ensure_operator(cluster), maxReplicas=MOST, scaleMetric="rps", scaleTarget=TARGET)
    # By the name that the rules for prometheus-adapter know.
    counting = SERVER.replace("hits_total", "inference_requests_total")
    spec["predictor"]["containers"][0]["command"] = ["python", "-c", counting]
    service.apply({**spec, "autoscaling": {"behavior": QUICK_DOWN}})
    try:
        _wait_until(service.is_ready)
        yield service
    finally:
        service.remove()


def _round(cluster: Cluster, service: Isvc) -> dict[str, Any]:
    """One step up and down again, in seconds."""
    looked_at = _reader(cluster, service)
    _wait_until(lambda: service.condition("AutoscalingActive")[0] == "True" and _wanted(looked_at()) == 1)
    _wait_until(lambda: _ready(looked_at()) == 1)
    time.sleep(_AT_REST_SECONDS)
    with Traffic(service.url(), {}, clients=0, fresh=CLIENTS, pause_seconds=PAUSE_SECONDS) as load:
        began = time.monotonic()
        more = _wait_until(lambda: _wanted(looked_at()) > 1)
        ready = more + _wait_until(lambda: _ready(looked_at()) == MOST)
    rate = load.answered / (time.monotonic() - began)
    down = _wait_until(lambda: _wanted(looked_at()) == 1)
    figures = dict(zip(FIGURES, (round(each, 1) for each in (more, ready, down)), strict=True))
    return {**figures, "requests per second": round(rate, 1), "failed requests": len(load.failures)}


def _reader(cluster: Cluster, service: Isvc) -> Callable[[], Manifest]:
    """Reads the service over a connection that is kept: a kubectl for each look would be load of its own."""
    objects = Objects(pykube.HTTPClient(pykube.KubeConfig.from_file(str(cluster.kubeconfig))), NAMESPACE)
    return lambda: objects.service(service.name)


def _wanted(found: Manifest) -> int:
    return int(found["spec"].get("replicas", 0))


def _ready(found: Manifest) -> int:
    return int(found.get("status", {}).get("readyReplicas", 0))


def _wait_until(check: Callable[[], bool]) -> float:
    """The seconds that it took. Raises HarnessError after five minutes."""
    began = time.monotonic()
    while not _holds(check):
        if time.monotonic() - began > _LONGEST_SECONDS:
            raise HarnessError(f"{_LONGEST_SECONDS:.0f} s have passed")
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - began


def _holds(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except Missing:
        return False


def _table(results: dict[str, Any]) -> str:
    described = results["machine"]
    lines = ["", f"{described['cpu']}, {described['cores']} cores, load {described['load before'][0]} before"]
    lines.append(f"{'seconds, each round':<40}" + "".join(f"{figure:>24}" for figure in FIGURES))
    for way, rounds in results["ways"].items():
        cells = (" ".join(f"{each[figure]:g}" for each in rounds) for figure in FIGURES)
        lines.append(f"{way:<40}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
