"""Weights of a gateway's route, the pods behind them, and what keeps a gateway from leading requests nowhere."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.api.rollout import AbTest
from penstock.api.status import CanaryStatus, RolloutStatus
from penstock.controller import requeue
from penstock.desired import gateway
from penstock.names import Slot
from penstock.observed import http_route
from penstock.observed.answers import Answers
from penstock.observed.counters import Window
from penstock.observed.http_route import SeenRoute
from penstock.observed.values import Endpoints, Seen, SeenPod
from penstock.rollout.canary_counts import Counts, counts_behind_gateway
from penstock.rollout.decision import Decision

from tests.builders import T0, a_service, at, decided, facts, ready_pod, rolled_out, seen, under_way, unready
from tests.builders import pending as without_a_node

BLUE, GREEN = Slot.BLUE, Slot.GREEN
SERVICES = {"chat-blue": BLUE, "chat-green": GREEN}


@pytest.mark.parametrize(
    ("weight", "wanted", "max_unavailable", "expected"),
    [
        pytest.param(10, 4, 0, Counts(4, 1), id="a tenth of four, and enough for the other nine"),
        pytest.param(10, 4, 1, Counts(3, 1), id="no pod too many where one may be missing"),
        pytest.param(60, 3, 0, Counts(2, 2), id="both round up"),
        pytest.param(50, 4, 0, Counts(2, 2), id="what divides needs no pod too many"),
        pytest.param(1, 1, 0, Counts(1, 1), id="one pod"),
        pytest.param(99, 1, 1, Counts(1, 1), id="one pod, even if it may be missing"),
        pytest.param(0, 4, 0, Counts(4, 0), id="before the first step"),
        pytest.param(100, 4, 0, Counts(0, 4), id="after the last step"),
        pytest.param(50, 0, 0, Counts(0, 0), id="suspended"),
    ],
)
def test_the_pods_of_a_step_behind_a_gateway(weight: int, wanted: int, max_unavailable: int, expected: Counts) -> None:
    assert counts_behind_gateway(weight, wanted, max_unavailable) == expected


@given(st.integers(1, 99), st.integers(1, 50), st.integers(0, 3))
def test_the_canary_has_pods_enough_and_there_is_one_too_many_at_most(
    weight: int, wanted: int, max_unavailable: int
) -> None:
    pods = counts_behind_gateway(weight, wanted, max_unavailable)
    assert 100 * pods.canary >= weight * wanted
    assert min(pods.stable, pods.canary) >= 1
    assert pods.total <= wanted + 1


def a_route(
    *rules: dict[str, Any], generation: int = 2, verdicts: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    parents = [told_by("public", *verdicts)] if verdicts is not None else []
    return {
        "metadata": {"generation": generation, "namespace": "ml"},
        "spec": {"parentRefs": [{"name": "public"}], "rules": list(rules)},
        "status": {"parents": parents},
    }


def told_by(gateway: str, *verdicts: dict[str, Any]) -> dict[str, Any]:
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "ml", "name": gateway}
    return {"parentRef": parent, "conditions": list(verdicts)}


def verdict(kind: str = "Accepted", *, holds: bool = True, of: int = 2, **rest: str) -> dict[str, Any]:
    return {"type": kind, "status": str(holds), "observedGeneration": of, **rest}


def to(*backends: tuple[str, int], **rest: Any) -> dict[str, Any]:
    return {"backendRefs": [{"name": name, "weight": weight} for name, weight in backends], **rest}


class TestTheRoute:
    def test_at_rest_it_names_no_slot(self) -> None:
        assert http_route.parse(a_route(to(("chat", 1))), SERVICES) == SeenRoute()

    def test_a_route_that_no_gateway_looks_at_leads_nothing_anywhere(self) -> None:
        found = http_route.parse(a_route(to(("chat-blue", 90), ("chat-green", 0))), SERVICES)
        assert (found.is_taken, found.is_accepted) == (True, False)
        assert (found.may_send_to(BLUE), found.may_send_to(GREEN)) == (True, False)

    def test_what_a_gateway_has_not_acted_on_may_lead_anywhere(self) -> None:
        found = http_route.parse(a_route(to(("chat", 1)), verdicts=[verdict(of=1)]), SERVICES)
        assert found.may_send_to(BLUE)
        assert found.may_send_to(GREEN)

    def test_the_rule_for_marked_requests_is_told_from_the_one_for_everybody(self) -> None:
        marked = to(("chat-green", 1), matches=[{"headers": [{"name": "x", "value": "b"}]}])
        everybody = to(("chat", 1), matches=[{"path": {"type": "PathPrefix", "value": "/"}}])
        found = http_route.parse(a_route(marked, everybody, verdicts=[verdict()]), SERVICES)
        assert (found.variant, found.shares) == (GREEN, {})
        assert found.may_send_to(GREEN)

    @pytest.mark.parametrize(
        ("verdicts", "is_accepted", "refusal"),
        [
            pytest.param([verdict(), verdict("ResolvedRefs")], True, None, id="taken"),
            pytest.param([], False, None, id="not looked at"),
            pytest.param([verdict(of=1)], False, None, id="not acted on yet"),
            pytest.param(
                [verdict(holds=False, reason="No", message="not here")], False, "No: not here", id="not accepted"
            ),
            pytest.param(
                [verdict(), verdict("ResolvedRefs", holds=False, reason="BackendNotFound", message="x")],
                False,
                "BackendNotFound: x",
                id="accepted, but a Service is missing",
            ),
            pytest.param([verdict(), verdict("Programmed", holds=False)], True, None, id="a word that we do not know"),
        ],
    )
    def test_what_gateways_make_of_it(
        self, verdicts: list[dict[str, Any]], *, is_accepted: bool, refusal: str | None
    ) -> None:
        found = http_route.parse(a_route(to(("chat", 1)), verdicts=verdicts), SERVICES)
        assert (found.is_accepted, found.refusal) == (is_accepted, refusal)

    def test_one_gateway_that_leads_by_it_is_enough_and_what_another_says_is_told(self) -> None:
        about = a_route(to(("chat", 1)), verdicts=[verdict()])
        about["spec"]["parentRefs"].append({"name": "private"})
        about["status"]["parents"].append(told_by("private", verdict(holds=False, reason="No", message="not here")))
        found = http_route.parse(about, SERVICES)
        assert (found.is_taken, found.is_accepted, found.refusal) == (True, True, "No: not here")

    def test_a_gateway_that_the_route_names_no_more_has_nothing_to_say(self) -> None:
        about = a_route(to(("chat", 1)), verdicts=[verdict()])
        about["status"]["parents"].append(told_by("former", verdict(of=1, holds=False)))
        assert http_route.parse(about, SERVICES).is_accepted

    def test_one_that_has_not_made_up_its_mind_does_not_lead_by_it(self) -> None:
        undecided = verdict() | {"status": "Unknown"}
        assert not http_route.parse(a_route(to(("chat", 1)), verdicts=[undecided]), SERVICES).is_accepted


class TestTheMark:
    def test_a_header_is_matched_by_its_whole_value(self) -> None:
        test = AbTest.model_validate({"header": {"name": "X-Arm", "value": "b"}})
        assert gateway.marked_by(test) == {"headers": [{"type": "Exact", "name": "X-Arm", "value": "b"}]}

    @pytest.mark.parametrize(
        ("sent", "is_marked"),
        [
            pytest.param("arm=b", True, id="alone"),
            pytest.param("session=1; arm=b; x=y", True, id="among others"),
            pytest.param("session=1;arm=b", True, id="without a space"),
            pytest.param("arm=bc", False, id="a longer value"),
            pytest.param("charm=b", False, id="a longer name"),
            pytest.param("arm=a", False, id="the other arm"),
            pytest.param("note=arm=b", False, id="in another cookie's value"),
        ],
    )
    def test_a_cookie_is_found_among_others(self, sent: str, *, is_marked: bool) -> None:
        test = AbTest.model_validate({"cookie": {"name": "arm", "value": "b"}})
        (header,) = gateway.marked_by(test)["headers"]
        assert bool(re.fullmatch(header["value"], sent)) is is_marked

    def test_a_cookies_characters_mean_themselves(self) -> None:
        test = AbTest.model_validate({"cookie": {"name": "a.b", "value": "x*"}})
        (header,) = gateway.marked_by(test)["headers"]
        assert re.fullmatch(header["value"], "a.b=x*")
        assert not re.fullmatch(header["value"], "aXb=xx")


STEPS = [{"weight": 10, "pauseSeconds": 60}, {"weight": 60, "pauseSeconds": 60}]


def old(count: int) -> list[SeenPod]:
    return [ready_pod(f"old-{number}") for number in range(count)]


def new(count: int) -> list[SeenPod]:
    return [green(ready_pod(f"new-{number}", "v2")) for number in range(count)]


def green(pod: SeenPod) -> SeenPod:
    return replace(pod, slot=GREEN)


def at_step(step: int = 1, *, weight: int | None = 10, routed: int | None = 10, **rest: Any) -> RolloutStatus:
    canary = CanaryStatus(step=step, weight=weight, routed=routed)
    known: dict[str, Any] = {"strategy": "Canary", "phase": "Waiting", "shared_revision": "v2", "canary": canary}
    return under_way(**(known | rest))


def serving(
    status: RolloutStatus,
    *pods: SeenPod,
    wanted: int = 3,
    led: int | None = 10,
    steps: list[dict[str, Any]] | None = None,
    **told: Any,
) -> Seen:
    """Blue serves v1 and green v2 behind one Service; the route gives green `led` percent, and was taken."""
    service = a_service(
        status=status,
        rollout={"strategy": "Canary", "canary": {"steps": steps or STEPS}},
        is_behind_a_gateway=True,
        minReplicas=wanted,
        deploymentStrategy={"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
    )
    slots = {}
    for slot, revision in ((BLUE, "v1"), (GREEN, "v2")):
        inside = [pod for pod in pods if pod.slot == slot]
        ready = sum(pod.is_ready for pod in inside)
        slots[slot] = rolled_out(revision, len(inside), ready=ready, available=ready)
    names = frozenset(pod.name for pod in pods if pod.is_ready)
    shares = {} if led is None else {BLUE: 100 - led, GREEN: led}
    known: dict[str, Any] = {"shares": shares, "is_accepted": True}
    found = SeenRoute(**(known | told))
    return seen(service, *pods, slots=slots, endpoints=Endpoints(names, names), route=found)


def routed(decision: Decision) -> int | None:
    """Percent of the requests that the new revision is to get."""
    return decision.shares.get(GREEN)


class TestTheShare:
    def test_it_is_the_steps_own_once_there_are_pods_for_it(self) -> None:
        decision = decided(serving(at_step(), *old(3), *new(1)))
        assert (decision.phase, routed(decision)) == ("Waiting", 10)

    def test_on_the_way_to_the_next_step_it_follows_the_pods_that_answer(self) -> None:
        status = at_step(2, weight=60)
        assert routed(decided(serving(status, *old(3), *new(1)))) == 25
        assert routed(decided(serving(status, *old(2), *new(2)))) == 60

    def test_pods_without_a_node_take_no_requests(self) -> None:
        waits = green(without_a_node("new-1", "v2"))
        decision = decided(serving(at_step(2, weight=60), *old(2), *new(1), waits, led=33))
        assert routed(decision) == 33
        assert "33 % instead of 60 % by the route" in decision.message

    def test_nobody_is_led_to_a_slot_that_does_not_answer(self) -> None:
        silent = green(unready("new-0", "v2"))
        assert routed(decided(serving(at_step(), *old(3), silent))) == 0
        assert routed(decided(serving(at_step(), unready("old-0"), *new(1), wanted=1))) == 100

    def test_a_paused_rollout_comes_back_to_its_share_when_all_answer_again(self) -> None:
        paused = at_step(is_paused=True, phase="RolloutPaused")
        assert routed(decided(serving(paused, *old(3), *new(1), led=100))) == 10

    def test_a_share_that_somebody_wrote_is_not_taken_for_the_rollouts_own(self) -> None:
        paused = at_step(is_paused=True, phase="RolloutPaused")
        decision = decided(serving(paused, *old(3), *new(1), led=1000))
        assert decision.shares == {BLUE: 90, GREEN: 10}

    def test_an_autoscaler_finds_the_paused_share_and_not_that_of_the_pods(self) -> None:
        paused = at_step(is_paused=True, phase="RolloutPaused")
        decision = decided(serving(paused, *old(3), *new(1), wanted=6))
        assert (decision.slots[GREEN].replicas, routed(decision)) == (1, 10)
        assert "10 % by the route" in decision.message


class TestTheStep:
    def test_it_begins_when_the_gateway_leads_by_it(self) -> None:
        decision = decided(serving(at_step(), *old(3), *new(1), is_taken=False, is_accepted=False))
        assert (decision.phase, decision.rollout.canary and decision.rollout.canary.reached_at) == ("Scaling", None)

    def test_its_time_stands_while_the_gateway_refuses_the_route(self) -> None:
        reached = at_step(canary=CanaryStatus(step=1, weight=10, routed=10, reached_at=T0))
        about = serving(reached, *old(3), *new(1), is_accepted=False, refusal="No: not here")
        decision = decided(about, now=at(1000))
        assert (decision.phase, decision.rollout.canary and decision.rollout.canary.step) == ("Scaling", 1)
        assert "No: not here" in decision.message

    def test_a_deadline_that_the_gateway_let_pass_names_it(self) -> None:
        about = serving(
            at_step(phase="Scaling", available_replicas=1), *old(3), *new(1), is_taken=False, is_accepted=False
        )
        decision = decided(about, now=at(601))
        assert (decision.failed, decision.rollout.reason) == ("v2", "ProgressDeadlineExceeded")
        assert "the gateway has not taken the route yet" in decision.message

    def test_one_that_is_edited_begins_again(self) -> None:
        reached = at_step(canary=CanaryStatus(step=1, weight=10, routed=10, reached_at=T0))
        steps = [{"weight": 30, "pauseSeconds": 60}]
        about = serving(reached, *old(3), *new(1), led=30, steps=steps)
        answered = replace(about, answers=Answers(measured=(Window(requests=100), Window())))
        decision = decided(answered, now=at(1000))
        assert decision.rollout.canary is not None
        assert (decision.phase, decision.rollout.canary.reached_at) == ("Waiting", at(1000))


class TestTheWayBack:
    def back(self, *pods: SeenPod, **rest: Any) -> Decision:
        status = at_step(2, weight=60, routed=60, failed_revision="v2", reason="AbortedByUser", phase="Aborting")
        return decided(serving(status, *pods, **rest))

    def test_the_share_goes_down_with_the_pods_that_stay(self) -> None:
        decision = self.back(*old(2), *new(2), led=60)
        assert (decision.slots[BLUE].replicas, decision.slots[GREEN].replicas, routed(decision)) == (2, 1, 33)

    def test_the_last_pods_stay_until_nothing_is_led_to_them(self) -> None:
        decision = self.back(*old(3), *new(1), led=25)
        assert (decision.slots[GREEN].replicas, routed(decision)) == (1, 0)
        slow = self.back(*old(3), *new(1), led=0, is_taken=False)
        assert slow.slots[GREEN].replicas == 1
        assert slow.message.endswith("may send requests to the pods that are to go")
        assert self.back(*old(3), *new(1), led=0).slots[GREEN].replicas == 0

    def test_many_pods_go_only_when_the_gateway_sends_no_more_than_the_others_can_take(self) -> None:
        pods = [*old(2), unready("old-2"), *new(3)]
        decision = self.back(*pods, led=60)
        assert (decision.slots[GREEN].replicas, routed(decision)) == (3, 33)
        assert self.back(*pods, led=33, is_taken=False).slots[GREEN].replicas == 3
        assert self.back(*pods, led=33).slots[GREEN].replicas == 1

    def test_a_gateway_that_never_acts_holds_up_no_plan_for_what_comes_next(self) -> None:
        status = under_way(strategy="Canary", phase="RolledBack", failed_revision="v2", started_at=None)
        about = serving(status, *old(3), *new(1), led=None, is_taken=False, is_accepted=False)
        decision = decided(about, "v3", now=at(10_000))
        assert decision.failed is None
        assert decision.slots[GREEN].revision == "v2"
        assert decision.rollout.paused_at is not None

    def test_a_stable_pod_that_waits_for_the_place_of_a_new_one_gets_it_though_none_answers(self) -> None:
        """Without a gateway too: all traffic would stay with the revision that failed."""
        decision = self.back(without_a_node("old-0"), *new(2), wanted=2, led=100)
        assert decision.slots[GREEN].replicas == 1


def test_a_pass_that_has_taken_away_a_route_looks_again_for_nothing_tells_of_our_own_deletion() -> None:
    rested_on = seen(a_service(), ready_pod(), deployment=rolled_out(), route=SeenRoute({}, None, is_taken=True))
    assert requeue.look_again(facts(rested_on), T0) == timedelta(seconds=1)
    assert requeue.look_again(facts(replace(rested_on, route=None)), T0) is None
