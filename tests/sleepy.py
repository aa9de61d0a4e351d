"""A service that may sleep, in a cluster in memory with two routers."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from penstock import names
from penstock.kinds import DEPLOYMENT, ENDPOINT_SLICE, INFERENCE_SERVICE, POD, ROUTER_SLICE
from penstock.watch.store import Key, ObjectId

from tests.fake_cluster import the_service
from tests.place import Place


class Sleepy(Place):
    """A place with two routers, whose service may sleep after a minute."""

    def __init__(self, **predictor: Any) -> None:
        super().__init__(
            routers=2, autoscaling={"scaleToZero": {"afterSeconds": 60}}, **{"minReplicas": 0, **predictor}
        )
        self.can_reach_pods = True

    addresses: Sequence[str] = ("10.1.0.1", "10.1.0.2")

    def restart(self) -> None:
        super().restart()
        self.version = 0
        self.routers(*self.addresses)

    def routers(self, *addresses: str) -> set[Key]:
        """These are ready now; the services that hear of it."""
        self.addresses, self.version = addresses, self.version + 1
        ready = [
            {"addresses": [address], "conditions": {"ready": True}, "targetRef": {"name": f"router-{number}"}}
            for number, address in enumerate(addresses)
        ]
        metadata = {"name": "penstock-router-x", "namespace": "penstock-system", "resourceVersion": str(self.version)}
        return self.store.put(ROUTER_SLICE, {"metadata": metadata, "endpoints": ready})

    async def another_operator(self, **installation: Any) -> None:
        """The release was upgraded with other values."""
        await self.reconcile.close()
        self._installation = replace(self._installation, **installation)
        self.restart()

    async def passes(self) -> timedelta | None:
        again = await super().passes()
        await self._is_woken()
        return again

    async def at(self, seconds: float) -> None:
        """Time passes, the pods are asked again, and the passes that follow settle."""
        self.now += timedelta(seconds=seconds)
        for watched in self.reconcile._sleepers.idleness._watched.values():
            watched.is_due.set()
        for _ in range(4):
            await self._is_woken()
            await self.look()
            self.follow()

    async def wake_up(self) -> None:
        await self.settle()
        self.roll_out()
        await self.at(0)
        assert self.sleep["state"] == "Awake"

    async def fall_asleep(self) -> None:
        await self.at(0)
        await self.at(61)
        self.is_router_reached = True
        for seconds in (2, 2, 11, 1):
            await self.at(seconds)

    @property
    def sleep(self) -> dict[str, Any]:
        found: dict[str, Any] = self.status["autoscaling"]["sleep"]
        return found

    @property
    def selector(self) -> dict[str, str]:
        found: dict[str, str] = self.child("Service")["spec"]["selector"]
        return found

    @property
    def pods_wanted(self) -> int:
        return int(self.child("Deployment", "chat-blue")["spec"]["replicas"])

    @property
    def slice(self) -> dict[str, Any] | None:
        return self.cluster.objects.get(ObjectId(ENDPOINT_SLICE.name, "ml", "chat-router"))

    @property
    def slice_addresses(self) -> list[str]:
        assert self.slice is not None
        return [address for each in self.slice["endpoints"] for address in each["addresses"]]

    async def is_asleep(self) -> None:
        """Wake it up, and wait until it sleeps and its pods are gone."""
        await self.wake_up()
        await self.fall_asleep()
        self.pods_go()
        await self.settle()
        assert self.sleep["state"] == "Asleep"

    def set(self, **spec: Any) -> None:
        """The user changes top-level fields of the spec."""
        service = the_service(self.cluster)
        self.cluster.edit(INFERENCE_SERVICE, "chat", spec={**service["spec"], **spec})

    def pause(self) -> None:
        """The user says hands off."""
        metadata = the_service(self.cluster)["metadata"]
        annotations = {**metadata.get("annotations", {}), names.ANNOTATION_PAUSED: "nobody touches this"}
        self.cluster.edit(INFERENCE_SERVICE, "chat", metadata={**metadata, "annotations": annotations})

    def pods_go(self) -> None:
        for identity in [each for each in self.cluster.objects if each.kind == POD.name]:
            del self.cluster.objects[identity]
        deployment = self.child("Deployment", "chat-blue")
        status = {"observedGeneration": deployment["metadata"]["generation"], "replicas": 0}
        self.cluster.edit(DEPLOYMENT, "chat-blue", status=status)
        self.follow()

    def ask(self, at: str = "2026-01-01T13:00:00.000001Z") -> None:
        """A router holds a request."""
        service = the_service(self.cluster)
        self.cluster.edit(INFERENCE_SERVICE, "chat", status={**service["status"], "wakeRequestedAt": at})
