"""A cluster in memory, a store that hears of it, and an operator that is called by hand."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from penstock import names
from penstock.api.meta import ObjectMeta
from penstock.controller.reconcile import Reconciler
from penstock.desired.installation import Installation
from penstock.kinds import DEPLOYMENT, ENDPOINT_SLICE, INFERENCE_SERVICE, POD, SERVICE, Manifest
from penstock.kube.pod_access import Address
from penstock.observed.counters import Counters
from penstock.observed.load import Load
from penstock.observed.values import Progress
from penstock.pod_metrics import PodMetrics
from penstock.rollout.smoke import SmokeRequest
from penstock.status.status import Transition
from penstock.watch.store import Key, ObjectId, Store

from tests.builders import T0, UID
from tests.fake_cluster import FakeCluster, the_service

CHAT = Key("ml", "chat")


class Place:
    """A cluster, a store that hears of it, and an operator that is called by hand."""

    def __init__(
        self,
        *,
        annotations: dict[str, str] | None = None,
        suspend: bool = False,
        rollout: dict[str, Any] | None = None,
        patience: timedelta = timedelta(0),
        autoscaling: dict[str, Any] | None = None,
        routers: int = 0,
        router_ports: tuple[int, int] = (20000, 27999),
        **predictor: Any,
    ) -> None:
        self.cluster = FakeCluster()
        self.now = T0
        self.told: list[Transition] = []
        self.internal_errors = 0
        self.asked: list[Sequence[str]] = []
        self.answer = Progress()
        self.can_reach_pods = False
        self.tested: list[Mapping[str, str]] = []
        self.test_results: dict[str, str | None] = {}
        self.load = Load(0, 0)
        self.is_router_reached = False
        self.while_asked: Callable[[], object] = lambda: None  # what happens while pods are tested
        self.woken: set[Key] = set()  # by what pods have answered
        self._patience = patience
        self._installation = Installation("penstock-server:1", routers=routers, router_ports=router_ports)
        self.restart()
        metadata = {"name": "chat", "namespace": "ml", "uid": UID, "generation": 1, "annotations": annotations or {}}
        self.predictor: dict[str, Any] = {"model": {"storageUri": "s3://models/smollm2"}, "minReplicas": 1, **predictor}
        rollout = {"progressDeadlineSeconds": 600, **(rollout or {})}
        spec = {"predictor": self.predictor, "suspend": suspend, "rollout": rollout, "autoscaling": autoscaling or {}}
        self.cluster.put(INFERENCE_SERVICE, {"metadata": metadata, "spec": spec})

    def restart(self) -> None:
        """Another operator takes over, which knows what the cluster has and nothing else."""
        self.store = Store()
        self.reconcile = Reconciler(
            self.cluster,
            self.store,
            pod_client=self,
            wake=self.woken.add,
            recorder=self,
            clock=lambda: self.now,
            installation=self._installation,
            patience=self._patience,
            on_internal_error=self.count_error,
        )

    def count_error(self) -> None:
        self.internal_errors += 1

    async def progress(self, pods: Sequence[Address]) -> Progress:
        self.asked.append([pod.ip for pod in pods])
        return self.answer

    async def smoke(self, request: SmokeRequest, pods: Sequence[Address]) -> dict[str, str | None]:
        del request
        self.tested.append({pod.name: pod.ip for pod in pods})
        self.while_asked()
        self.cluster.deliver(self.store)
        return {pod.name: self.test_results.get(pod.name) for pod in pods}

    async def counters(self, pods: Sequence[Address], metrics: PodMetrics | None = None) -> dict[str, Counters]:
        del pods, metrics
        return {}

    async def loads(self, pods: Sequence[Address], metrics: PodMetrics) -> dict[str, Load | str]:
        del metrics
        return {pod.name: self.load for pod in pods}

    async def is_router_at(self, service_ip: str, namespace: str, name: str) -> bool:
        del service_ip, namespace, name
        return self.is_router_reached

    async def record(self, service: ObjectMeta, transition: Transition, now: datetime) -> None:
        del service, now
        self.told.append(transition)

    async def look(self) -> timedelta | None:
        """All watches catch up, then one pass, and those that the pods' answers wake."""
        self.cluster.deliver(self.store)
        self.cluster.calls.clear()
        return await self.passes()

    async def passes(self) -> timedelta | None:
        """One pass, and those that the pods' answers wake."""
        again = await self.reconcile(CHAT)
        while await self._is_woken():
            again = await self.reconcile(CHAT)
        return again

    async def _is_woken(self) -> bool:
        for _ in range(5):  # Pods that answer at once do so within these turns of the loop.
            await asyncio.sleep(0)
        is_woken = CHAT in self.woken
        self.woken.clear()
        return is_woken

    async def settle(self) -> None:
        for _ in range(4):
            await self.look()

    def edit(self, **predictor: Any) -> None:
        service = the_service(self.cluster)
        self.predictor = {**self.predictor, **predictor}
        self.cluster.edit(INFERENCE_SERVICE, "chat", spec={**service["spec"], "predictor": self.predictor})

    def roll_out(self, pods: int = 1, slot: str = "blue") -> None:
        """The Deployment controller, the scheduler and the kubelet do their work."""
        roll_out(self.cluster, "chat", pods=pods, slot=slot, started=self.now)

    def follow(self) -> None:
        """The endpoints controller does its work."""
        follow(self.cluster, "chat")

    def child(self, kind: str, name: str = "chat") -> Manifest:
        return self.cluster.objects[ObjectId(kind, "ml", name)]

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = the_service(self.cluster)["status"]
        return found

    @property
    def template_revision(self) -> str:
        labels = self.child("Deployment", "chat-blue")["spec"]["template"]["metadata"]["labels"]
        return str(labels[names.LABEL_REVISION])

    def condition(self, kind: str) -> tuple[str, str]:
        found = next(condition for condition in self.status["conditions"] if condition["type"] == kind)
        return found["status"], found["reason"]

    def message(self, kind: str) -> str:
        """Of a condition."""
        return next(str(found["message"]) for found in self.status["conditions"] if found["type"] == kind)


def roll_out(
    cluster: FakeCluster,
    service: str,
    *,
    pods: int = 1,
    slot: str = "blue",
    ip: str = "10.0.0.7",
    started: datetime = T0,
) -> None:
    """The Deployment controller, the scheduler, the kubelet and the endpoints controller do their work."""
    name = f"{service}-{slot}"
    deployment = cluster.objects[ObjectId(DEPLOYMENT.name, "ml", name)]
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), pods)
    status = {"observedGeneration": deployment["metadata"]["generation"], **counts}
    cluster.edit(DEPLOYMENT, name, status=status)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for number in range(pods):
        pod = a_ready_pod(f"{name}-{number}", labels, started)
        cluster.put(POD, {**pod, "status": {**pod["status"], "podIP": ip}})
    follow(cluster, service)


def follow(cluster: FakeCluster, service: str) -> None:
    """The endpoints controller does its work."""
    selector = cluster.objects[ObjectId(SERVICE.name, "ml", service)]["spec"]["selector"].items()
    pods = [obj["metadata"] for identity, obj in cluster.objects.items() if identity.kind == "Pod"]
    inside = [pod["name"] for pod in pods if selector <= pod["labels"].items()]
    ready = [{"conditions": {"ready": True}, "targetRef": {"name": name}} for name in inside]
    owned = {names.LABEL_SERVICE: service, "kubernetes.io/service-name": service}
    metadata: dict[str, Any] = {"name": f"{service}-abc", "namespace": "ml", "labels": owned}
    there = cluster.objects.get(ObjectId(ENDPOINT_SLICE.name, "ml", metadata["name"]), {})
    if there.get("endpoints") != ready:
        cluster.put(ENDPOINT_SLICE, {"metadata": metadata, "endpoints": ready})


def a_ready_pod(name: str, labels: dict[str, str], started: datetime = T0) -> Manifest:
    container = {
        "name": "model",
        "ready": True,
        "started": True,
        "state": {"running": {"startedAt": f"{started:%Y-%m-%dT%H:%M:%SZ}"}},
    }
    status = {
        "podIP": "10.0.0.7",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [container],
    }
    spec = {"containers": [{"name": "model"}]}
    return {"metadata": {"name": name, "namespace": "ml", "labels": labels}, "spec": spec, "status": status}
