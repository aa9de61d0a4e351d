"""Services, pods, deployments and what a pass sees of them, named so that a test's row reads as a sentence."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from penstock import names
from penstock.api.status import InferenceServiceStatus, RolloutStatus
from penstock.api.v1alpha1 import InferenceService, parse
from penstock.capacity.free import Capacity
from penstock.capacity.placement import Node
from penstock.capacity.requests import PodRequests
from penstock.names import Slot
from penstock.observed.causes import Cause
from penstock.observed.causes import causes as causes_of
from penstock.observed.values import Ended, Endpoints, Seen, SeenDeployment, SeenPod
from penstock.rollout.decide import decide
from penstock.rollout.decision import Decision
from penstock.scaling import schedule
from penstock.scaling.replicas import Scale, scale
from penstock.scaling.schedule import Least
from penstock.status.conditions import Facts, Problem
from penstock.status.status import status as status_of

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)
UID = "11111111-1111-4111-8111-111111111111"
DEADLINE = timedelta(seconds=600)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def a_service(
    name: str = "chat",
    *,
    model: dict[str, Any] | None = None,
    containers: list[dict[str, Any]] | None = None,
    replicas: int | None = None,
    suspend: bool = False,
    rollout: dict[str, Any] | None = None,
    autoscaling: dict[str, Any] | None = None,
    is_behind_a_gateway: bool = False,
    annotations: dict[str, str] | None = None,
    status: InferenceServiceStatus | RolloutStatus | None = None,
    **predictor: Any,
) -> InferenceService:
    """A small service; further words are fields of `spec.predictor`, as YAML spells them."""
    serving = (
        {"containers": containers} if containers else {"model": {"storageUri": "s3://models/smollm2"} | (model or {})}
    )
    spec = {
        "predictor": {**serving, **predictor},
        "suspend": suspend,
        "autoscaling": autoscaling or {},
        "networking": {"gateway": {"parentRefs": [{"name": "public"}]}} if is_behind_a_gateway else {},
        "rollout": {"progressDeadlineSeconds": int(DEADLINE.total_seconds())} | (rollout or {}),
        **({} if replicas is None else {"replicas": replicas}),
    }
    metadata = {"name": name, "namespace": "ml", "uid": UID, "generation": 3, "annotations": annotations or {}}
    service = parse({"metadata": metadata, "spec": spec})
    reported = InferenceServiceStatus(rollout=status) if isinstance(status, RolloutStatus) else status
    return service if reported is None else with_status(service, reported)


def with_status(service: InferenceService, status: InferenceServiceStatus) -> InferenceService:
    """As it comes back from the API server: through JSON, where only what it can say survives."""
    return service.model_copy(update={"status": InferenceServiceStatus.model_validate(status.to_dict())})


def seen(
    service: InferenceService | None = None,
    *pods: SeenPod,
    deployment: SeenDeployment | None = None,
    **rest: Any,
) -> Seen:
    """What a pass knows; unless said otherwise, the active Service selects every pod that is ready."""
    slots = {} if deployment is None else {Slot.BLUE: deployment}
    return Seen(service or a_service(), pods=pods, **({"slots": slots, "endpoints": behind(*pods), **_KNOWN} | rest))


def behind(*pods: SeenPod, slot: Slot = Slot.BLUE) -> Endpoints:
    """The endpoints of a Service that picks the slot."""
    inside = [pod for pod in pods if pod.slot == slot]
    return Endpoints(
        ready=frozenset(pod.name for pod in inside if pod.is_ready),
        lasting=frozenset(pod.name for pod in inside if not pod.is_leaving),
    )


def during(
    status: InferenceServiceStatus | RolloutStatus | None,
    deployment: SeenDeployment | None = None,
    *pods: SeenPod,
    **rest: Any,
) -> Seen:
    """What a pass knows of a small service with this status."""
    return seen(a_service(status=status), *pods, deployment=deployment, **rest)


def decided(
    about: Seen,
    current: str = "v2",
    now: datetime = T0,
    *,
    is_stopped: bool = False,
    causes: Sequence[Cause] | None = None,
) -> Decision:
    about, wanted = replace(about, current=current), size(about.service).replicas
    found = causes_of(about, now) if causes is None else list(causes)
    return decide(about, found, now, wanted=wanted, is_stopped=is_stopped)


def ready_pod(name: str = "chat-0", revision: str = "v1", **rest: Any) -> SeenPod:
    return SeenPod(name, Slot.BLUE, revision, **_RUNNING, **({"is_started": True, "is_ready": True} | rest))


def loading(name: str = "chat-0", revision: str = "v1", **rest: Any) -> SeenPod:
    """Its container runs, its startup probe has not passed."""
    return SeenPod(name, Slot.BLUE, revision, **{**_RUNNING, **rest})


def unready(name: str = "chat-0", revision: str = "v1", *, for_seconds: float = 0, **rest: Any) -> SeenPod:
    """Started, but its readiness probe does not pass."""
    return replace(loading(name, revision, is_started=True, **rest), running_since=T0 - timedelta(seconds=for_seconds))


def crash_looping(name: str = "chat-0", revision: str = "v1", *, message: str = "", exit_code: int = 1) -> SeenPod:
    return SeenPod(
        name,
        Slot.BLUE,
        revision,
        waiting=("CrashLoopBackOff", "back-off 40s restarting failed container"),
        ended=Ended("Error", exit_code, message, T0),
    )


def out_of_memory(name: str = "chat-0", revision: str = "v1") -> SeenPod:
    return replace(crash_looping(name, revision), ended=Ended("OOMKilled", 137, "", T0))


def waiting(reason: str, message: str = "", *, name: str = "chat-0", revision: str = "v1") -> SeenPod:
    return SeenPod(name, Slot.BLUE, revision, waiting=(reason, message))


def pending(name: str = "chat-0", revision: str = "v1", *, message: str = "0/2 nodes are available") -> SeenPod:
    """The scheduler finds no node for it."""
    return SeenPod(name, Slot.BLUE, revision, unschedulable=message)


def leaving(pod: SeenPod) -> SeenPod:
    return replace(pod, is_leaving=True)


def rolled_out(revision: str = "v1", pods: int = 1, **rest: Any) -> SeenDeployment:
    """Every pod is of the revision and available."""
    counts = {"replicas": pods, "updated": pods, "ready": pods, "available": pods, "is_observed": True}
    return SeenDeployment(revision, pods, **{**counts, **rest})


def rolling(to: str = "v2", *, wanted: int = 1, new: int = 1, new_available: int = 0, old: int = 1) -> SeenDeployment:
    """On its way: `new` pods of the revision, `new_available` of them, beside `old` ones that all serve."""
    available = old + new_available
    return SeenDeployment(to, wanted, old + new, new, ready=available, available=available, is_observed=True)


def starting(revision: str = "v1", wanted: int = 1, pods: int = 1, available: int = 0) -> SeenDeployment:
    """A first deployment on its way."""
    return rolling(revision, wanted=wanted, new=pods, new_available=available, old=0)


def unobserved(revision: str = "v2", **rest: Any) -> SeenDeployment:
    """Just written: what its status says is about the template before."""
    return replace(rolled_out(revision, **rest), is_observed=False)


def stable_at(revision: str, **rest: Any) -> RolloutStatus:
    return RolloutStatus(phase="Stable", stable_revision=revision, current_revision=revision, **rest)


def under_way(*, to: str = "v2", stable: str | None = "v1", since: datetime = T0, **rest: Any) -> RolloutStatus:
    """A rollout that began, and last progressed, at `since`."""
    recorded = {
        "phase": "Progressing" if stable else "Deploying",
        "strategy": "RollingUpdate",
        "stable_revision": stable,
        "current_revision": to,
        "started_at": since,
        "progressed_at": since,
        "deadline_at": since + DEADLINE,
    }
    return RolloutStatus(**{**recorded, **rest})


def rolled_back(failed: str = "v2", stable: str = "v1", failure: str | None = None) -> RolloutStatus:
    return RolloutStatus(
        phase="RolledBack",
        stable_revision=stable,
        current_revision=failed,
        failed_revision=failed,
        reason="ProgressDeadlineExceeded",
        failure=failure,
    )


def facts(
    about: Seen, current: str = "v1", now: datetime = T0, *, problem: Problem | None = None, paused: str | None = None
) -> Facts:
    """What a pass makes of it, when the spec asks for the revision `current`."""
    about = replace(about, current=current)
    found = causes_of(about, now)
    wanted = size(about.service, about.deployment.ready if about.deployment else 0, now)
    decision = decided(about, current, now, is_stopped=paused is not None or wanted.off is not None, causes=found)
    return Facts(about, decision, wanted, found, least_of(about.service, now), problem, paused)


def least_of(service: InferenceService, now: datetime = T0) -> Least:
    """The fewest pods there may be."""
    return schedule.least(service.spec, now, timedelta())


def size(service: InferenceService, serving: int = 0, now: datetime = T0) -> Scale:
    """How many pods there are to be, by the spec and its schedules."""
    return scale(service, serving, least=least_of(service, now).pods)


def reported(decision: Decision, about: Seen, now: datetime, size: Scale) -> InferenceService:
    """The service after a pass has written its status."""
    return with_status(about.service, status_of(Facts(about, decision, size, [], least_of(about.service, now)), now))


_RUNNING: dict[str, Any] = {"running_since": T0, "ip": "10.0.0.7"}
# Templates of every revision that tests name.
_KNOWN: dict[str, Any] = {"templates": frozenset({"v1", "v2", "v3"}), "selected": Slot.BLUE}
WIPED = InferenceServiceStatus()
REMEMBERED = {names.ANNOTATION_STABLE: "v1"}


def capacity_of(nodes: Iterable[Node], pods: Iterable[PodRequests]) -> Capacity:
    capacity = Capacity()
    for node in nodes:
        capacity.put_node(node)
    for pod in pods:
        capacity.put_pod(pod)
    return capacity
