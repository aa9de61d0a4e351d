"""A gateway's controller: it takes HTTPRoutes, or refuses them. What a real one makes of them is seen in tests/e2e."""

import threading
from collections.abc import Iterator
from typing import Any

from penstock.kinds import DEPLOYMENT, HTTP_ROUTE

from tests.control_plane.objects import Manifest, Missing, Objects

_PAUSE_SECONDS = 0.02
_CONTROLLER = "example.org/gateway"


class Gateway:
    """Looks at the routes of one namespace again and again; `taken` is what it leads requests by."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gateway")
        self.is_slow = False  # takes no more routes, for as long as this is true
        self.taken: dict[str, dict[str, int]] = {}  # route -> Service -> weight
        self.led_nowhere: list[str] = []  # Deployments that were to have no pod while requests were led to them

    def start(self) -> "Gateway":
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_PAUSE_SECONDS):
            for route in self._objects.all(HTTP_ROUTE):
                try:
                    self._look(route)
                except Missing:
                    continue  # It has just gone.

    def _look(self, route: Manifest) -> None:
        name = route["metadata"]["name"]
        for service, weight in self.taken.get(name, {}).items():
            # The slots' Services have the names of their Deployments.
            if weight > 0 and service != name and self._wanted(service) == 0:
                self.led_nowhere.append(service)
        if not self.is_slow and not is_taken(route):
            accept(self._objects, route)
            self.taken[name] = {service: weight for rule in route["spec"]["rules"] for service, weight in _given(rule)}

    def _wanted(self, deployment: str) -> int:
        wanted: int = self._objects.get(DEPLOYMENT, deployment)["spec"]["replicas"]
        return wanted


def shares(route: Manifest) -> dict[str, int]:
    """The weights of the rule for everybody, by Service."""
    return dict(_given(route["spec"]["rules"][-1]))


def _given(rule: Manifest) -> Iterator[tuple[str, int]]:
    return ((backend["name"], backend["weight"]) for backend in rule["backendRefs"])


def is_taken(route: Manifest) -> bool:
    generation = route["metadata"]["generation"]
    conditions = [c for parent in route.get("status", {}).get("parents", []) for c in parent["conditions"]]
    return bool(conditions) and all(each["observedGeneration"] == generation for each in conditions)


def accept(objects: Objects, route: Manifest, *, refusal: str = "") -> None:
    """Say that the route is led by, or why not."""

    def condition(kind: str, *, is_true: bool) -> dict[str, Any]:
        return {
            "type": kind,
            "status": str(is_true),
            "reason": kind if is_true else "NotAllowedByListeners",
            "message": refusal,
            "observedGeneration": route["metadata"]["generation"],
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }

    conditions = [condition("Accepted", is_true=not refusal), condition("ResolvedRefs", is_true=True)]
    parent = {"parentRef": route["spec"]["parentRefs"][0], "controllerName": _CONTROLLER, "conditions": conditions}
    objects.patch(HTTP_ROUTE, route["metadata"]["name"], {"status": {"parents": [parent]}}, subresource="status")
