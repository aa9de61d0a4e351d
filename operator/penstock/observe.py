"""Cluster objects as small frozen values. Parsing only: nothing here decides.

`project_*` cut an object of a watch down to what the store keeps; the `Seen*` values are what a pass reasons about.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.kinds import Kind, Manifest
from penstock.names import Slot
from penstock.rollout.ab_test import Verdict
from penstock.rollout.analysis import Window
from penstock.rollout.room import Fit, Room
from penstock.rollout.route import SeenRoute

# Status fields that a pass reads, by kind; everything else, above all times that tick, would only wake it for nothing.
_STATUS_FIELDS: Mapping[str, tuple[str, ...]] = {
    "Deployment": (
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "conditions",
    ),
    "HTTPRoute": ("parents",),
    "HorizontalPodAutoscaler": ("currentReplicas", "desiredReplicas", "currentMetrics", "lastScaleTime", "conditions"),
}
_CONDITION_FIELDS = ("type", "status", "reason", "message")
_ROUTE_CONDITION_FIELDS = (*_CONDITION_FIELDS, "observedGeneration")
_METADATA_FIELDS = ("name", "namespace", "uid", "generation", "labels", "annotations", "ownerReferences")


@dataclass(frozen=True, slots=True)
class SeenDeployment:
    """The Deployment of one slot."""

    revision: str
    wanted: int
    replicas: int = 0
    updated: int = 0
    ready: int = 0
    available: int = 0
    is_observed: bool = False  # the Deployment controller has acted on the spec that is there now
    creation_failure: str | None = None  # why its ReplicaSet cannot create pods, in the API server's words
    name: str = ""

    @property
    def is_complete(self) -> bool:
        """Every wanted pod is of this revision and available, and no other is left."""
        settled = self.updated == self.available == self.replicas == self.wanted
        return self.is_observed and settled

    @property
    def available_of_revision(self) -> int:
        """Available pods that can only be of the new revision: the old ones are all that is not updated."""
        return max(0, min(self.updated, self.available - (self.replicas - self.updated)))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a container ended."""

    reason: str
    exit_code: int
    message: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class SeenPod:
    """One pod of the service. `waiting` and `ended` are those of the first container that has trouble."""

    name: str
    slot: str
    revision: str
    is_ready: bool = False
    is_leaving: bool = False
    is_started: bool = False  # the startup probe has passed
    running_since: datetime | None = None
    unready_since: datetime | None = None  # of one that has been up, or found no node
    ip: str | None = None
    restarts: int = 0
    unschedulable: str | None = None  # the scheduler's message
    waiting: tuple[str, str] | None = None  # the kubelet's reason and message
    ended: Ended | None = None

    @property
    def is_coming(self) -> bool:
        """It has not been up yet, and nothing is known to keep it from that."""
        return not self.is_started and self.unschedulable is None and self.waiting is None and self.ended is None

    @property
    def is_loading(self) -> bool:
        """Its server runs and has not passed its startup probe yet."""
        return self.running_since is not None and not self.is_started and not self.is_leaving


@dataclass(frozen=True, slots=True)
class SeenAutoscaler:
    """The HPA. A condition is (status, reason, message)."""

    desired: int | None
    current: str | None
    last_scale_time: datetime | None
    conditions: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far loading pods have come, as their /startupz tells it."""

    bytes: int = 0
    total_bytes: int | None = None
    bytes_per_second: int | None = None
    loaded_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Names of the pods behind the active Service: those that get new requests, and all that are not terminating."""

    ready: frozenset[str] = frozenset()
    lasting: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Answers:
    """What the pods answered in this pass to what the decision asked them."""

    smoke: Mapping[str, str | None] = field(default_factory=dict)  # pod -> what was wrong, None for nothing
    looked: tuple[Window, Window] | None = None  # counters since the last look: the new revision's, the old one's
    arms: tuple[Window, Window] | None = None  # the same of an A/B test: A's, the stable revision's, and B's
    verdict: Verdict | str | None = None  # of a complete A/B test, or why there is none


@dataclass(frozen=True, slots=True)
class Seen:
    """All that one pass over a service knows of the cluster."""

    service: InferenceService
    current: str = ""  # the revision that the spec asks for
    slots: Mapping[Slot, SeenDeployment] = field(default_factory=dict)
    selected: Slot | None = None  # the slot that the active Service was last made to pick; None before any update
    pods: tuple[SeenPod, ...] = ()
    endpoints: Endpoints = Endpoints()
    autoscaler: SeenAutoscaler | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)  # of the active Service
    templates: frozenset[str] = frozenset()  # revisions whose template is stored, or runs
    progress: Progress = Progress()
    fit: Fit | None = None  # room for one more pod; asked for only when one waits for a node
    room: Room | None = None  # for more pods of the current revision; asked for only when a plan is to be made
    is_smoke_tested: bool = False  # there is a smoke test, and pods can be reached from here
    answers: Answers | None = None
    route: SeenRoute | None = None  # the HTTPRoute; None where there is none

    @property
    def active(self) -> Slot:
        """The slot that serves, or will."""
        told = self.service.status.rollout
        return self.selected or Slot((told and told.active_slot) or Slot.BLUE)

    @property
    def idle(self) -> Slot:
        return self.active.other

    @property
    def deployment(self) -> SeenDeployment | None:
        """That of the active slot."""
        return self.slots.get(self.active)

    @property
    def newest(self) -> Slot:
        """The slot that runs the current revision, if one of them does."""
        there = self.slots.get(self.idle)
        return self.idle if there is not None and there.revision == self.current else self.active

    @property
    def is_shared(self) -> bool:
        """The active Service was last made to lead to both slots."""
        return names.ANNOTATION_SHARED in self.annotations

    @property
    def selected_slots(self) -> frozenset[Slot]:
        """The slots that the active Service was last made to lead to."""
        return frozenset(Slot if self.is_shared else [self.active])

    @property
    def serving(self) -> tuple[SeenDeployment, ...]:
        """Those of the slots that serve."""
        return tuple(each for slot, each in self.slots.items() if slot in self.selected_slots)

    def ready(self, slot: Slot) -> tuple[SeenPod, ...]:
        """The slot's pods that could answer now."""
        return tuple(pod for pod in self.pods if pod.slot == slot and pod.is_ready and not pod.is_leaving)


def project_child(kind: Kind, obj: Manifest) -> Manifest:
    """A child as the store keeps it: what we may have set, and the part of its status that we read."""
    metadata = {key: obj["metadata"][key] for key in _METADATA_FIELDS if key in obj["metadata"]}
    rest: Manifest = {key: obj[key] for key in ("spec", "data", "revision") if key in obj}
    status = _project_status(kind, obj.get("status") or {})
    return {"metadata": metadata, **rest, **({"status": status} if status else {})}


def _project_status(kind: Kind, status: Mapping[str, Any]) -> Manifest:
    kept = {key: status[key] for key in _STATUS_FIELDS.get(kind.name, ()) if key in status}
    if "conditions" in kept:
        kept["conditions"] = [{key: c.get(key, "") for key in _CONDITION_FIELDS} for c in kept["conditions"]]
    if "parents" in kept:
        kept["parents"] = [_project_parent(parent) for parent in kept["parents"]]
    return kept


def _project_parent(parent: Mapping[str, Any]) -> Manifest:
    """What a gateway made of a route, without the times of it."""
    found = parent.get("conditions") or []
    return {
        "parentRef": parent.get("parentRef") or {},
        "conditions": [{key: each[key] for key in _ROUTE_CONDITION_FIELDS if key in each} for each in found],
    }


def deployment(child: Manifest) -> SeenDeployment:
    """Parse a projected Deployment."""
    spec, status = child["spec"], child.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    failure = conditions.get("ReplicaFailure", {})
    return SeenDeployment(
        revision=spec["template"]["metadata"].get("labels", {}).get(names.LABEL_REVISION, ""),
        wanted=spec.get("replicas", 1),
        replicas=status.get("replicas", 0),
        updated=status.get("updatedReplicas", 0),
        ready=status.get("readyReplicas", 0),
        available=status.get("availableReplicas", 0),
        is_observed=status.get("observedGeneration", 0) >= child["metadata"].get("generation", 1),
        creation_failure=failure.get("message") if failure.get("status") == "True" else None,
        name=child["metadata"]["name"],
    )


def autoscaler(child: Manifest) -> SeenAutoscaler:
    """Parse a projected HPA."""
    status = child.get("status", {})
    conditions = {c["type"]: (c["status"], c["reason"], c["message"]) for c in status.get("conditions", [])}
    return SeenAutoscaler(
        desired=status.get("desiredReplicas") or None,  # 0 stands for "not computed" as long as we want pods.
        current=_current_metric(status.get("currentMetrics") or []),
        last_scale_time=_time(status.get("lastScaleTime")),
        conditions=conditions,
    )


def _current_metric(metrics: Iterable[Mapping[str, Any]]) -> str | None:
    for metric in metrics:
        current = (metric.get("pods") or metric.get("resource") or {}).get("current") or {}
        for key in ("averageUtilization", "averageValue"):
            if current.get(key) is not None:
                return str(current[key])
    return None


def pod(obj: Manifest) -> SeenPod:
    """Parse a v1 Pod of ours."""
    metadata, status = obj["metadata"], obj.get("status", {})
    labels = metadata.get("labels", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions") or []}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    serving: Mapping[str, Any] = next((c for c in containers if c["name"] == obj["spec"]["containers"][0]["name"]), {})
    is_started, ended = bool(serving.get("started")), _ended(containers)
    unschedulable = _unschedulable(conditions.get("PodScheduled", {}))
    # While it comes up for the first time this would only tell of the kubelet's first look at it, and wake a pass.
    has_trouble = is_started or ended is not None or unschedulable is not None
    return SeenPod(
        name=metadata["name"],
        slot=labels.get(names.LABEL_SLOT, ""),
        revision=labels.get(names.LABEL_REVISION, ""),
        is_ready=conditions.get("Ready", {}).get("status") == "True",
        is_leaving="deletionTimestamp" in metadata or status.get("phase") in ("Succeeded", "Failed"),
        is_started=is_started,
        running_since=_time(serving.get("state", {}).get("running", {}).get("startedAt")),
        unready_since=_unready_since(conditions) if has_trouble else None,
        ip=status.get("podIP"),
        restarts=sum(container.get("restartCount", 0) for container in containers),
        unschedulable=unschedulable,
        waiting=_waiting(containers),
        ended=ended,
    )


def _unschedulable(condition: Mapping[str, str]) -> str | None:
    if condition.get("status") != "False" or condition.get("reason") != "Unschedulable":
        return None
    return condition.get("message", "")


def _unready_since(conditions: Mapping[str, Mapping[str, str]]) -> datetime | None:
    """By the kubelet; before one knows of the pod, by the scheduler."""
    condition = conditions.get("Ready", conditions.get("PodScheduled", {}))
    return None if condition.get("status") == "True" else _time(condition.get("lastTransitionTime"))


def _waiting(containers: Iterable[Mapping[str, Any]]) -> tuple[str, str] | None:
    for container in containers:
        waiting = container.get("state", {}).get("waiting")
        if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return waiting["reason"], waiting.get("message", "")
    return None


def _ended(containers: Iterable[Mapping[str, Any]]) -> Ended | None:
    """The last bad end of a container that is not ready now: of its present state, else of the one before."""
    for container in containers:
        if container.get("ready"):
            continue
        now = container.get("state", {})
        # A server that ends again and again serves nobody, however content it is with itself.
        is_looping = now.get("waiting", {}).get("reason") == "CrashLoopBackOff"
        for state in (now, container.get("lastState", {})):
            ended = state.get("terminated")
            if ended and (is_looping or ended.get("exitCode") or ended.get("reason") == "OOMKilled"):
                message, at = ended.get("message", ""), _time(ended.get("finishedAt"))
                return Ended(ended.get("reason", ""), ended.get("exitCode", 0), message, at)
    return None


def service_of_slice(obj: Manifest) -> str:
    """The name of the Service whose endpoints an EndpointSlice lists."""
    name: str = (obj["metadata"].get("labels") or {}).get("kubernetes.io/service-name", "")
    return name


def endpoints(obj: Manifest) -> Endpoints:
    """The pods that an EndpointSlice lists. A condition that is not said means that it holds, but for terminating."""
    listed = [
        (endpoint["targetRef"]["name"], endpoint.get("conditions") or {})
        for endpoint in obj.get("endpoints") or []
        if (endpoint.get("targetRef") or {}).get("name")
    ]
    return Endpoints(
        ready=frozenset(name for name, conditions in listed if conditions.get("ready")),
        lasting=frozenset(name for name, conditions in listed if not conditions.get("terminating")),
    )


def selected_slot(annotations: Mapping[str, str]) -> Slot | None:
    """The slot that we last led the traffic to. A selector that says something else was edited, and is put back."""
    slot = annotations.get(names.ANNOTATION_ACTIVE_SLOT)
    return Slot(slot) if slot in tuple(Slot) else None


def _time(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None
