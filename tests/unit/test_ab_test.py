"""The A/B test of a BlueGreen rollout: where marked requests go, what is asked of the arms, and what follows."""

from dataclasses import replace
from typing import Any

import pytest
from penstock.api.status import AbTestArm, AbTestStatus, RolloutStatus
from penstock.names import Slot
from penstock.observed.answers import Answers, Verdict
from penstock.observed.counters import Window
from penstock.observed.http_route import SeenRoute
from penstock.observed.values import Seen, SeenPod
from penstock.rollout.decision import Decision

from tests.builders import T0, a_service, at, behind, decided, ready_pod, rolled_out, seen, under_way, unready

BLUE, GREEN = Slot.BLUE, Slot.GREEN
LED = SeenRoute(variant=GREEN, is_accepted=True)
TEST = {"header": {"name": "x-arm", "value": "b"}, "durationSeconds": 60, "minSamplesPerArm": 10}
ENOUGH = (Window(requests=100, errors=9), Window(requests=100))


def green(pod: SeenPod) -> SeenPod:
    return replace(pod, slot=GREEN)


OLD, NEW = ready_pod("old"), green(ready_pod("new", "v2"))


def begun(**rest: Any) -> AbTestStatus:
    """A test that began at T0."""
    known = {"mark": "header x-arm: b", "started_at": T0, "last_sample_at": T0, "ends_at": at(60)}
    return AbTestStatus(**{**known, **rest})


def place(
    test: AbTestStatus | None,
    *pods: SeenPod,
    route: SeenRoute | None = LED,
    auto_promote: bool = True,
    status: RolloutStatus | None = None,
    wanted: int = 1,
    metric: str = "ErrorRate",
    **rest: Any,
) -> Seen:
    """Blue serves v1 and green has v2 up, without traffic of its own unless the route marks some."""
    told = status or under_way(strategy="BlueGreen", phase="Waiting", ab_test=test)
    options = {
        "strategy": "BlueGreen",
        "smokeTest": {"enabled": False},
        "abTest": {**TEST, "metric": metric},
        "blueGreen": {"autoPromote": auto_promote},
    }
    service = a_service(status=told, rollout=options, is_behind_a_gateway=True, minReplicas=wanted)
    found = pods or (OLD, NEW)
    ready = sum(pod.is_ready for pod in found if pod.slot == GREEN)
    known: dict[str, Any] = {
        "slots": {BLUE: rolled_out("v1"), GREEN: rolled_out("v2", 1, ready=ready, available=ready)},
        "selected": BLUE,
        "endpoints": behind(*found),
        "route": route,
    }
    return seen(service, *found, **(known | rest))


def answered(about: Seen, now: float, *, arms: Any = ENOUGH, verdict: Verdict | str | None = None) -> Decision:
    """The decision when it has had its answers."""
    return decided(replace(about, answers=Answers(arms=arms, verdict=verdict)), now=at(now))


class TestLeading:
    def test_marked_requests_are_led_to_the_new_revision_once_it_is_tested(self) -> None:
        decision = decided(place(None, route=SeenRoute()))
        assert (decision.phase, decision.active, decision.variant) == ("Waiting", BLUE, GREEN)
        assert "the gateway has not taken the route yet" in decision.message

    def test_the_wait_for_the_gateway_has_the_deadline(self) -> None:
        decision = decided(place(None, route=SeenRoute()))
        assert decision.rollout.paused_at is None
        assert decision.requeue_at == decision.rollout.deadline_at

    def test_a_gateway_that_refuses_is_quoted(self) -> None:
        route = SeenRoute(variant=GREEN, refusal="NotAllowedByListeners: no")
        assert "NotAllowedByListeners: no" in decided(place(None, route=route)).message

    def test_a_paused_rollout_leads_nothing_anew(self) -> None:
        paused = under_way(strategy="BlueGreen", phase="RolloutPaused", is_paused=True)
        assert decided(place(None, route=SeenRoute(), status=paused)).variant is None

    def test_it_begins_with_a_look_when_the_gateway_leads_there(self) -> None:
        decision = decided(place(None))
        assert decision.asks.arms
        first = answered(place(None), 0, arms=(Window(), Window()))
        told = first.rollout.ab_test
        assert told is not None
        assert (told.started_at, told.ends_at, first.rollout.paused_at) == (T0, at(60), T0)
        assert first.requeue_at == at(10)

    def test_who_met_the_new_revision_goes_on_meeting_it_until_the_switch(self) -> None:
        scaling = under_way(strategy="BlueGreen", phase="Scaling", latched_replicas=2, ab_test=begun())
        assert decided(place(None, status=scaling)).variant is GREEN

    def test_at_the_switch_everybody_is_led_alike(self) -> None:
        promoted = under_way(strategy="BlueGreen", phase="Waiting", is_promoted=True, ab_test=begun())
        decision = decided(place(None, status=promoted))
        assert (decision.phase, decision.active, decision.variant) == ("Switching", GREEN, None)

    def test_pods_that_stop_answering_get_no_marked_requests(self) -> None:
        gone = green(unready("new", "v2"))
        decision = decided(place(begun(), OLD, gone))
        assert (decision.phase, decision.variant) == ("Preparing", None)

    def test_a_wiped_status_leads_on_and_counts_anew(self) -> None:
        decision = decided(place(None))
        assert (decision.variant, decision.asks.arms) == (GREEN, True)

    def test_with_another_mark_it_begins_anew_when_the_gateway_goes_by_that(self) -> None:
        decision = decided(place(begun(mark="header x-arm: c", b=AbTestArm(requests=500))), now=at(70))
        assert (decision.rollout.ab_test, decision.variant, decision.asks.arms) == (None, GREEN, False)
        assert "its mark has changed" in decision.message

    def test_pods_that_an_autoscaler_wants_besides_do_not_interrupt_it(self) -> None:
        decision = decided(place(begun(), wanted=2), now=at(10))
        assert (decision.phase, decision.asks.arms, decision.slots[GREEN].replicas) == ("Waiting", True, 2)

    def test_a_deadline_that_the_gateway_let_pass_names_it(self) -> None:
        status = decided(place(None, route=SeenRoute())).rollout
        decision = decided(place(None, route=SeenRoute(), status=status), now=at(700))
        assert decision.failed == "v2"
        assert "the gateway has not taken the route yet" in decision.message

    def test_a_newer_revision_waits_until_nothing_is_led_to_the_pods_that_it_replaces(self) -> None:
        decision = decided(place(begun()), current="v3")
        assert decision.variant is None
        assert (decision.slots[GREEN].revision, decision.slots[GREEN].replicas) == ("v2", 1)
        assert decision.message.endswith("may send requests to the pods that are to go")
        assert decision.rollout.paused_at == T0
        later = decided(place(begun(), route=SeenRoute()), current="v3")
        assert later.slots[GREEN].revision == "v3"


class TestLooking:
    def test_the_arms_are_looked_at_every_interval(self) -> None:
        assert not decided(place(begun()), now=at(9)).asks.arms
        assert decided(place(begun()), now=at(9)).requeue_at == at(10)
        assert decided(place(begun()), now=at(10)).asks.arms

    def test_what_they_counted_adds_up(self) -> None:
        told = answered(place(begun()), 10, arms=(Window(requests=7, errors=1), Window(requests=3))).rollout.ab_test
        assert told is not None
        assert (told.a.requests, told.a.errors, told.b.requests, told.last_sample_at) == (7, 1, 3, at(10))

    def test_one_pass_counts_a_look_once_however_often_it_decides(self) -> None:
        about = place(begun())
        judged = answered(about, 60, verdict=Verdict("B", 0.01, -9.0)).rollout.ab_test
        assert judged is not None
        assert judged.a.requests == 100

    def test_pods_that_tell_no_counts_are_named_as_what_it_waits_for(self) -> None:
        decision = answered(place(begun()), 60, arms=(Window(), Window()))
        assert "the actions promote and abort end it" in decision.message

    def test_a_paused_test_is_not_looked_at(self) -> None:
        paused = under_way(strategy="BlueGreen", phase="RolloutPaused", is_paused=True, ab_test=begun())
        decision = decided(place(None, status=paused), now=at(100))
        assert (decision.asks.arms, decision.requeue_at, decision.variant) == (False, None, GREEN)


class TestJudging:
    def test_a_complete_test_is_judged_in_the_pass_of_its_last_look(self) -> None:
        decision = answered(place(begun()), 60)
        judged = decision.asks.judge
        assert judged is not None
        assert (judged.a.errors, judged.b.errors) == (9, 0)

    def test_too_few_requests_are_waited_for(self) -> None:
        decision = answered(place(begun()), 60, arms=(Window(requests=100), Window(requests=9)))
        assert (decision.phase, decision.asks.judge, decision.requeue_at) == ("Waiting", None, at(70))

    def test_a_new_revision_that_wins_takes_over(self) -> None:
        decision = answered(place(begun()), 60, verdict=Verdict("B", 0.01, -9.0))
        assert (decision.phase, decision.active) == ("Switching", GREEN)
        assert decision.rollout.ab_test is not None
        assert decision.rollout.ab_test.result is not None

    def test_one_that_loses_is_given_up_and_its_pods_stay_until_nothing_is_led_there(self) -> None:
        decision = answered(place(begun()), 60, verdict=Verdict("A", 0.01, 9.0))
        assert (decision.failed, decision.rollout.reason) == ("v2", "ABTestLost")
        assert (decision.active, decision.variant, decision.slots[GREEN].replicas) == (BLUE, None, 1)

    @pytest.mark.parametrize(
        ("verdict", "auto_promote"),
        [
            pytest.param(Verdict(None, 0.4, 0.1), True, id="where nobody wins"),
            pytest.param(Verdict("B", 0.01, -9.0), False, id="where nothing is promoted by itself, though B wins"),
            pytest.param(Verdict("A", 0.01, 9.0), False, id="where nothing is promoted by itself, though A wins"),
        ],
    )
    def test_a_person_is_asked(self, verdict: Verdict, *, auto_promote: bool) -> None:
        decision = answered(place(begun(), auto_promote=auto_promote), 60, verdict=verdict)
        assert (decision.phase, decision.failed, decision.active, decision.variant) == ("Waiting", None, BLUE, GREEN)
        assert "the actions promote, abort and retry" in decision.message
        assert (decision.requeue_at, decision.asks.judge) == (None, None)

    @pytest.mark.parametrize("metric", ["ErrorRate", "Latency"])
    def test_one_that_refuses_what_the_stable_one_answers_is_given_up_without_a_test(self, metric: str) -> None:
        """It has no errors, and is never timed."""
        about = place(begun(), metric=metric)
        decision = answered(about, 60, arms=(Window(400, errors=9, refused=4), Window(340, refused=340)))
        assert (decision.failed, decision.rollout.reason, decision.asks.judge) == ("v2", "ABTestLost", None)
        assert (
            "A is better: with B 100 % of 340 requests refused (4xx), 99 points more than A's 1 %" in decision.message
        )

    def test_a_judgement_that_fails_is_tried_again_after_an_interval_with_the_same_counts(self) -> None:
        failed = answered(place(begun()), 60, verdict="no answer within 60 s").rollout.ab_test
        assert failed is not None
        assert "no answer within 60 s" in failed.message
        assert decided(place(failed), now=at(69)).asks.judge is None
        assert decided(place(failed), now=at(70)).asks.judge == failed
        assert not decided(place(failed), now=at(70)).asks.arms


class TestActions:
    def acted(self, action: str, test: AbTestStatus | None, **rest: Any) -> Decision:
        about = place(test, **rest)
        metadata = about.service.metadata.model_copy(update={"annotations": {"penstock.dev/action": f"{action}:1"}})
        return decided(replace(about, service=about.service.model_copy(update={"metadata": metadata})), now=at(5))

    def test_promote_leaves_it_out(self) -> None:
        decision = self.acted("promote", begun())
        assert (decision.phase, decision.active) == ("Switching", GREEN)

    def test_retry_counts_anew(self) -> None:
        decision = self.acted("retry", begun(message="old"))
        assert decision.rollout.ab_test is None
        assert (decision.variant, decision.asks.arms) == (GREEN, True)

    def test_retry_is_refused_once_it_takes_over(self) -> None:
        scaling = under_way(strategy="BlueGreen", phase="Scaling", latched_replicas=2, ab_test=begun())
        last = self.acted("retry", None, status=scaling).rollout.last_action
        assert last is not None
        assert last.result == "Refused"

    def test_abort_ends_it(self) -> None:
        decision = self.acted("abort", begun())
        assert (decision.failed, decision.variant) == ("v2", None)
