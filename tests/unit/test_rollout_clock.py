"""The rollout's clock: what counts as progress, what stops it, and what happens when it jumps."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from penstock import errors
from penstock.observed.values import Progress, SeenDeployment

from tests.builders import (
    DEADLINE,
    T0,
    at,
    decided,
    during,
    rolled_out,
    rolling,
    stable_at,
    under_way,
    unobserved,
)
from tests.place import Place

LATER = T0 + 3 * DEADLINE

ONE_OF_THREE = rolling(wanted=3, new_available=1, old=2)
TWO_OF_THREE = rolling(wanted=3, new=2, new_available=2, old=1)


@pytest.mark.parametrize(
    ("marks", "deployment", "progress", "has_progressed"),
    [
        pytest.param({}, ONE_OF_THREE, Progress(), True, id="one more available pod"),
        pytest.param({"available_replicas": 1}, ONE_OF_THREE, Progress(), False, id="the same pod"),
        pytest.param({"available_replicas": 2}, ONE_OF_THREE, Progress(), False, id="a pod that flaps"),
        pytest.param({"available_replicas": 1}, TWO_OF_THREE, Progress(), True, id="a second pod"),
        pytest.param({}, rolling(), Progress(bytes=1), True, id="a download that grows"),
        pytest.param({"loaded_bytes": 9}, rolling(), Progress(bytes=9), False, id="a download that stands"),
        pytest.param({"loaded_bytes": 9}, rolling(), Progress(bytes=2), False, id="a download that began again"),
        pytest.param({"loaded_bytes": 9}, rolling(), Progress(9, loaded_bytes=1), True, id="weights going into memory"),
        pytest.param({}, rolling("v1"), Progress(bytes=9), False, id="another revision's download"),
        pytest.param({}, unobserved("v2"), Progress(), False, id="another revision's pods"),
    ],
)  # fmt: skip
def test_what_counts_as_progress(
    marks: dict[str, Any], deployment: SeenDeployment, progress: Progress, has_progressed: bool
) -> None:
    decision = decided(during(under_way(**marks), deployment, progress=progress), now=at(60))
    assert decision.rollout.progressed_at == (at(60) if has_progressed else T0)
    assert decision.rollout.deadline_at == decision.requeue_at == decision.rollout.progressed_at + DEADLINE


def test_high_water_marks_never_fall() -> None:
    about = during(under_way(available_replicas=2, loaded_bytes=9), rolling(wanted=3, new_available=1, old=2))
    decision = decided(about)
    assert (decision.rollout.available_replicas, decision.rollout.loaded_bytes) == (2, 9)


def test_the_bytes_of_a_pod_that_became_available_are_no_bar_for_the_next() -> None:
    about = during(
        under_way(loaded_bytes=900), rolling(wanted=3, new=2, new_available=1, old=2), progress=Progress(bytes=10)
    )
    assert decided(about).rollout.loaded_bytes == 10


def test_what_the_old_pods_loaded_is_no_bar_for_the_new() -> None:
    about = during(stable_at("v1"), rolled_out("v1"), progress=Progress(bytes=900))
    assert decided(about).rollout.loaded_bytes is None


class TestStoppedClock:
    """Paused by the user, suspended, or at zero replicas: time does not count."""

    def test_an_overdue_rollout_does_not_fail_while_stopped(self) -> None:
        decision = decided(during(under_way(), rolling()), now=LATER, is_stopped=True)
        assert (decision.phase, decision.rollout.paused_at, decision.requeue_at) == ("Progressing", LATER, None)

    def test_it_remembers_since_when(self) -> None:
        decision = decided(during(under_way(paused_at=at(60)), rolling()), now=LATER, is_stopped=True)
        assert decision.rollout.paused_at == at(60)

    def test_time_that_was_stopped_is_given_back(self) -> None:
        decision = decided(during(under_way(paused_at=at(60)), rolling()), now=at(1000))
        assert (decision.rollout.paused_at, decision.rollout.progressed_at) == (None, at(940))

    def test_a_rollout_is_not_completed_while_stopped(self) -> None:
        # Zero pods of a suspended service would be a cheap success.
        assert decided(during(under_way(), rolled_out("v2")), is_stopped=True).phase == "Progressing"

    def test_a_rollout_that_starts_stopped_has_its_whole_deadline_afterwards(self) -> None:
        stopped = decided(during(stable_at("v1"), rolled_out("v1", 0)), now=T0, is_stopped=True)
        about = during(under_way(since=T0, paused_at=stopped.rollout.paused_at), rolling())
        assert decided(about, now=LATER).rollout.deadline_at == LATER + DEADLINE

    def test_a_stable_service_stays_stable(self) -> None:
        assert decided(during(stable_at("v1"), rolled_out("v1", 0)), "v1", is_stopped=True).phase == "Stable"


class TestPodsThatHaveNotBeenHeardYet:
    def test_an_operator_that_starts_after_the_deadline_hears_the_loading_pods_before_it_gives_up(self) -> None:
        late = T0 + DEADLINE
        about = during(under_way(since=T0), rolling(), progress=None)
        assert decided(about, now=late).failed is None
        heard = replace(about, progress=Progress(bytes=7))
        assert decided(heard, now=late).rollout.deadline_at == late + DEADLINE
        assert decided(replace(about, progress=Progress()), now=late).failed == "v2"


class TestClockJumps:
    def test_a_clock_set_back_hands_out_no_more_than_the_deadline(self) -> None:
        decision = decided(during(under_way(since=at(7200)), rolling()), now=T0)
        assert decision.rollout.deadline_at == T0 + DEADLINE

    def test_a_clock_set_back_while_paused_takes_no_time_away(self) -> None:
        decision = decided(during(under_way(since=T0 - timedelta(seconds=60), paused_at=at(7200)), rolling()), now=T0)
        assert decision.rollout.progressed_at == T0 - timedelta(seconds=60)

    def test_a_clock_set_forward_cannot_fail_what_is_complete(self) -> None:
        assert decided(during(under_way(), rolled_out("v2")), now=at(10**7)).phase == "Stable"


async def test_an_update_that_is_refused_for_long_is_not_given_up_but_goes_on_when_it_is_allowed() -> None:
    place = Place()
    await place.look()
    place.roll_out()
    await place.settle()
    stable = place.template_revision
    place.edit(nodeSelector={"zone": "a"})
    for _ in range(2):
        place.cluster.faults["apply", "Deployment"] = errors.QuotaExceeded(403, "Forbidden", "exceeded quota: gpus")
        await place.look()
        place.now += timedelta(days=1)
    assert place.status["rollout"]["phase"] == "Progressing"
    await place.settle()
    assert place.template_revision != stable
    assert place.condition("Stalled")[0] == "False"
