"""Why a pod does not serve, in the kubelet's, the scheduler's or the server's own words. Pure."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from penstock.names import Reason, Slot, is_gpu
from penstock.observed.values import Ended, Seen, SeenPod

# A server without a startup probe may take this long to become ready before its probe counts as failing; one that
# misses its probe, or has crashed once, may be back in as much time.
_PATIENCE: Final = timedelta(seconds=60)
_LONGEST_MESSAGE: Final = 1024

_WAITING: Final = {
    "ErrImagePull": Reason.IMAGE_PULL_FAILED,
    "ImagePullBackOff": Reason.IMAGE_PULL_FAILED,
    "InvalidImageName": Reason.IMAGE_PULL_FAILED,
    "ErrImageNeverPull": Reason.IMAGE_PULL_FAILED,
    "ImageInspectError": Reason.IMAGE_PULL_FAILED,
    "RegistryUnavailable": Reason.IMAGE_PULL_FAILED,
    "CreateContainerConfigError": Reason.CONTAINER_CONFIG_ERROR,
    "CreateContainerError": Reason.CONTAINER_CONFIG_ERROR,
    "RunContainerError": Reason.CONTAINER_CONFIG_ERROR,
}
_NO_ROOM: Final = frozenset(
    {Reason.INSUFFICIENT_GPU, Reason.UNSCHEDULABLE, Reason.QUOTA_EXCEEDED, Reason.POD_CREATION_FAILED}
)
# What our server writes into its termination message, by our words for it.
_REPORTED: Final = {
    "ModelDownloadFailed": Reason.MODEL_DOWNLOAD_FAILED,
    "ModelDownloadStalled": Reason.MODEL_DOWNLOAD_STALLED,
    "NotEnoughDisk": Reason.MODEL_DOWNLOAD_FAILED,
    "InvalidStorageUri": Reason.MODEL_DOWNLOAD_FAILED,
    "ModelLoadFailed": Reason.MODEL_LOAD_FAILED,
    "UnsupportedModel": Reason.MODEL_LOAD_FAILED,
}


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason why pods do not serve; `object` is kind/name."""

    reason: Reason
    object: str
    message: str
    revision: str = ""
    exit_code: int | None = None
    at: datetime | None = None
    container: str = ""  # which one it is about, if it is not the model's but a webhook's

    @property
    def is_of_the_pod_itself(self) -> bool:
        """False where the pod has not had its chance: it found no room, or could not be created."""
        return self.reason not in _NO_ROOM


def causes(seen: Seen, now: datetime) -> list[Cause]:
    """What keeps the service's pods from serving: one per reason, revision and container, the newest revision first."""
    found: dict[tuple[str, str, str], Cause] = {}
    for cause in (*_of_deployment(seen), *_of_pods(seen, now)):
        found.setdefault((cause.reason, cause.revision, cause.container), cause)
    return list(found.values())


def patience_ends(seen: Seen, now: datetime) -> datetime | None:
    """When the next pod that is merely slow will count as failing its probe, for the next look."""
    slow = (pod for pod in seen.pods if not (pod.is_ready or pod.is_leaving or pod.is_coming))
    times = (since + _PATIENCE for pod in slow if (since := _in_trouble_since(pod)) is not None)
    return min((time for time in times if time > now), default=None)


def is_broken(seen: Seen, slot: Slot, now: datetime) -> bool:
    """None of the slot's pods answers, and none is on its way to: one that is loading is not broken."""
    pods = _staying(seen, slot)
    return bool(pods) and all(_has_failed(pod, now) for pod in pods)


def hopeless(seen: Seen, slot: Slot, now: datetime) -> int:
    """Pods of the slot that waiting does not bring: each has a cause that lasts, or cannot even be created."""
    return sum(1 for pod in _staying(seen, slot) if _has_failed(pod, now)) + uncreated(seen, slot)


def unplaced(seen: Seen, slot: Slot) -> int:
    """Pods of the slot for which there is no node, or no room in a quota."""
    return sum(1 for pod in _staying(seen, slot) if pod.unschedulable is not None) + uncreated(seen, slot)


def uncreated(seen: Seen, slot: Slot) -> int:
    """Pods of the slot's revision that a quota, or another rule of the cluster, keeps from being created."""
    deployment = seen.slots.get(slot)
    if deployment is None or deployment.creation_failure is None:
        return 0
    created = sum(1 for pod in _staying(seen, slot) if pod.revision == deployment.revision)
    return max(deployment.wanted - created, 0)


def _staying(seen: Seen, slot: Slot) -> list[SeenPod]:
    return [pod for pod in seen.pods if pod.slot == slot and not pod.is_leaving]


def _has_failed(pod: SeenPod, now: datetime) -> bool:
    """For a cause that lasts: what may be over in seconds has to have gone on for a while."""
    if pod.is_ready or pod.is_coming:
        return False
    since = _in_trouble_since(pod)
    return pod.waiting is not None or since is None or now - since >= _PATIENCE


def _in_trouble_since(pod: SeenPod) -> datetime | None:
    """Since when it might have answered, and has not."""
    return max((time for time in (pod.running_since, pod.unready_since) if time is not None), default=None)


def _of_deployment(seen: Seen) -> Iterable[Cause]:
    for deployment in seen.slots.values():
        failure = deployment.creation_failure
        if failure is not None and deployment.wanted > 0:
            reason = Reason.QUOTA_EXCEEDED if "exceeded quota" in failure else Reason.POD_CREATION_FAILED
            yield Cause(reason, f"Deployment/{deployment.name}", _short(failure), deployment.revision)


def _of_pods(seen: Seen, now: datetime) -> Iterable[Cause]:
    for pod in sorted(seen.pods, key=lambda pod: (pod.revision != seen.current, pod.name)):
        if pod.is_ready or pod.is_leaving:
            continue
        cause = _of_pod(pod, seen, now)
        if cause is not None:
            yield cause


def _of_pod(pod: SeenPod, seen: Seen, now: datetime) -> Cause | None:
    where = f"Pod/{pod.name}"
    if pod.unschedulable is not None:
        reason, message = _placement(pod.unschedulable, seen)
        return Cause(reason, where, _short(message), pod.revision)
    if pod.waiting and pod.waiting[0] in _WAITING:
        message = _of_container(pod, pod.waiting[1] or pod.waiting[0])
        return Cause(_WAITING[pod.waiting[0]], where, message, pod.revision, container=pod.container)
    if pod.ended is not None:
        return _crash(pod.ended, pod)
    if pod.is_started and pod.running_since and _has_failed(pod, now):
        message = f"running since {pod.running_since:%H:%M:%S} UTC, but its readiness probe does not pass"
        return Cause(Reason.PROBE_FAILING, where, message, pod.revision)
    return None


def _placement(scheduler: str, seen: Seen) -> tuple[Reason, str]:
    """Ours is the arithmetic; the scheduler's words follow, for it knows more than GPUs."""
    short_of = seen.fit.short_of if seen.fit else None
    if seen.fit is None or short_of is None or not is_gpu(short_of):
        return Reason.UNSCHEDULABLE, scheduler
    return Reason.INSUFFICIENT_GPU, f"{seen.fit.message} ({scheduler})"


def _of_container(pod: SeenPod, message: str) -> str:
    """The model's container needs no name."""
    return _short(message) if not pod.container else f"container {pod.container}: {_short(message)}"


def _crash(ended: Ended, pod: SeenPod) -> Cause:
    reason, message = _exit_reason(ended, is_model=not pod.container)
    return Cause(
        reason,
        f"Pod/{pod.name}",
        _of_container(pod, message),
        pod.revision,
        exit_code=ended.exit_code,
        at=ended.at,
        container=pod.container,
    )


def _exit_reason(ended: Ended, *, is_model: bool) -> tuple[Reason, str]:
    if ended.reason == "OOMKilled":
        limit = "its limit (resources.limits.memory)" if is_model else "its own limit"
        return Reason.OOM_KILLED, f"the container used more memory than {limit}"
    report = _report(ended.message) if is_model else None
    if report is not None and report[0] in _REPORTED:
        return _REPORTED[report[0]], report[1]
    said = report[1] if report else ended.message.strip()
    end = f"exit code {ended.exit_code}"
    return Reason.CRASH_LOOPING, f"{end}: {said}" if said else end


def _report(termination_message: str) -> tuple[str, str] | None:
    """The reason and message that our server leaves behind; None for what anybody else writes there."""
    try:
        report = json.loads(termination_message)
        return report["reason"], str(report["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _short(message: str) -> str:
    """The end of a long text says more than its beginning: it is where the traceback's error stands."""
    return message if len(message) <= _LONGEST_MESSAGE else f"…{message[-_LONGEST_MESSAGE:]}"


def most_telling(found: Sequence[Cause], revision: str) -> Cause | None:
    """The first cause of that revision, else the first at all."""
    return next((cause for cause in found if cause.revision == revision), found[0] if found else None)
