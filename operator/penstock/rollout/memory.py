"""The rollout as last recorded: in the status, and for the case that it was wiped, on the active Service.

The Service is written before the status, and in one write with its selector. So where the two differ, a pass was cut
off between them, and the Service is right; only where it could not be written does the status know of a later action.
Only what nothing else could tell is kept there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self, TypeVar

from penstock import names
from penstock.api.schema import Observation
from penstock.api.status import LastAction, RolloutPhase, RolloutStatus
from penstock.observed.values import Seen
from penstock.rollout import in_place
from penstock.rollout.decision import RolloutFields, changed

Part = TypeVar("Part", bound=Observation)


def remembered(seen: Seen, now: datetime) -> RolloutStatus:
    """The recorded rollout, with no time in it from which more than none has passed.

    A clock that was set back would make steps, holds and deadlines as much longer.
    """
    recorded = _recorded(seen)
    return changed(_none_later(recorded, now), started_at=recorded.started_at)


def _recorded(seen: Seen) -> RolloutStatus:
    """As the status has it, or the Service. Before the first update there is nothing on the Service."""
    recorded = seen.service.status.rollout or RolloutStatus()
    stable = seen.annotations.get(names.ANNOTATION_STABLE)
    if stable is None or stable not in seen.templates:
        return (
            recorded if recorded.stable_revision else changed(recorded, stable_revision=_first_stable(seen, recorded))
        )
    noted = _Noted.on(seen.annotations)
    if recorded.last_action is not None and recorded.last_action.number > noted.number:
        return recorded
    known = changed(recorded, stable_revision=stable, shared_revision=seen.annotations.get(names.ANNOTATION_SHARED))
    return _with_last_action(_with_failure(known, seen), seen, noted)


def notes(rollout: RolloutStatus) -> dict[str, str]:
    """What the active Service is to remember of it."""
    pairs = (
        (names.ANNOTATION_STABLE, rollout.stable_revision),
        (names.ANNOTATION_ACTIVE_SLOT, rollout.active_slot),
        (names.ANNOTATION_SHARED, rollout.shared_revision),
        (names.ANNOTATION_FAILED, rollout.failed_revision),
        (names.ANNOTATION_FAILED_BECAUSE, rollout.reason),
        (names.ANNOTATION_LAST_ACTION, _Noted.of(rollout)),
    )
    return {key: value for key, value in pairs if value}


def _none_later(status: Part, now: datetime) -> Part:
    late = {name: now for name, time in status if isinstance(time, datetime) and time > now and name not in _AHEAD}
    parts = {name: _none_later(part, now) for name, part in status if isinstance(part, Observation)}
    return status.model_copy(update={**late, **parts})


# These lie ahead by what they say, and follow from others in every pass.
_AHEAD: Final = frozenset({"deadline_at", "ends_at", "gate_opens_at", "hold_ends_at"})


@dataclass(frozen=True, slots=True)
class _Noted:
    """The last action as the Service has it: `number:verb:revision:id`."""

    number: int = 0
    verb: str = ""
    revision: str = ""
    id: str = ""

    @staticmethod
    def of(rollout: RolloutStatus) -> str | None:
        action = rollout.last_action
        return f"{action.number}:{action.verb}:{rollout.current_revision}:{action.id}" if action else None

    @classmethod
    def on(cls, annotations: Mapping[str, str]) -> Self:
        """None, number 0, where there is none or somebody wrote something else there."""
        number, *words = annotations.get(names.ANNOTATION_LAST_ACTION, "").split(":", 3)
        return cls(int(number), *words) if number.isdecimal() and len(words) == len(cls.__slots__) - 1 else cls()


def _with_failure(recorded: RolloutStatus, seen: Seen) -> RolloutStatus:
    """One that failed before the spec changed is of no interest any more."""
    failed = seen.annotations.get(names.ANNOTATION_FAILED)
    if failed != seen.current:
        return changed(recorded, failed_revision=None, reason=None, failure=None)
    if recorded.failed_revision == failed:
        return recorded
    because = seen.annotations.get(names.ANNOTATION_FAILED_BECAUSE)
    # Its status was wiped, or never written: in the latter case the way back has only begun.
    phase: RolloutPhase | None = "Aborting" if recorded.current_revision else None
    return changed(recorded, failed_revision=failed, reason=because, failure=None, phase=phase)


def _first_stable(seen: Seen, recorded: RolloutStatus) -> str | None:
    """The revision that runs, where it counts as rolled out although nothing has recorded that.

    A wiped status is rebuilt so. When the spec asks for another revision it is enough that some pods answer: what
    serves, be it 1 pod of 3, is worth protecting.
    """
    running = seen.deployment
    if running is None or running.revision not in seen.templates:
        return None
    is_left = running.revision != seen.current
    if is_left and any(pod.revision == running.revision for pod in seen.ready(seen.active)):
        return running.revision
    is_unknown = is_left or recorded.current_revision is None
    return running.revision if is_unknown and in_place.is_rolled_out(seen, running.revision) else None


def _with_last_action(recorded: RolloutStatus, seen: Seen, noted: _Noted) -> RolloutStatus:
    """An action that the Service knows and the status does not was carried out; only the record of it is lost."""
    if noted.number == 0 or (recorded.last_action is not None and recorded.last_action.number == noted.number):
        return recorded
    message = "carried out; how is not recorded any more"
    action = LastAction(number=noted.number, verb=noted.verb, id=noted.id, result="Done", message=message)
    after = changed(recorded, last_action=action)
    return changed(after, **_EFFECTS.get(noted.verb, {})) if noted.revision == seen.current else after


# What an action leaves behind besides the revisions that the Service remembers.
_EFFECTS: Final[Mapping[str, RolloutFields]] = {
    "promote": {"is_promoted": True},
    "promote-full": {"is_promoted": True, "is_fully_promoted": True},
    "pause": {"is_paused": True},
}
