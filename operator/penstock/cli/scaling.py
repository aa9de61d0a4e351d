"""What a service's autoscaling and its sleep are about, in words. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from penstock.cli.layout import relative
from penstock.cli.objects import Autoscaling, Service, Sleep, condition
from penstock.kinds import Manifest
from penstock.names import Condition, Reason

# Where an autoscaler has no say: there is a fixed number of pods, or none.
_NO_SAY: Final = (Reason.FIXED_SIZE, Reason.ASLEEP, Reason.SUSPENDED, Reason.SCALED_TO_ZERO_BY_USER)
_WAKES: Final = (
    "Any request to its URL wakes it, and is held until a pod answers. kubectl port-forward needs a pod: it cannot."
)
_SETS: Final = {"Off": "changes nothing", "Initial": "sets it in new pods"}
_MORE: Final = {
    "maxReplicas": "Raise spec.predictor.maxReplicas if it is to have more pods.",
    "minReplicas": "Lower spec.predictor.minReplicas, or the schedule's, if it is to have fewer pods.",
}


def of_autoscaler(service: Service, now: datetime) -> str:
    """What it sees and wants; empty where it has no say."""
    found, active = service.status.autoscaling, condition(service, Condition.AUTOSCALING_ACTIVE)
    if found is None or (active is not None and active.reason in _NO_SAY):
        return ""
    limit = f", limited by {found.limited_by}" if found.limited_by else ""
    last = f"; last changed {relative(found.last_scale_time, now)}" if found.last_scale_time else ""
    wanted = "nothing yet" if found.desired is None else str(found.desired)
    seen = f"{found.metric} {found.current or 'unknown'} of {found.target} per pod"
    return f"{seen}, wants {wanted}, {found.ready} ready{limit}{last}"


def of_sleep(service: Service, now: datetime) -> str:
    """The state of a service that may sleep, since when, and why; empty for all others."""
    sleep = _sleep(service)
    if sleep is None:
        return ""
    since = f", since {relative(sleep.since, now)}" if sleep.since else ""
    told = f": {sleep.message}" if sleep.message else ""
    quiet = f"; quiet since {relative(sleep.quiet_since, now)}" if sleep.quiet_since else ""
    return f"{sleep.state}{since}{told}{quiet}{_last_wake(sleep)}"


def of_vertical(service: Service, vertical: Manifest) -> str:
    """What it recommends for the serving container, beside what that requests."""
    recommendation = (vertical.get("status") or {}).get("recommendation") or {}
    # The operator's policy leaves out all other containers.
    recommended = next(iter(recommendation.get("containerRecommendations") or ()), None)
    mode = f"mode {service.vertical_mode}: {_SETS.get(service.vertical_mode or '', 'sets it')}"
    if recommended is None:
        return f"no recommendation yet ({mode})"
    container, target = recommended["containerName"], _amounts(recommended.get("target") or {})
    return f"recommends {target} for container {container}, which requests {_amounts(service.requests)} ({mode})"


def _amounts(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {amount}" for name, amount in sorted(found.items())) or "nothing"


def way_out(service: Service) -> str:
    """What would give it another number of pods."""
    found, sleep = service.status.autoscaling, _sleep(service)
    if sleep is not None and sleep.state == "Asleep":
        ready = condition(service, Condition.READY)
        return _WAKES if ready is not None and ready.reason == Reason.ASLEEP else ""
    return _MORE.get(found.limited_by or "", "") if found is not None else ""


def _sleep(service: Service) -> Sleep | None:
    found: Autoscaling | None = service.status.autoscaling
    return found.sleep if found is not None else None


def _last_wake(sleep: Sleep) -> str:
    return f"; the last wake took {sleep.wake_seconds} s" if sleep.wake_seconds is not None else ""
