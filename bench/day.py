"""What a service goes through in a short day: asleep, a first request, a step in load, less of it, and asleep again.

A small server that counts its requests, 0 to 4 pods, 5 requests per second and pod, asleep after 15 seconds. Real pods
on the node cluster. The record is what `bench.plot` draws for the guides; nothing here is asserted.
"""

import argparse
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pykube

from bench import machine
from tests.control_plane.objects import Manifest, Objects
from tests.e2e.service import Isvc, eventually
from tests.e2e.specs import own_server
from tests.e2e.traffic import Traffic
from tests.harness import cluster as clusters
from tests.harness import images, release
from tests.harness.cluster import Cluster

NAMESPACE = "day"
AUTOSCALING = {
    "scaleToZero": {"afterSeconds": 15},
    "behavior": {
        "scaleDown": {
            "stabilizationWindowSeconds": 10,
            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 5}],
        }
    },
}
_EVERY_SECONDS = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.day", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="write the record there")
    options = parser.parse_args(argv)
    was_running = clusters.running("node") is not None
    try:
        cluster = clusters.up("node")
        image = images.ensure_operator(cluster)
        release.install(cluster, image, image)
        with _service(cluster, image) as service:
            record = _day(cluster, service)
    finally:
        if not was_running:
            clusters.down("node")
    options.json.write_text(json.dumps({"machine": machine.describe(), **record}) + "\n")
    print(json.dumps(record["events"], indent=1))
    return 0


@contextmanager
def _service(cluster: Cluster, image: str) -> Iterator[Isvc]:
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={NAMESPACE}", "--timeout=30s")
    service = Isvc(cluster, NAMESPACE, "day")
    spec = own_server(
        image, minReplicas=0, maxReplicas=4, scaleMetric="rps", scaleTarget=5, metrics={"requests": "hits_total"}
    )
    service.apply({**spec, "autoscaling": AUTOSCALING})
    try:
        eventually(service.is_rolled_out, service, within=90)
        yield service
    finally:
        service.remove()
        cluster.kubectl("delete", "namespace", NAMESPACE)


def _day(cluster: Cluster, service: Isvc) -> dict[str, Any]:
    objects = Objects(pykube.HTTPClient(pykube.KubeConfig.from_file(str(cluster.kubeconfig))), NAMESPACE)
    eventually(lambda: _state(objects.service(service.name)) == "Asleep", service, within=120)
    trickle = Traffic(service.url(), {}, clients=0, fresh=1, pause_seconds=1.0)
    load = Traffic(service.url(), {}, clients=0, fresh=6, pause_seconds=0.2)
    events: dict[str, float] = {}
    began = time.monotonic()

    def now(event: str) -> None:
        events[event] = round(time.monotonic() - began, 1)

    with _recorded(lambda: objects.service(service.name), began) as samples:
        time.sleep(8)
        now("first request")
        with trickle:
            eventually(lambda: trickle.answered > 0, service, within=60)
            now("first answer")
            time.sleep(8)
            now("more load")
            with load:
                eventually(lambda: _ready(objects.service(service.name)) == 4, service, within=120)
                now("4 pods ready")
                time.sleep(15)
            now("less load")
            eventually(lambda: _ready(objects.service(service.name)) == 1, service, within=120)
            time.sleep(8)
        now("no load")
        eventually(lambda: _state(objects.service(service.name)) == "Asleep", service, within=120)
        now("asleep")
        time.sleep(8)
    answered = sorted(each.sent + each.took - began for each in [*trickle.answers, *load.answers] if not each.failure)
    failures = [*trickle.failures, *load.failures]
    return {"events": events, "samples": samples, "answered": [round(at, 2) for at in answered], "failures": failures}


@contextmanager
def _recorded(look: Callable[[], Manifest], began: float) -> Iterator[list[dict[str, Any]]]:
    """What the service said, twice a second, until the block is left."""
    samples: list[dict[str, Any]] = []
    stop = threading.Event()

    def record() -> None:
        while not stop.wait(_EVERY_SECONDS):
            found, at = look(), round(time.monotonic() - began, 2)
            wanted = 0 if _state(found) == "Asleep" else int(found["spec"].get("replicas", 0))
            samples.append({"at": at, "wanted": wanted, "ready": _ready(found), "state": _state(found)})

    thread = threading.Thread(target=record, name="recorder")
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def _ready(found: Manifest) -> int:
    return int(found["status"].get("readyReplicas", 0))


def _state(found: Manifest) -> str:
    return str(found["status"].get("autoscaling", {}).get("sleep", {}).get("state", ""))


if __name__ == "__main__":
    raise SystemExit(main())
