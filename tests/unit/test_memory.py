"""What a pass remembers of the rollout: by the status, and by the Service where that knows better."""

from typing import Any

import pytest
from penstock.api.status import AnalysisStatus, CanaryStatus, LastAction, RolloutStatus, SmokeTestStatus
from penstock.rollout import memory
from penstock.rollout.decision import RolloutFields

from tests.builders import T0, a_service, at, seen

PROMOTED = LastAction(number=2, verb="promote", id="b", result="Done", time=T0)
PAUSED = LastAction(number=1, verb="pause", id="a", result="Done", time=T0)


def remembered(status: RolloutStatus | None, on_the_service: RolloutStatus | None) -> RolloutStatus:
    """What a pass remembers that finds one in the status and the other on the Service."""
    noted = {} if on_the_service is None else memory.notes(on_the_service)
    about = seen(a_service(status=status), annotations=noted, templates=frozenset({"v1", "v2"}), current="v2")
    return memory.remembered(about, T0)


def rollout(**fields: Any) -> RolloutStatus:
    return RolloutStatus(**({"stable_revision": "v1", "current_revision": "v2"} | fields))


def test_a_wiped_status_is_rebuilt_from_the_service() -> None:
    told = remembered(None, rollout(failed_revision="v2", reason="SmokeTestFailed", last_action=PROMOTED))
    assert (told.stable_revision, told.failed_revision, told.reason) == ("v1", "v2", "SmokeTestFailed")
    assert told.last_action is not None
    assert (told.last_action.number, told.last_action.id) == (2, "b")
    assert told.is_promoted


def test_an_action_that_only_the_service_knows_of_has_been_carried_out() -> None:
    told = remembered(rollout(last_action=PAUSED), rollout(last_action=PROMOTED))
    assert told.is_promoted
    assert told.last_action is not None
    assert told.last_action.id == "b"


def test_an_action_that_only_the_status_knows_of_is_not_undone_by_an_older_one() -> None:
    # The Service was not written: hands were off, or the API server refused an object before it.
    status = rollout(last_action=PROMOTED, is_promoted=True, failed_revision="v2", reason="AbortedByUser")
    assert remembered(status, rollout(last_action=PAUSED)) == status


def test_an_action_for_an_earlier_revision_leaves_nothing_behind() -> None:
    told = remembered(None, rollout(current_revision="v1", last_action=PROMOTED))
    assert told.is_promoted is None
    assert told.last_action is not None
    assert told.last_action.id == "b"


def test_a_clock_that_was_set_back_leaves_no_time_ahead() -> None:
    later = at(3600)
    told = remembered(
        rollout(
            progressed_at=later,
            paused_at=later,
            tested_at=later,
            switched_at=later,
            canary=CanaryStatus(reached_at=later),
            analysis=AnalysisStatus(started_at=at(-10), last_sample_at=later),
            smoke_test=SmokeTestStatus(last_attempt_at=later),
        ),
        None,
    )
    assert (told.progressed_at, told.paused_at, told.tested_at, told.switched_at) == (T0, T0, T0, T0)
    assert (told.canary, told.smoke_test) == (CanaryStatus(reached_at=T0), SmokeTestStatus(last_attempt_at=T0))
    assert told.analysis == AnalysisStatus(started_at=at(-10), last_sample_at=T0)


def test_the_service_knows_which_revision_is_stable() -> None:
    assert remembered(rollout(stable_revision="v1"), rollout(stable_revision="v2")).stable_revision == "v2"


@pytest.mark.parametrize("note", ["promote:v2:b", "x:promote:v2:b", "2:promote", "-1:promote:v2:b"])
def test_a_note_that_somebody_else_wrote_is_no_action(note: str) -> None:
    annotations = memory.notes(rollout()) | {"penstock.dev/last-action": note}
    about = seen(a_service(), annotations=annotations, templates=frozenset({"v1"}), current="v2")
    assert memory.remembered(about, T0).last_action is None


def test_an_id_may_hold_colons() -> None:
    action = PROMOTED.model_copy(update={"id": "2026-01-01T12:00:00"})
    told = remembered(None, rollout(last_action=action)).last_action
    assert told is not None
    assert told.id == "2026-01-01T12:00:00"


def test_every_field_of_a_rollout_can_be_changed_and_no_other() -> None:
    assert {*RolloutFields.__annotations__} == {*RolloutStatus.model_fields}
