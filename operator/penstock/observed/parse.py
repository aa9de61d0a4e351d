"""Cluster objects as small frozen values. Parsing only: nothing here decides.

`project_*` cut an object of a watch down to what the store keeps; the `Seen*` values are what a pass reasons about.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from penstock import names
from penstock.desired.serving import serving_container
from penstock.kinds import Kind, Manifest
from penstock.names import Slot
from penstock.observed.values import Ended, Endpoints, Router, SeenAutoscaler, SeenDeployment, SeenPod

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
    "ScaledObject": ("conditions",),
    "HorizontalPodAutoscaler": ("currentReplicas", "desiredReplicas", "currentMetrics", "lastScaleTime", "conditions"),
}
_CONDITION_FIELDS = ("type", "status", "reason", "message")
_ROUTE_CONDITION_FIELDS = (*_CONDITION_FIELDS, "observedGeneration")
_UNKNOWN: Mapping[str, Any] = {}  # a container that the kubelet has not reported yet
_CONTENT = ("spec", "data", "revision", "addressType", "endpoints", "ports")
_METADATA_FIELDS = ("name", "namespace", "uid", "generation", "labels", "annotations", "ownerReferences")


def project_child(kind: Kind, obj: Manifest) -> Manifest:
    """A child as the store keeps it: what we may have set, and the part of its status that we read."""
    metadata = {key: obj["metadata"][key] for key in _METADATA_FIELDS if key in obj["metadata"]}
    rest: Manifest = {key: obj[key] for key in _CONTENT if key in obj}
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
        current=_current_metric(child.get("spec", {}).get("metrics") or [], status.get("currentMetrics") or []),
        last_scale_time=_time(status.get("lastScaleTime")),
        conditions=conditions,
    )


def scaled_object(child: Manifest, made: Manifest | None) -> SeenAutoscaler:
    """Parse a projected ScaledObject, and the HPA that KEDA made of it, where that is seen.

    While KEDA itself cannot, or as long as its HPA is not seen, its Ready stands for the HPA's ScalingActive.
    """
    found = autoscaler(made) if made else SeenAutoscaler(desired=None, current=None, last_scale_time=None)
    conditions = {c["type"]: c for c in child.get("status", {}).get("conditions", [])}
    ready = conditions.get("Ready", {})
    is_telling = ready.get("status") == "False" or (ready.get("status") == "True" and made is None)
    if not is_telling:
        return found
    of_keda = (ready["status"], ready.get("reason", ""), f"KEDA: {ready.get('message', '')}")
    return replace(found, conditions={**found.conditions, "ScalingActive": of_keda})


def _current_metric(wanted: Sequence[Mapping[str, Any]], metrics: Iterable[Mapping[str, Any]]) -> str | None:
    """That of the first metric that was asked for; where it fails, others come without it."""
    first = _metric_name(wanted[0]) if wanted else ""
    for metric in metrics:
        if first and _metric_name(metric) != first:
            continue
        current = _source(metric).get("current") or {}
        for key in ("averageUtilization", "averageValue"):
            if current.get(key) is not None:
                return str(current[key])
    return None


def _metric_name(metric: Mapping[str, Any]) -> str:
    source = _source(metric)
    return str((source.get("metric") or source).get("name", ""))


def _source(metric: Mapping[str, Any]) -> Mapping[str, Any]:
    """KEDA's metrics are external ones."""
    return metric.get("pods") or metric.get("resource") or metric.get("external") or {}


def pod(obj: Manifest) -> SeenPod:
    """Parse a v1 Pod of ours."""
    metadata, status = obj["metadata"], obj.get("status", {})
    labels = metadata.get("labels", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions") or []}
    name = serving_container(obj)["name"]
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    containers.sort(
        key=lambda container: container["name"] != name
    )  # the one that serves first: its trouble tells most
    serving = next((container for container in containers if container["name"] == name), _UNKNOWN)
    troubled = next((container for container in containers if _waiting(container) or _ended(container)), serving)
    is_started, ended = bool(serving.get("started")), _ended(troubled)
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
        unschedulable=unschedulable,
        waiting=_waiting(troubled),
        ended=ended,
        container="" if troubled is serving else troubled["name"],
    )


def _unschedulable(condition: Mapping[str, str]) -> str | None:
    if condition.get("status") != "False" or condition.get("reason") != "Unschedulable":
        return None
    return condition.get("message", "")


def _unready_since(conditions: Mapping[str, Mapping[str, str]]) -> datetime | None:
    """By the kubelet; before one knows of the pod, by the scheduler."""
    condition = conditions.get("Ready", conditions.get("PodScheduled", {}))
    return None if condition.get("status") == "True" else _time(condition.get("lastTransitionTime"))


def _waiting(container: Mapping[str, Any]) -> tuple[str, str] | None:
    waiting = container.get("state", {}).get("waiting")
    if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
        return waiting["reason"], waiting.get("message", "")
    return None


def _ended(container: Mapping[str, Any]) -> Ended | None:
    """Its last bad end, if it is not ready now: of its present state, else of the one before."""
    if container.get("ready"):
        return None
    now = container.get("state", {})
    # A server that ends again and again serves nobody, even if each end was clean.
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
    """The pods that an EndpointSlice lists. Only `ready: true` is ready; only `terminating: true` does not last."""
    listed = [
        (endpoint["targetRef"]["name"], endpoint.get("conditions") or {})
        for endpoint in obj.get("endpoints") or []
        if (endpoint.get("targetRef") or {}).get("name")
    ]
    return Endpoints(
        ready=frozenset(name for name, conditions in listed if conditions.get("ready")),
        lasting=frozenset(name for name, conditions in listed if not conditions.get("terminating")),
    )


def routers(obj: Manifest) -> tuple[Router, ...]:
    """The ready routers that an EndpointSlice lists."""
    return tuple(
        Router((endpoint.get("targetRef") or {}).get("name", ""), endpoint["addresses"][0])
        for endpoint in obj.get("endpoints") or []
        if (endpoint.get("conditions") or {}).get("ready")
    )


def selected_slot(annotations: Mapping[str, str]) -> Slot | None:
    """The slot that we last selected. A selector that says something else was edited, and is put back."""
    slot = annotations.get(names.ANNOTATION_ACTIVE_SLOT)
    return Slot(slot) if slot in tuple(Slot) else None


def _time(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None
