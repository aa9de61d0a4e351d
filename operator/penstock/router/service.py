"""What the router reads of an InferenceService: how it sleeps, and what is in the way of waking it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from penstock import names
from penstock.api.autoscaling import ScaleToZero
from penstock.api.predictor import Predictor
from penstock.api.status import Blocker, SleepState, SleepStatus
from penstock.kinds import Manifest
from penstock.names import Reason
from penstock.router import refusal
from penstock.router.refusal import Refusal
from penstock.watch.store import Key

# While it wakes, a cause that waiting does not mend: whoever is held should hear of it.
FATAL: Final = frozenset(
    {
        Reason.OOM_KILLED,
        Reason.CRASH_LOOPING,
        Reason.MODEL_LOAD_FAILED,
        Reason.MODEL_DOWNLOAD_FAILED,
        Reason.IMAGE_PULL_FAILED,
        Reason.CONTAINER_CONFIG_ERROR,
        Reason.POD_CREATION_FAILED,
        Reason.QUOTA_EXCEEDED,
    }
)
_DEFAULT_TIMEOUT: Final[int] = Predictor.model_fields["timeout"].default
# Of a pod that admits as many requests as come.
UNLIMITED: Final = 256


@dataclass(frozen=True, slots=True)
class Service:
    """One that has a port of the router."""

    key: Key
    uid: str
    port: int
    state: SleepState = "Awake"
    active_slot: str = ""
    wake_timeout: float = 120.0  # seconds
    max_held: int = 1000
    concurrency: int = 0  # requests that a pod admits at once; 0: any number
    timeout: float = 300.0  # seconds until a pod must have begun to answer
    refusal: Refusal | None = None  # what keeps it asleep, by the user's own wish
    failure: Refusal | None = None  # what has ended this wake
    obstacle: Refusal | None = None  # what this wake waits for

    @property
    def is_waking(self) -> bool:
        return self.state == "Waking"

    def share(self, routers: int) -> int:
        """Requests that one of so many routers sends to a pod at once."""
        return max(1, self.concurrency // routers) if self.concurrency else UNLIMITED


def read(obj: Manifest) -> Service | None:
    """None for a service without a port. What the spec lacks, or has wrong, is at its default: requests still come."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    sleep = SleepStatus.model_validate((status.get("autoscaling") or {}).get("sleep") or {})
    if sleep.port is None:
        return None
    limits, predictor = _limits(spec), spec.get("predictor") or {}
    causes = _causes(status, sleep)
    return Service(
        key=Key(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        port=sleep.port,
        state=sleep.state,
        active_slot=(status.get("rollout") or {}).get("activeSlot") or "",
        wake_timeout=limits.wake_timeout_seconds,
        max_held=limits.max_held_requests,
        concurrency=predictor.get("containerConcurrency") or 0,
        timeout=predictor.get("timeout") or _DEFAULT_TIMEOUT,
        refusal=_refusal(metadata, spec, sleep),
        failure=next((cause for cause in causes if cause.reason in FATAL), None),
        obstacle=next(iter(causes), None),
    )


def _limits(spec: Mapping[str, Any]) -> ScaleToZero:
    try:
        return ScaleToZero.model_validate((spec.get("autoscaling") or {}).get("scaleToZero") or {})
    except ValidationError:
        return ScaleToZero()


def _refusal(metadata: Mapping[str, Any], spec: Mapping[str, Any], sleep: SleepStatus) -> Refusal | None:
    if spec.get("suspend"):
        return refusal.suspended()
    if spec.get("replicas") == 0:
        return refusal.scaled_to_zero()
    if sleep.state == "Asleep" and names.ANNOTATION_PAUSED in (metadata.get("annotations") or {}):
        return refusal.paused(names.ANNOTATION_PAUSED)
    return None


def _causes(status: Mapping[str, Any], sleep: SleepStatus) -> list[Refusal]:
    """Those of the wake under way, the most telling first."""
    if sleep.state != "Waking":
        return []
    found = (Blocker.model_validate(each) for each in status.get("blockedBy") or ())
    return [Refusal(each.reason, each.message) for each in found if _is_of(sleep, each.since)]


def _is_of(sleep: SleepStatus, seen: datetime | None) -> bool:
    """Whether something was first seen in the state that the service is in. What is older is of the time before."""
    if seen is None or sleep.since is None:
        return False
    # The status has whole seconds; a time that has more must not make one of the same second older.
    return seen.replace(microsecond=0) >= sleep.since.replace(microsecond=0)
