"""Operators that die between two of their writes, and what those have left behind that came after them."""

import asyncio
import gc
import itertools
import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from penstock.controller import run
from penstock.controller.settings import Settings
from penstock.kinds import INFERENCE_SERVICE, LEASE, Kind
from penstock.kube.api_server import ApiServer, connect
from penstock.kube.throttle import TokenBucket
from penstock.kube.workqueue import WorkQueue
from penstock.metrics import Metrics, Snapshot
from penstock.pods.client import NoPodClient, PodClient
from penstock.watch.reflector import Reflector
from penstock.watch.store import Key, Store

from tests.control_plane.objects import OWNED, Manifest, Objects
from tests.control_plane.operator_process import Installation

# The dead leave their sockets open.
LEAVES_SOCKETS = [
    pytest.mark.filterwarnings("ignore:Exception ignored in. <(socket|ssl):pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Fuse:
    """Ends a life at the first write that `ends` it: before that is sent, or before its answer is heard."""

    def __init__(self, ends: Callable[[str], bool], *, is_sent: bool = True) -> None:
        self._ends = ends
        self._is_sent = is_sent
        self._turn = asyncio.Lock()
        self.blown = asyncio.Event()

    async def write(self, what: str, make: Callable[[], Any]) -> Any:
        async with self._turn:
            if not self._ends(what):
                return await make()
            if self._is_sent:
                await make()
            self.blown.set()
            return await asyncio.Future()  # The dead hear no answer, and keep their turn.


def lasting() -> Fuse:
    """A life without an end."""
    return Fuse(lambda _: False)


def after_every_write() -> Fuse:
    """One that makes one write, and is dead before it hears of it."""
    return Fuse(lambda _: True)


def by_chance(chance: random.Random) -> Fuse:
    """One of up to five writes, of which the last is sent or not."""
    left = itertools.count(chance.randint(1, 5), -1)
    return Fuse(lambda _: next(left) <= 1, is_sent=chance.random() < 0.5)


def after_each_new_write() -> Callable[[], Fuse]:
    """Lives that each end after a write that none before has made, whatever times stand in it.

    Since when it is quiet, an operator knows by its own looks: one that dies at each note of that would never know.
    """
    made: set[str] = set()

    def is_new(what: str) -> bool:
        known = len(made)
        made.add(_TIME.sub("TIME", what))
        return len(made) > known

    return lambda: Fuse(is_new)


class MortalServer(ApiServer):
    def __init__(self, server: ApiServer, fuse: Fuse) -> None:
        self.__dict__.update(server.__dict__)
        self._fuse = fuse

    async def _write(self, verb: str, kind: Kind, path: str, body: Manifest, **options: Any) -> Manifest:
        if kind is LEASE:
            return await super()._write(verb, kind, path, body, **options)
        written: Manifest = await self._fuse.write(
            f"{verb} {path} {json.dumps(body, sort_keys=True)}",
            lambda: super(MortalServer, self)._write(verb, kind, path, body, **options),
        )
        return written


class AlwaysLeading:
    is_leader = True


@dataclass(frozen=True)
class Operators:
    """How all of them live: with these rights, by these settings, asking pods in this way."""

    installation: Installation
    settings: Mapping[str, Any] = field(default_factory=dict)
    pod_client: PodClient = field(default_factory=NoPodClient)


async def _live(operators: Operators, fuse: Fuse, stop: asyncio.Event) -> None:
    """One life of an operator, as `penstock run` without its shell; ends like a SIGKILL: nothing is tidied up."""
    installation = operators.installation
    settings = Settings(namespaces=installation.namespaces, **operators.settings)
    store = Store()
    metrics = Metrics(lambda: Snapshot(is_leader=True, queue_depth=0, services_by_phase={}, objects_by_kind={}))
    queue: WorkQueue[Key] = WorkQueue()
    async with connect(metrics, TokenBucket(200, 400), str(installation.kubeconfig)) as server:
        parts = run.Parts(settings, store, queue, metrics, MortalServer(server, fuse))
        services = Reflector(
            parts.server,
            store,
            INFERENCE_SERVICE,
            enqueue=parts.enqueue_now,
            metrics=metrics,
            namespace=installation.namespace,
        )
        reflectors = [*run._reflectors(parts), services]
        leading = run._lead(parts, AlwaysLeading(), reflectors, operators.pod_client)  # type: ignore[arg-type]
        tasks = [asyncio.ensure_future(each) for each in (*(r.run() for r in reflectors), leading)]
        ends = [asyncio.ensure_future(each.wait()) for each in (fuse.blown, stop)]
        await asyncio.wait([*tasks, *ends], return_when=asyncio.FIRST_COMPLETED)
        for task in (*tasks, *ends):
            task.cancel()
        await asyncio.gather(*tasks, *ends, return_exceptions=True)


async def _lives(operators: Operators, fuses: Callable[[], Fuse], stop: asyncio.Event) -> int:
    kills = 0
    while not stop.is_set():
        fuse = fuses()
        await _live(operators, fuse, stop)
        kills += fuse.blown.is_set()
    return kills


async def live_through(operators: Operators, scenario: Callable[[], None], fuses: Callable[[], Fuse]) -> int:
    """Operators one after the other until the scenario ends; how many were killed."""
    stop = asyncio.Event()
    lives = asyncio.ensure_future(_lives(operators, fuses, stop))
    try:
        await asyncio.to_thread(scenario)
    finally:
        stop.set()
        kills = await lives
    gc.collect()  # Their sockets are to be found here, not in somebody else's test.
    return kills


def outcome(objects: Objects, name: str) -> dict[str, Any]:
    """Everything that the operator wrote, without what differs from life to life: names, UIDs, times, versions."""
    found = {
        f"{kind} {child['metadata']['name']}": _written(child)
        for kind in OWNED
        for child in objects.all(kind, f"serving.penstock.dev/inferenceservice={name}")
    }
    service = objects.service(name)
    found["InferenceService"] = {"spec": service["spec"], "status": service["status"]}
    text = json.dumps(found, sort_keys=True).replace(name, "NAME")
    anonymous: dict[str, Any] = json.loads(re.sub(r"-[a-z0-9]{5}(?=\")", "POD", _TIME.sub("TIME", text)))
    # The HPA speaks of its own last look at the metric, and the failure of the pod that happened to be first.
    for changeable in ("autoscaling", "modelStatus", "conditions"):
        anonymous["InferenceService"]["status"].pop(changeable, None)
    # That an action was carried out is remembered in any case; when and how, by the status alone.
    for forgettable in ("message", "time"):
        anonymous["InferenceService"]["status"]["rollout"].get("lastAction", {}).pop(forgettable, None)
    return anonymous


def _written(child: Manifest) -> Manifest:
    labels, annotations = child["metadata"]["labels"], dict(child["metadata"].get("annotations", {}))
    for mark in ("penstock.dev/applied", "deployment.kubernetes.io/revision"):
        annotations.pop(mark, None)
    rest: Manifest = {key: child[key] for key in ("spec", "data", "revision") if key in child}
    for key in ("clusterIP", "clusterIPs"):
        rest.get("spec", {}).pop(key, None)
    return {"labels": labels, "annotations": annotations, **rest}
