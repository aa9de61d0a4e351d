"""What users are answered when they ask for something."""

from dataclasses import replace
from typing import Any

import pytest
from penstock.api.status import LastAction
from penstock.names import ANNOTATION_ACTION, Slot
from penstock.rollout import actions
from penstock.rollout.decision import Situation

from tests.builders import T0, a_service, rolled_out, seen, under_way


def answer(verb: str, *, beside: str = "v2", **rollout: Any) -> LastAction:
    """What is said to the action while a rollout from v1 to v2 is under way, and `beside` runs in the idle slot."""
    slots = {Slot.BLUE: rolled_out("v1"), Slot.GREEN: rolled_out(beside)}
    about = replace(seen(a_service(annotations={ANNOTATION_ACTION: f"{verb}:a1"}), slots=slots), current="v2")
    was = under_way(**{"strategy": "BlueGreen"} | rollout)
    told = actions.handled(Situation(about, was, T0, wanted=1, is_stopped=False, causes=())).recorded.last_action
    assert told is not None
    return told


@pytest.mark.parametrize(
    ("rollout", "follows"),
    [
        pytest.param({"phase": "Waiting"}, "takes over as soon as it is tested", id="at the gate"),
        pytest.param(
            {"phase": "RolloutPaused", "is_paused": True},
            "takes over as soon as it is tested and the rollout is resumed",
            id="at the gate, paused",
        ),
        pytest.param({"phase": "Holding", "switched_at": T0}, "is promoted; the old pods go", id="in the hold"),
        pytest.param(
            {"phase": "RolloutPaused", "switched_at": T0, "is_paused": True},
            "is promoted; the old pods go as soon as the rollout is resumed",
            id="in the hold, paused",
        ),
        pytest.param({"strategy": "Canary", "shared_revision": "v2"}, "goes on to its next step", id="at a step"),
        pytest.param(
            {"strategy": "Canary", "shared_revision": "v2", "is_paused": True},
            "goes on to its next step as soon as the rollout is resumed",
            id="at a step, paused",
        ),
    ],
)
def test_promote_says_what_follows_and_what_that_waits_for(rollout: dict[str, Any], follows: str) -> None:
    told = answer("promote", **rollout)
    assert (told.result, told.message) == ("Done", f"revision v2 {follows}")


def test_promote_full_waits_for_resume_too() -> None:
    told = answer("promote-full", is_paused=True)
    assert told.message == (
        "revision v2 takes over as soon as it is tested and the rollout is resumed, "
        "without soak, steps, analysis and hold"
    )


@pytest.mark.parametrize(
    ("shared", "beside"),
    [
        pytest.param(None, "v2", id="it has no traffic yet"),
        pytest.param("v0", "v0", id="an earlier one's pods still have it"),
    ],
)
def test_a_canary_without_traffic_has_no_step_to_leave(shared: str | None, beside: str) -> None:
    told = answer("promote", beside=beside, strategy="Canary", phase="Preparing", shared_revision=shared)
    assert (told.result, "promote-full" in told.message) == ("Refused", True)
