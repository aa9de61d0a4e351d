"""What the commands read of a cluster's objects: the fields that they show, as small frozen values. Pure.

The API's own models take long to load, for checks that the API server has made already. A test compares the names,
types and defaults here with those of penstock.api.
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import Any, TypeVar, get_args, get_origin

from penstock import names
from penstock.kinds import Manifest

T = TypeVar("T")


class Unreadable(Exception):
    """An object is not as this version knows it; the message names the field."""


@dataclass(frozen=True, slots=True)
class Metadata:
    name: str
    namespace: str = ""
    generation: int = 0
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Condition:
    type: str
    status: str
    reason: str
    message: str
    last_transition_time: datetime


@dataclass(frozen=True, slots=True)
class Blocker:
    reason: str
    object: str
    message: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class SmokeTest:
    passed: tuple[str, ...] = ()
    failures: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Analysis:
    successes: int = 0
    failures: int = 0
    inconclusive: int = 0
    last_sample_at: datetime | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class AbTestResult:
    message: str = ""


@dataclass(frozen=True, slots=True)
class AbTest:
    ends_at: datetime | None = None
    result: AbTestResult | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Canary:
    share: str | None = None


@dataclass(frozen=True, slots=True)
class LastAction:
    verb: str
    id: str
    result: str
    message: str = ""
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    phase: str | None = None
    strategy: str | None = None
    plan: str | None = None
    stable_revision: str | None = None
    current_revision: str | None = None
    failed_revision: str | None = None
    active_slot: str | None = None
    preview_slot: str | None = None
    shared_revision: str | None = None
    started_at: datetime | None = None
    deadline_at: datetime | None = None
    paused_at: datetime | None = None
    tested_at: datetime | None = None
    gate_opens_at: datetime | None = None
    hold_ends_at: datetime | None = None
    latched_replicas: int | None = None
    canary: Canary | None = None
    smoke_test: SmokeTest | None = None
    analysis: Analysis | None = None
    ab_test: AbTest | None = None
    last_action: LastAction | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Sleep:
    state: str = "Awake"
    since: datetime | None = None
    quiet_since: datetime | None = None
    wake_seconds: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Autoscaling:
    metric: str
    target: int
    current: str | None = None
    desired: int | None = None
    ready: int = 0
    limited_by: str | None = None
    last_scale_time: datetime | None = None
    sleep: Sleep | None = None


@dataclass(frozen=True, slots=True)
class Status:
    observed_generation: int | None = None
    conditions: tuple[Condition, ...] = ()
    phase: str | None = None
    rollout: Rollout | None = None
    autoscaling: Autoscaling | None = None
    blocked_by: tuple[Blocker, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """An InferenceService. `source` is the whole object as the API server has it."""

    metadata: Metadata
    status: Status
    source: Manifest

    @property
    def rollout(self) -> Rollout:
        return self.status.rollout or Rollout()

    @property
    def vertical_mode(self) -> str | None:
        """What a vertical autoscaler does with its pods; None if it is to have none."""
        vertical = ((self.source.get("spec") or {}).get("autoscaling") or {}).get("vertical")
        return None if vertical is None else str(vertical.get("mode", "Off"))

    @property
    def requests(self) -> Mapping[str, Any]:
        """What the serving container is said to request."""
        predictor = (self.source.get("spec") or {}).get("predictor") or {}
        container: Manifest = predictor.get("model") or next(iter(predictor.get("containers") or ()), {})
        found: Mapping[str, Any] = (container.get("resources") or {}).get("requests") or {}
        return found


@dataclass(frozen=True, slots=True)
class SlotPods:
    """The revision and the pods of a slot, as its Deployment tells."""

    revision: str
    ready: int
    wanted: int


def service(found: Manifest) -> Service:
    """Raises Unreadable."""
    metadata = _read(Metadata, found["metadata"], "metadata")
    return Service(metadata, _read(Status, found.get("status") or {}, "status"), found)


def condition(service: Service, kind: names.Condition) -> Condition | None:
    return next((each for each in service.status.conditions if each.type == kind), None)


def slot_pods(deployment: Manifest) -> SlotPods:
    labels = deployment["spec"]["template"]["metadata"].get("labels") or {}
    return SlotPods(
        revision=labels.get(names.LABEL_REVISION, ""),
        ready=deployment.get("status", {}).get("readyReplicas", 0),
        wanted=deployment["spec"].get("replicas", 1),
    )


def _read(kind: type[T], found: Any, where: str) -> T:
    """The JSON as a value of that dataclass; fields that it does not know are left out. Raises Unreadable."""
    if not isinstance(found, dict):
        raise Unreadable(f"{where}: it is no object")
    keys = {each.name: _camel(each.name) for each in fields(kind)}  # type: ignore[arg-type]
    present = {name: key for name, key in keys.items() if found.get(key) is not None}
    hints = {each.name: each.type for each in fields(kind)}  # type: ignore[arg-type]
    try:
        return kind(**{name: _value(hints[name], found[key], f"{where}.{key}") for name, key in present.items()})
    except TypeError as error:
        raise Unreadable(f"{where}: {error}") from error


def _value(hint: Any, found: Any, where: str) -> Any:
    if get_origin(hint) is types.UnionType:  # Only `X | None`, and what is null counts as absent.
        return _value(get_args(hint)[0], found, where)
    if is_dataclass(hint):
        return _read(hint, found, where)  # type: ignore[arg-type]
    if get_origin(hint) is tuple and isinstance(found, list):
        return tuple(_value(get_args(hint)[0], item, f"{where}.{number}") for number, item in enumerate(found))
    if hint is datetime and isinstance(found, str):
        return _time(found, where)
    if not isinstance(found, get_origin(hint) or hint):
        raise Unreadable(f"{where}: {found!r} is not what belongs there")
    return found


def _time(found: str, where: str) -> datetime:
    try:
        return datetime.fromisoformat(found)
    except ValueError as error:
        raise Unreadable(f"{where}: {error}") from error


def _camel(name: str) -> str:
    first, *more = name.split("_")
    return first + "".join(word.capitalize() for word in more)
