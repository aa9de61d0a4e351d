"""An operator that is killed between any two of its writes: whoever comes next brings it to the same end."""

import asyncio
import gc
import json
import random
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from penstock.controller import run
from penstock.controller.settings import Settings
from penstock.kinds import DEPLOYMENT, INFERENCE_SERVICE, LEASE, Kind
from penstock.kube.api_server import ApiServer, connect
from penstock.kube.throttle import TokenBucket
from penstock.kube.workqueue import WorkQueue
from penstock.metrics import Metrics, Snapshot
from penstock.pods.client import NoPodClient
from penstock.watch.reflector import Reflector
from penstock.watch.store import Key, Store

from tests.control_plane.audit import Audit
from tests.control_plane.gateway import Gateway
from tests.control_plane.objects import OWNED, Manifest, Objects, assert_condition, image
from tests.control_plane.operator_process import Installation, Operator
from tests.control_plane.waiting import eventually

KILLS = 50
AT_ONCE = 6  # services that live through the scenario together
PATIENCE = 60.0


def stable(objects: Objects, name: str, tag: str, replicas: int) -> None:
    found = objects.service(name)
    assert_condition(found, "Ready", "True")
    assert_condition(found, "Progressing", "False", "Stable")
    assert_condition(found, "Stalled", "False")
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    assert found["status"]["replicas"] == found["status"]["readyReplicas"] == replicas
    slot = found["status"]["rollout"]["activeSlot"]
    containers = objects.get(DEPLOYMENT, f"{name}-{slot}")["spec"]["template"]["spec"]["containers"]
    assert containers[0]["image"] == f"example/server:{tag}"


def given_up(objects: Objects, name: str) -> None:
    found = objects.service(name)
    assert_condition(found, "Stalled", "True", "ProgressDeadlineExceeded")
    assert_condition(found, "Ready", "True")
    assert found["status"]["replicas"] == 3


def scenario(objects: Objects, names: list[str]) -> None:
    """Create, update, scale, break, fix: each step for all services, then wait for all."""

    def step(act: Callable[[str], object], check: Callable[[str], object]) -> None:
        for name in names:
            act(name)
        for name in names:
            eventually(lambda name=name: check(name), within=PATIENCE)  # type: ignore[misc]

    # By Auto the plans would differ: they tell how much room there was.
    patient, hasty = {"strategy": "RollingUpdate", "progressDeadlineSeconds": 600}, {"progressDeadlineSeconds": 2}
    autoscaled: dict[str, Any] = {"minReplicas": 2, "maxReplicas": 4, "scaleMetric": "concurrency"}
    three = {"spec": {"replicas": 3}}
    step(lambda name: objects.serve(name, rollout=patient, **autoscaled), lambda name: stable(objects, name, "1", 2))
    step(lambda name: objects.edit(name, predictor=image("2")), lambda name: stable(objects, name, "2", 2))
    step(
        lambda name: objects.patch(INFERENCE_SERVICE, name, three, subresource="scale"),
        lambda name: stable(objects, name, "2", 3),
    )
    step(
        lambda name: objects.edit(name, rollout=hasty, predictor=image("crash-loop")),
        lambda name: given_up(objects, name),
    )
    step(
        lambda name: objects.edit(name, rollout=patient, predictor=image("3")),
        lambda name: stable(objects, name, "3", 3),
    )


BLUE_GREEN = {"strategy": "BlueGreen", "blueGreen": {"holdSeconds": 0, "autoPromote": True}}
AT_A_GATE = {"strategy": "BlueGreen", "blueGreen": {"holdSeconds": 0, "autoPromote": False}}
# Fake pods count no requests.
UNSEEN = {"analysis": {"intervalSeconds": 1, "durationSeconds": 1, "onNoData": "Promote"}}
CANARY = {"strategy": "Canary", "canary": {"steps": [{"weight": 50, "pauseSeconds": 0}]}, **UNSEEN}
AT_A_STEP = {"strategy": "Canary", "canary": {"steps": [{"weight": 50, "pause": True}]}, **UNSEEN}


A_GATEWAY = {"gateway": {"parentRefs": [{"name": "public", "namespace": "gateways"}]}}
COMPARED = {**AT_A_GATE, "abTest": {"header": {"name": "x-arm", "value": "b"}, "durationSeconds": 1}}


def two_slots(
    objects: Objects, names: list[str], *, straight: Manifest, waiting: Manifest, networking: Manifest
) -> None:
    """A first deployment, an update, a revision that never comes up, one that is aborted, and one more."""
    (name,) = names

    def phase(expected: str) -> None:
        found = objects.service(name).get("status", {})
        current = found.get("observedGeneration") == objects.service(name)["metadata"]["generation"]
        assert (current, found.get("rollout", {}).get("phase")) == (True, expected), found.get("rollout")

    def step(expected: str, tag: str, rollout: Manifest, deadline: int = 600) -> None:
        objects.edit(name, predictor=image(tag), rollout={**rollout, "progressDeadlineSeconds": deadline})
        eventually(lambda: phase(expected), within=PATIENCE)

    rollout = {field: value for field, value in straight.items() if value is not None}
    objects.serve(name, rollout=rollout, minReplicas=2, networking=networking)
    eventually(lambda: phase("Stable"), within=PATIENCE)
    step("Stable", "2", straight)
    step("RolledBack", "crash-loop", straight, deadline=2)
    step("Waiting", "3", waiting)
    objects.annotate(name, action="abort:once")
    eventually(lambda: phase("RolledBack"), within=PATIENCE)
    step("Stable", "4", straight)


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
    anonymous: dict[str, Any] = json.loads(re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|-[a-z0-9]{5}(?=\")", "TIME", text))
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


class Fuse:
    """Ends a life at its n-th write: before it is sent, or before its answer is heard. One write at a time."""

    def __init__(self, writes: float, *, is_sent: bool) -> None:
        self._left = writes
        self._is_sent = is_sent
        self._turn = asyncio.Lock()
        self.blown = asyncio.Event()

    async def write(self, make: Callable[[], Any]) -> Any:
        async with self._turn:
            self._left -= 1
            if self._left > 0:
                return await make()
            if self._is_sent:
                await make()
            self.blown.set()
            return await asyncio.Future()  # The dead hear no answer, and keep their turn.


class MortalServer(ApiServer):
    def __init__(self, server: ApiServer, fuse: Fuse) -> None:
        self.__dict__.update(server.__dict__)
        self._fuse = fuse

    async def _write(self, verb: str, kind: Kind, *args: Any, **options: Any) -> Manifest:
        if kind is LEASE:
            return await super()._write(verb, kind, *args, **options)
        written: Manifest = await self._fuse.write(
            lambda: super(MortalServer, self)._write(verb, kind, *args, **options)
        )
        return written


class AlwaysLeading:
    is_leader = True


async def live(installation: Installation, fuse: Fuse, stop: asyncio.Event) -> None:
    """One life of an operator, as `penstock run` without its shell; ends like a SIGKILL: nothing is tidied up."""
    settings = Settings(namespaces=installation.namespaces)
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
        leading = run._lead(parts, AlwaysLeading(), reflectors, NoPodClient())  # type: ignore[arg-type]
        tasks = [asyncio.ensure_future(each) for each in (*(r.run() for r in reflectors), leading)]
        ends = [asyncio.ensure_future(each.wait()) for each in (fuse.blown, stop)]
        await asyncio.wait([*tasks, *ends], return_when=asyncio.FIRST_COMPLETED)
        for task in (*tasks, *ends):
            task.cancel()
        await asyncio.gather(*tasks, *ends, return_exceptions=True)


async def lives(installation: Installation, chance: random.Random | None, stop: asyncio.Event) -> int:
    """Operators one after the other until told to stop; how many were killed. Without `chance`, one that lives on."""
    kills = 0
    while not stop.is_set():
        writes = chance.randint(1, 5) if chance else float("inf")
        fuse = Fuse(writes, is_sent=bool(chance and chance.random() < 0.5))
        await live(installation, fuse, stop)
        kills += fuse.blown.is_set()
    return kills


# The dead leave their sockets open.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <(socket|ssl):pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
async def test_fifty_kills_change_nothing_about_the_outcome(
    own_installation: Installation, own_objects: Objects
) -> None:
    untouched = await _run(own_installation, own_objects, ["calm"], None)
    expected = outcome(own_objects, "calm")
    assert untouched == 0

    seed, kills, number = random.SystemRandom().randint(0, 2**32), 0, 0
    print(f"seed {seed}")
    chance = random.Random(seed)
    while kills < KILLS:
        names = [f"killed-{number + offset}" for offset in range(AT_ONCE)]
        number += AT_ONCE
        kills += await _run(own_installation, own_objects, names, chance)
        for name in names:
            assert outcome(own_objects, name) == expected
    print(f"{kills} kills, {number} services")
    gc.collect()  # Their sockets are to be found here, not in somebody else's test.


class AfterEveryWrite(random.Random):
    """No chance at all: each life makes one write, and is dead before it hears of it."""

    def randint(self, a: int, b: int) -> int:
        del a, b
        return 1

    def random(self) -> float:
        return 0.0


@pytest.mark.filterwarnings("ignore:Exception ignored in. <(socket|ssl):pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize(
    ("straight", "waiting", "networking"),
    [
        pytest.param(BLUE_GREEN, AT_A_GATE, {}, id="BlueGreen"),
        pytest.param(CANARY, AT_A_STEP, {}, id="Canary"),
        pytest.param(CANARY, AT_A_STEP, A_GATEWAY, id="Canary behind a gateway"),
        pytest.param({**BLUE_GREEN, "abTest": None}, COMPARED, A_GATEWAY, id="an A/B test"),
    ],
)
async def test_a_kill_after_every_single_write_of_a_rollout_changes_nothing_about_its_end(
    own_installation: Installation, own_objects: Objects, straight: Manifest, waiting: Manifest, networking: Manifest
) -> None:
    rollouts = partial(two_slots, straight=straight, waiting=waiting, networking=networking)
    gateway = Gateway(own_objects).start()
    try:
        assert await _run(own_installation, own_objects, ["calm"], None, rollouts) == 0
        kills = await _run(own_installation, own_objects, ["killed"], AfterEveryWrite(), rollouts)
    finally:
        gateway.stop()
    print(f"{kills} kills")
    assert kills > 30
    assert outcome(own_objects, "killed") == outcome(own_objects, "calm")
    assert gateway.led_nowhere == []
    gc.collect()  # Their sockets are to be found here, not in somebody else's test.


async def _run(
    installation: Installation,
    objects: Objects,
    names: list[str],
    chance: random.Random | None,
    live_through: Callable[[Objects, list[str]], None] = scenario,
) -> int:
    stop = asyncio.Event()
    operators = asyncio.ensure_future(lives(installation, chance, stop))
    try:
        await asyncio.to_thread(live_through, objects, names)
    finally:
        stop.set()
        kills = await operators
    return kills


@pytest.fixture
def mortal(own_installation: Installation, tmp_path: Path) -> Operator:
    # One name for all lives: the next one need not wait for the lease of the one before.
    return Operator(own_installation, tmp_path, {"PENSTOCK_LEASE_IDENTITY": "phoenix"})


def test_a_real_process_that_is_killed_in_every_step_is_carried_on(
    own_objects: Objects, own_installation: Installation, mortal: Operator, audit: Audit, name: str
) -> None:
    def writes() -> int:
        return sum(r.is_write and r.resource != "leases" for r in audit.requests(own_installation.user))

    def killed(act: Callable[[], object]) -> None:
        """Kill it as soon as it has begun to react, and start it again."""
        mortal.start().wait_until_leading()
        before = writes()
        act()
        eventually(lambda: assert_more(writes(), before))
        mortal.kill()

    killed(lambda: own_objects.serve(name, minReplicas=2, maxReplicas=4, rollout={"progressDeadlineSeconds": 600}))
    killed(lambda: own_objects.edit(name, predictor=image("2")))
    killed(lambda: own_objects.edit(name, predictor=image("crash-loop"), rollout={"progressDeadlineSeconds": 2}))
    killed(lambda: own_objects.edit(name, predictor=image("3"), rollout={"progressDeadlineSeconds": 600}))
    mortal.start().wait_until_leading()
    eventually(lambda: stable(own_objects, name, "3", 2))
    mortal.end()


def assert_more(count: int, before: int) -> None:
    assert count > before
