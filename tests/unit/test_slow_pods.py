"""Pods that do not answer hold up their own service alone, on the product's defaults."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, cast

import pytest
from penstock import clock, names
from penstock.capacity.free import Capacity
from penstock.controller import run
from penstock.controller.settings import Settings
from penstock.kinds import DEPLOYMENT, INFERENCE_SERVICE, NODE, POD, SERVICE, Manifest
from penstock.kube.api_server import ApiServer
from penstock.kube.leader import LeaderElection
from penstock.kube.pod_access import Address, Message
from penstock.kube.workqueue import WorkQueue
from penstock.metrics import Metrics, Snapshot
from penstock.pods.client import HttpPodClient
from penstock.watch.store import Key, ObjectId, Store

from tests.builders import T0
from tests.fake_cluster import FakeCluster, the_service
from tests.place import a_ready_pod, roll_out
from tests.virtual_time import loop, until, virtual_time

HANGING = "10.0.0.66"


class Pods:
    """The way to pods of which those at one address never answer."""

    def __init__(self) -> None:
        self.waiting = 0

    async def send(self, pod: Address, message: Message) -> tuple[int, bytes]:
        if pod.ip != HANGING:
            return 200, json.dumps({"data": [{"task": "text-generation"}]}).encode()
        self.waiting += 1
        try:
            await asyncio.sleep(message.seconds)
        finally:
            self.waiting -= 1
        raise TimeoutError


class Leading:
    is_leader = True


class Crowd:
    """An operator with its queue and its workers, and many services that are a cluster in memory."""

    def __init__(self) -> None:
        self.pods = Pods()
        self.cluster = FakeCluster()
        self.store = Store(Capacity(sees_all_pods=True))
        self.queue: WorkQueue[Key] = WorkQueue()
        room = {"cpu": "1000", "memory": "8Ti", "pods": "2000"}
        status = {"allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]}
        self.cluster.put(NODE, {"metadata": {"name": "a", "labels": {"zone": "a"}}, "spec": {}, "status": status})

    def create(self, *services: str) -> None:
        for name in services:
            metadata = {"name": name, "namespace": "ml", "uid": name, "generation": 1}
            spec = {"predictor": {"model": {"storageUri": "s3://models/smollm2"}}}
            self.cluster.put(INFERENCE_SERVICE, {"metadata": metadata, "spec": spec})

    def update(self, *services: str) -> None:
        for name in services:
            predictor = {"model": {"storageUri": "s3://models/smollm2"}, "nodeSelector": {"zone": "a"}}
            self.cluster.edit(INFERENCE_SERVICE, name, spec={"predictor": predictor})

    def load(self, *services: str) -> None:
        """Their pods are up, load their model, and do not say how far they are."""
        for name in services:
            pod = a_ready_pod(f"{name}-blue-0", self.deployment(name)["spec"]["template"]["metadata"]["labels"])
            pod["status"]["containerStatuses"][0]["started"] = False
            self.cluster.put(POD, {**pod, "status": {**pod["status"], "podIP": HANGING, "conditions": []}})

    async def passes(self, *services: str, seconds: float = 1) -> None:
        """The watches tell of what there is."""
        self.cluster.deliver(self.store)
        for name in services:
            self.queue.add(Key("ml", name))
        await asyncio.sleep(seconds)

    async def rolled_out(self, services: Sequence[str]) -> None:
        self.create(*services)
        await self.passes(*services)
        for name in services:
            roll_out(self.cluster, name)
        await self.passes(*services)

    async def seconds_to_switch(self, name: str) -> float:
        """From when the new revision's pod is available to when it gets the requests."""
        self.update(name)
        self.cluster.deliver(self.store)
        self.queue.add(Key("ml", name))
        waited = await until(lambda: ObjectId(DEPLOYMENT.name, "ml", f"{name}-green") in self.cluster.objects)
        roll_out(self.cluster, name, slot="green")
        self.cluster.deliver(self.store)
        self.queue.add(Key("ml", name))
        return waited + await until(lambda: self.selected(name) == "green")

    def selected(self, name: str) -> str:
        selector = self.cluster.objects[ObjectId(SERVICE.name, "ml", name)]["spec"]["selector"]
        return str(selector.get(names.LABEL_SLOT))

    def deployment(self, name: str) -> Manifest:
        return self.cluster.objects[ObjectId(DEPLOYMENT.name, "ml", f"{name}-blue")]

    def rollout(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = the_service(self.cluster, name)["status"]["rollout"]
        return found


@asynccontextmanager
async def a_crowd(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Crowd]:
    crowd = Crowd()
    monkeypatch.setattr(clock, "now", lambda: T0 + timedelta(seconds=loop().time() - 1000))
    metrics = Metrics(lambda: Snapshot(is_leader=True, queue_depth=0, services_by_phase={}, objects_by_kind={}))
    parts = run.Parts(Settings(), crowd.store, crowd.queue, metrics, cast("ApiServer", crowd.cluster))
    leading = asyncio.create_task(run._lead(parts, cast("LeaderElection", Leading()), [], HttpPodClient(crowd.pods)))
    try:
        yield crowd
    finally:
        leading.cancel()
        with suppress(asyncio.CancelledError):
            await leading


@virtual_time
async def test_thirty_two_smoke_tests_that_hang_do_not_delay_another_service(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = [f"slow-{number}" for number in range(32)]
    async with a_crowd(monkeypatch) as crowd:
        await crowd.rolled_out([*slow, "quick"])
        crowd.update(*slow)
        await crowd.passes(*slow)
        for name in slow:
            roll_out(crowd.cluster, name, slot="green", ip=HANGING)
        await crowd.passes(*slow)
        assert crowd.pods.waiting == 32
        assert await crowd.seconds_to_switch("quick") < 1
        assert {crowd.selected(name) for name in slow} == {"blue"}
        # The test lasts 30 s, as the status has said since its first second.
        await asyncio.sleep(1)
        assert {crowd.rollout(name)["phase"] for name in slow} == {"Testing"}


@virtual_time
async def test_two_hundred_loading_services_that_do_not_answer_do_not_delay_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = [f"slow-{number}" for number in range(200)]
    async with a_crowd(monkeypatch) as crowd:
        await crowd.rolled_out(["quick"])
        crowd.create(*slow)
        await crowd.passes(*slow)
        crowd.load(*slow)
        await crowd.passes(*slow, seconds=0.1)
        assert crowd.pods.waiting > 0
        assert await crowd.seconds_to_switch("quick") < 1


@virtual_time
async def test_with_the_lease_all_questions_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_crowd(monkeypatch) as crowd:
        await crowd.rolled_out(["slow"])
        crowd.update("slow")
        await crowd.passes("slow")
        roll_out(crowd.cluster, "slow", slot="green", ip=HANGING)
        await crowd.passes("slow")
        assert crowd.pods.waiting == 1
    assert crowd.pods.waiting == 0


@virtual_time
async def test_with_the_service_its_questions_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_crowd(monkeypatch) as crowd:
        crowd.create("slow")
        await crowd.passes("slow")
        crowd.load("slow")
        await crowd.passes("slow", seconds=0.1)
        assert crowd.pods.waiting == 1
        crowd.cluster.remove(INFERENCE_SERVICE, "slow")
        await crowd.passes("slow", seconds=0.1)
        assert crowd.pods.waiting == 0
