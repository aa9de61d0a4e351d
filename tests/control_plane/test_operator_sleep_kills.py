"""A service that falls asleep and wakes under operators that each die after one write."""

import json
from collections.abc import Sequence
from typing import Any

from penstock import clock
from penstock.kinds import ENDPOINT_SLICE, INFERENCE_SERVICE, POD, SERVICE
from penstock.kube.pod_access import Address
from penstock.observed.load import Load
from penstock.pod_metrics import PodMetrics
from penstock.pods.client import NoPodClient
from penstock.rollout.smoke import SmokeRequest

from tests.control_plane.mortal import (
    LEAVES_SOCKETS,
    Operators,
    after_each_new_write,
    lasting,
    live_through,
    outcome,
)
from tests.control_plane.objects import Manifest, Objects
from tests.control_plane.operator_process import Installation
from tests.control_plane.waiting import eventually

pytestmark = LEAVES_SOCKETS

PATIENCE = 90.0
ROUTERS = ("10.9.0.1", "10.9.0.2")


class QuietPods(NoPodClient):
    """Fake pods have no network: these pass each test, get no request, and a router answers in their place."""

    can_reach_pods = True

    async def smoke(self, request: SmokeRequest, pods: Sequence[Address]) -> dict[str, str | None]:
        del request
        return {pod.name: None for pod in pods}

    async def loads(self, pods: Sequence[Address], metrics: PodMetrics) -> dict[str, Load | str]:
        del metrics
        return {pod.name: Load(requests=0, under_way=0) for pod in pods}

    async def is_router_at(self, service_ip: str, namespace: str, name: str) -> bool:
        del service_ip, namespace, name
        return True


async def test_a_kill_after_every_single_write_changes_nothing_about_the_end_of_a_sleep_and_of_a_wake(
    own_installation: Installation, own_objects: Objects
) -> None:
    own_objects.create(_ready_routers(own_objects.namespace))
    settings = {"router_service": "routers", "router_namespace": own_objects.namespace}
    operators = Operators(own_installation, settings, QuietPods())
    calm, killed = Night(own_objects, "calm"), Night(own_objects, "killed")
    assert await live_through(operators, calm.live_through, lasting) == 0
    kills = await live_through(operators, killed.live_through, after_each_new_write())
    print(f"{kills} kills")
    assert kills > 20
    assert killed.outcomes == calm.outcomes


class Night:
    """A service falls asleep and is woken; what is written each time."""

    def __init__(self, objects: Objects, name: str) -> None:
        self.objects = objects
        self.name = name
        self.outcomes: list[Manifest] = []

    def live_through(self) -> None:
        self.objects.serve(
            self.name,
            minReplicas=0,
            maxReplicas=2,
            scaleMetric="concurrency",
            autoscaling={"scaleToZero": {"afterSeconds": 1}},
        )
        eventually(self._is_asleep, within=PATIENCE)
        self.outcomes.append(self._written())
        # Or it would fall asleep again before anybody has looked.
        self.objects.edit(self.name, autoscaling={"scaleToZero": {"afterSeconds": 3600}})
        asked = {"status": {"wakeRequestedAt": f"{clock.now():%Y-%m-%dT%H:%M:%S.%fZ}"}}
        self.objects.patch(INFERENCE_SERVICE, self.name, asked, subresource="status")
        eventually(self._is_awake, within=PATIENCE)
        self.outcomes.append(self._written())

    def _is_asleep(self) -> None:
        assert self._state() == "Asleep", self.objects.service(self.name).get("status")
        assert self._pods() == []
        assert self._counted() == 0
        assert self._addresses() == sorted(ROUTERS)
        assert self._selector()["serving.penstock.dev/slot"] == "asleep"

    def _is_awake(self) -> None:
        assert self._state() == "Awake", self.objects.service(self.name).get("status")
        assert len(self._pods()) == 1
        assert self._counted() == 1
        assert self._selector()["serving.penstock.dev/slot"] == "blue"
        # The routers stay for a moment, until the pods' endpoints are known.
        assert f"{self.name}-router" not in {each["metadata"]["name"] for each in self.objects.all(ENDPOINT_SLICE)}

    def _state(self) -> str:
        found = self.objects.service(self.name)["status"]
        assert found["observedGeneration"] == self.objects.service(self.name)["metadata"]["generation"]
        return str(found["autoscaling"]["sleep"]["state"])

    def _pods(self) -> list[Manifest]:
        return self.objects.all(POD, f"serving.penstock.dev/inferenceservice={self.name}")

    def _counted(self) -> int:
        return int(self.objects.service(self.name)["status"]["readyReplicas"])

    def _selector(self) -> dict[str, str]:
        found: dict[str, str] = self.objects.get(SERVICE, self.name)["spec"]["selector"]
        return found

    def _addresses(self) -> list[str]:
        """Where our slice leads. Raises Missing."""
        endpoints = self.objects.get(ENDPOINT_SLICE, f"{self.name}-router")["endpoints"]
        return sorted(address for each in endpoints for address in each["addresses"])

    def _written(self) -> Manifest:
        """One port of the routers is as good as another."""
        port = self.objects.service(self.name)["status"]["autoscaling"]["sleep"]["port"]
        found: Manifest = json.loads(json.dumps(outcome(self.objects, self.name)).replace(str(port), "PORT"))
        return {**found, "state": self._state()}


def _ready_routers(namespace: str) -> dict[str, Any]:
    """What a cluster's own controller writes for the routers' Service."""
    ready = [
        {"addresses": [ip], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": f"router-{n}"}}
        for n, ip in enumerate(ROUTERS)
    ]
    labels = {"kubernetes.io/service-name": "routers"}
    return {
        "apiVersion": ENDPOINT_SLICE.api_version,
        "kind": "EndpointSlice",
        "metadata": {"name": "routers-x", "namespace": namespace, "labels": labels},
        "addressType": "IPv4",
        "endpoints": ready,
        "ports": [{"name": "metrics", "port": 8080}],
    }
