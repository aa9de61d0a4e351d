"""The router of bench.router: all of it but the watches. It has a pod from the start, or after a line on its input."""

import asyncio
import logging
import sys
from typing import Any

import uvloop
from penstock import logs, names, process
from penstock.kinds import INFERENCE_SERVICE, POD, Manifest
from penstock.router.metrics import RouterMetrics
from penstock.router.run import Parts
from penstock.router.settings import Settings


class _Nobody:
    """Stands for the API server."""

    async def merge(self, *_: object, **__: object) -> Manifest:
        return {}


def _service(port: int) -> dict[str, Any]:
    metadata = {"name": "chat", "namespace": "bench", "uid": "u", "resourceVersion": "1"}
    limits = {"maxHeldRequests": 10000, "wakeTimeoutSeconds": 600}
    spec = {"predictor": {}, "autoscaling": {"scaleToZero": limits}}
    return {"metadata": metadata, "spec": spec, "status": {"autoscaling": {"sleep": {"state": "Awake", "port": port}}}}


def _pod(port: int) -> dict[str, Any]:
    labels = {names.LABEL_SERVICE: "chat"}
    metadata = {"name": "p", "namespace": "bench", "uid": "p", "resourceVersion": "1", "labels": labels}
    ports = [{"name": "http", "containerPort": port}]
    conditions = [{"type": "Ready", "status": "True"}]
    return {
        "metadata": metadata,
        "spec": {"containers": [{"name": "model", "ports": ports}]},
        "status": {"podIP": "127.0.0.1", "conditions": conditions},
    }


async def _serve(port: int, pod_port: int, *, is_awake: bool) -> None:
    # As it runs, with a line for each request; that they end nowhere is the same for all.
    logs.configure("info", "json")
    logging.getLogger().handlers[0].stream = open("/dev/null", "w")  # type: ignore[attr-defined] # noqa: ASYNC230, PTH123, SIM115
    server: Any = _Nobody()
    parts = Parts(Settings(first_port=1024, last_port=65535, metrics_port=80), server, RouterMetrics())
    tasks = parts.tasks()
    parts.follow(parts.seen.put(INFERENCE_SERVICE, _service(port)))
    if is_awake:
        parts.follow(parts.seen.put(POD, _pod(pod_port)))
    while not parts.ports.is_settled:  # noqa: ASYNC110 - once, at the start.
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    parts.follow(parts.seen.put(POD, _pod(pod_port)))
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    process.raise_open_files()
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2]), is_awake=sys.argv[3] == "awake"))
