"""The status as a whole: phases, KServe's words, what blocks, what is worth an Event."""

from dataclasses import replace
from typing import Any

import pytest
from penstock.api.status import InferenceServiceStatus
from penstock.names import Reason
from penstock.observed.values import Progress, Seen, SeenPod
from penstock.status.conditions import Facts, Problem
from penstock.status.status import Transition, status, transitions

from tests.builders import (
    DEADLINE,
    T0,
    a_service,
    at,
    crash_looping,
    during,
    facts,
    leaving,
    loading,
    pending,
    ready_pod,
    rolled_back,
    rolled_out,
    rolling,
    seen,
    stable_at,
    starting,
    under_way,
    unready,
    with_status,
)

CONFLICT = Problem(Reason.NAME_CONFLICT, "Service chat exists and is not ours")
SERVING = seen(a_service(status=stable_at("v1")), ready_pod(), deployment=rolled_out())


@pytest.mark.parametrize(
    ("given", "phase"),
    [
        pytest.param(facts(seen()), "Pending", id="nothing is there yet"),
        pytest.param(facts(seen(None, pending(), deployment=starting())), "Pending", id="no node for the pod"),
        pytest.param(facts(seen(None, loading(), deployment=starting())), "Loading", id="the model is loading"),
        pytest.param(
            facts(seen(None, crash_looping(), deployment=starting())), "Pending", id="a first deployment crashes"
        ),
        pytest.param(facts(SERVING), "Ready", id="it serves"),
        pytest.param(
            facts(during(under_way(), rolling(), ready_pod(), loading("new", "v2")), "v2"),
            "Progressing",
            id="it serves and is updated",
        ),
        pytest.param(
            facts(during(under_way(to="v1", stable=None), starting("v1", 2, 2, 1), ready_pod(), loading("b"))),
            "Ready",
            id="the first of two pods serves",
        ),
        pytest.param(
            facts(during(stable_at("v1"), starting("v1"), crash_looping())), "Degraded", id="what was stable crashes"
        ),
        pytest.param(
            facts(during(stable_at("v1"), starting("v1"), unready())), "Degraded", id="what was stable is not ready"
        ),
        pytest.param(
            facts(during(stable_at("v1"), starting("v1"), loading())), "Loading", id="a resumed service loads again"
        ),
        pytest.param(
            facts(during(rolled_back(), rolled_out(), ready_pod()), "v2"), "Degraded", id="an update was given up"
        ),
        pytest.param(facts(SERVING, problem=CONFLICT), "Degraded", id="a name is taken"),
        pytest.param(facts(SERVING, paused=""), "Paused", id="paused"),
        pytest.param(facts(seen(a_service(suspend=True))), "Suspended", id="suspended"),
        pytest.param(facts(seen(a_service(replicas=0))), "Suspended", id="scaled to zero"),
    ],
)
def test_the_phase_in_one_word(given: Facts, phase: str) -> None:
    assert status(given, T0).phase == phase


def test_a_status_that_was_written_is_not_written_again() -> None:
    about = during(under_way(), rolling(), ready_pod(), crash_looping("new", "v2"))
    first = status(facts(about, "v2"), T0)
    again = seen(with_status(about.service, first), *about.pods, deployment=about.deployment)
    # The rollout's own clock moves only with progress.
    assert status(facts(again, "v2", at(60)), at(60)) == first


@pytest.mark.parametrize(
    ("given", "transition", "active", "target"),
    [
        pytest.param(facts(seen()), "InProgress", None, "Pending", id="nothing is there yet"),
        pytest.param(facts(seen(None, loading(), deployment=starting())), "InProgress", None, "Loading", id="it loads"),
        pytest.param(facts(SERVING), "UpToDate", "Loaded", "Loaded", id="it serves"),
        pytest.param(
            facts(during(under_way(), rolling(), ready_pod(), loading("new", "v2")), "v2"),
            "InProgress",
            "Loaded",
            "Loading",
            id="the next one loads while the old one serves",
        ),
        pytest.param(
            facts(during(under_way(), rolling(), ready_pod(), crash_looping("new", "v2")), "v2"),
            "BlockedByFailedLoad",
            "Loaded",
            "FailedToLoad",
            id="the next one crashes while the old one serves",
        ),
        pytest.param(
            facts(seen(None, pending(), deployment=starting())), "InProgress", None, "Pending", id="it waits for a node"
        ),
        pytest.param(
            facts(during(rolled_back(), rolled_out(), ready_pod()), "v2"),
            "BlockedByFailedLoad",
            "Loaded",
            "FailedToLoad",
            id="rolled back",
        ),
        pytest.param(facts(seen(), problem=CONFLICT), "InvalidSpec", None, "Pending", id="a name is taken"),
    ],
)
def test_the_models_states_in_kserves_words(given: Facts, transition: str, active: str | None, target: str) -> None:
    model = status(given, T0).model_status
    assert model is not None
    assert model.states is not None
    assert model.transition_status == transition
    assert (model.states.active_model_state, model.states.target_model_state) == (active, target)


class TestLastFailure:
    def failing(self, about: Seen, current: str = "v2", now: Any = T0) -> Any:
        model = status(facts(about, current, now), now).model_status
        return model.last_failure_info if model else None

    def test_it_names_the_revision_the_exit_code_and_the_time(self) -> None:
        failure = self.failing(during(under_way(), rolling(), crash_looping("new", "v2", exit_code=3)))
        assert (failure.reason, failure.model_revision_name, failure.exit_code, failure.time) == (
            "CrashLooping",
            "v2",
            3,
            T0,
        )

    def test_it_outlives_the_pods_of_a_failed_update(self) -> None:
        crashed = during(under_way(), rolling(), ready_pod(), crash_looping("new", "v2"))
        after = with_status(crashed.service, status(facts(crashed, "v2", T0 + DEADLINE), T0 + DEADLINE))
        assert self.failing(seen(after, ready_pod(), deployment=rolled_out("v1"))).reason == "CrashLooping"

    def test_it_is_forgotten_when_all_is_well(self) -> None:
        crashed = during(under_way(to="v1", stable=None), starting(), crash_looping())
        after = with_status(crashed.service, status(facts(crashed), T0))
        assert self.failing(seen(after, ready_pod(), deployment=rolled_out("v1")), "v1") is None


def test_copies_are_pods_that_hold_the_model_and_pods_that_failed_to() -> None:
    pods = (ready_pod("a"), ready_pod("b"), crash_looping("c"), loading("d"), leaving(ready_pod("e")))
    model = status(facts(seen(None, *pods, deployment=starting("v1", 4, 4, 2))), T0).model_status
    assert model is not None
    assert model.copies is not None
    assert (model.copies.total_copies, model.copies.failed_copies) == (2, 1)


class TestRevisions:
    def predictor(self, about: Seen, current: str) -> tuple[str | None, ...]:
        components = status(facts(about, current), T0).components
        assert components is not None
        found = components.predictor
        return (
            found.latest_created_revision,
            found.latest_ready_revision,
            found.latest_rolledout_revision,
            found.previous_rolledout_revision,
        )

    def test_the_first_one_has_no_predecessor(self) -> None:
        assert self.predictor(SERVING, "v1") == ("v1", "v1", "v1", None)

    def test_one_under_way_is_created_and_not_ready(self) -> None:
        about = during(under_way(), rolling(), ready_pod(), loading("new", "v2"))
        assert self.predictor(about, "v2") == ("v2", "v1", "v1", None)

    def test_one_that_serves_beside_the_old_is_ready_and_not_rolled_out(self) -> None:
        about = during(under_way(), rolling(new_available=1), ready_pod(), ready_pod("new", "v2"))
        assert self.predictor(about, "v2") == ("v2", "v2", "v1", None)

    def test_after_an_update_the_one_before_is_remembered(self) -> None:
        first = with_status(a_service(), status(facts(SERVING), T0))
        done = with_status(
            first, status(facts(seen(first, ready_pod("new", "v2"), deployment=rolled_out("v2")), "v2"), T0)
        )
        about = seen(done, ready_pod("new", "v2"), deployment=rolled_out("v2"))
        assert self.predictor(about, "v2") == ("v2", "v2", "v2", "v1")


class TestBlockedBy:
    def test_the_cause_is_named_with_its_object_and_since_when(self) -> None:
        (blocker,) = status(facts(seen(None, pending(message="0/2 nodes"), deployment=starting())), T0).blocked_by
        assert (blocker.reason, blocker.object, blocker.message, blocker.since) == (
            "Unschedulable", "Pod/chat-0", "0/2 nodes", T0,
        )  # fmt: skip

    def test_a_cause_that_stays_keeps_its_time(self) -> None:
        about = seen(None, pending(), deployment=starting())
        later = with_status(about.service, status(facts(about), T0))
        again = seen(later, pending("another", message="0/3 nodes"), deployment=starting())
        assert status(facts(again), at(60)).blocked_by[0].since == T0

    def test_what_stops_the_service_as_a_whole_comes_first(self) -> None:
        about = seen(None, pending(), deployment=starting())
        found = status(facts(about, problem=CONFLICT), T0).blocked_by
        assert [blocker.reason for blocker in found] == ["NameConflict", "Unschedulable"]
        assert found[0].object == "InferenceService/chat"

    def test_it_is_empty_when_all_is_well(self) -> None:
        assert status(facts(SERVING), T0).blocked_by == []

    def test_it_stays_within_what_the_schema_allows(self) -> None:
        pods = [crash_looping(f"pod-{n}", f"v{n}") for n in range(60)]
        assert len(status(facts(seen(None, *pods, deployment=starting())), T0).blocked_by) == 32


@pytest.mark.parametrize(
    ("progress", "told"),
    [
        pytest.param(Progress(), None, id="nothing to tell"),
        pytest.param(Progress(5, 10, 2), (5, 10, 2), id="half way"),
        pytest.param(Progress(0, 10), (0, 10, None), id="about to begin"),
    ],
)
def test_the_download_is_told_while_there_is_one(progress: Progress, told: tuple[int, int | None, int | None]) -> None:
    found = status(facts(seen(None, loading(), deployment=starting(), progress=progress)), T0).download
    assert (found and (found.bytes, found.total_bytes, found.bytes_per_second)) == told


def test_the_scale_subresource_finds_its_numbers_and_its_pods() -> None:
    found = status(facts(during(stable_at("v1"), starting("v1", 3, 3, 2), ready_pod())), T0)
    assert (found.replicas, found.ready_replicas) == (3, 2)
    assert found.selector == "serving.penstock.dev/inferenceservice=chat,serving.penstock.dev/slot=blue"
    assert found.url == "http://chat.ml.svc"
    assert found.address is not None
    assert found.address.url == found.url


class TestTransitions:
    def told(self, before: Facts, after: Facts) -> list[Transition]:
        return transitions(status(before, T0), status(after, T0))

    def test_a_first_deployment_that_works_is_no_news(self) -> None:
        empty = InferenceServiceStatus()
        first = status(facts(seen()), T0)
        assert transitions(empty, first) == []
        assert transitions(first, status(facts(SERVING), T0)) == []

    def test_an_update_is_told_at_its_start_and_its_end(self) -> None:
        going = facts(during(under_way(), rolling(), ready_pod()), "v2")
        done = facts(during(under_way(), rolled_out("v2"), ready_pod("new", "v2")), "v2")
        assert self.told(facts(SERVING), going) == [
            Transition("RolloutStarted", "revision v2 is replacing v1 by RollingUpdate")
        ]
        assert self.told(going, done) == [Transition("RolloutCompleted", "revision v2 is rolled out")]

    def test_a_failed_update_is_a_warning_told_once(self) -> None:
        about = during(under_way(), rolling(), ready_pod())
        going, failed = facts(about, "v2"), facts(about, "v2", T0 + DEADLINE)
        (told,) = self.told(going, failed)
        assert (told.reason, told.is_warning) == ("ProgressDeadlineExceeded", True)
        assert self.told(failed, failed) == []

    def test_a_cause_is_told_when_it_appears(self) -> None:
        healthy: SeenPod = loading()
        before = facts(seen(None, healthy, deployment=starting()))
        after = facts(seen(None, pending(message="0/2 nodes"), deployment=starting()))
        assert self.told(before, after) == [Transition("Unschedulable", "Pod/chat-0: 0/2 nodes", True)]
        assert self.told(after, after) == []

    def test_a_name_conflict_is_told_once_and_not_twice(self) -> None:
        told = self.told(facts(SERVING), facts(SERVING, problem=CONFLICT))
        assert told == [Transition("NameConflict", CONFLICT.message, True)]

    def test_reverting_a_spec_in_mid_flight_is_no_completed_rollout(self) -> None:
        about = during(under_way(), rolling(), ready_pod())
        assert self.told(facts(about, "v2"), facts(about, "v1")) == []


def test_a_sidecar_that_keeps_the_pod_from_serving_is_named_and_is_no_failure_of_the_model() -> None:
    held_up = replace(crash_looping(exit_code=3), container="istio-proxy")
    told = status(facts(seen(None, held_up, deployment=starting())), T0)
    (blocker,) = told.blocked_by
    assert (blocker.reason, blocker.object) == ("CrashLooping", "Pod/chat-0")
    assert blocker.message == "container istio-proxy: exit code 3"
    model = told.model_status
    assert model is not None
    assert model.states is not None
    assert model.copies is not None
    assert (model.states.target_model_state, model.copies.failed_copies) == ("Pending", 0)
    assert (model.transition_status, model.last_failure_info) == ("InProgress", None)
