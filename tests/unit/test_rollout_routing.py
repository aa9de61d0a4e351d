"""Weights of a gateway's route, the pods behind them, and what keeps a gateway from leading requests nowhere."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.api.rollout import AbTest
from penstock.desired import gateway
from penstock.names import Slot
from penstock.rollout import route
from penstock.rollout.route import SeenRoute
from penstock.rollout.shares import Counts, counts_behind_gateway

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
    parents = [{"conditions": verdicts}] if verdicts is not None else []
    return {"metadata": {"generation": generation}, "spec": {"rules": list(rules)}, "status": {"parents": parents}}


def verdict(kind: str = "Accepted", *, holds: bool = True, of: int = 2, **rest: str) -> dict[str, Any]:
    return {"type": kind, "status": str(holds), "observedGeneration": of, **rest}


def to(*backends: tuple[str, int], **rest: Any) -> dict[str, Any]:
    return {"backendRefs": [{"name": name, "weight": weight} for name, weight in backends], **rest}


class TestTheRoute:
    def test_at_rest_it_names_no_slot(self) -> None:
        assert route.parse(a_route(to(("chat", 1))), SERVICES) == SeenRoute()

    def test_a_route_that_no_gateway_looks_at_leads_nothing_anywhere(self) -> None:
        found = route.parse(a_route(to(("chat-blue", 90), ("chat-green", 0))), SERVICES)
        assert (found.is_taken, found.is_accepted) == (True, False)
        assert (found.may_lead_to(BLUE), found.may_lead_to(GREEN)) == (True, False)

    def test_what_a_gateway_has_not_acted_on_may_lead_anywhere(self) -> None:
        found = route.parse(a_route(to(("chat", 1)), verdicts=[verdict(of=1)]), SERVICES)
        assert found.may_lead_to(BLUE)
        assert found.may_lead_to(GREEN)

    def test_the_rule_for_marked_requests_is_told_from_the_one_for_everybody(self) -> None:
        marked = to(("chat-green", 1), matches=[{"headers": [{"name": "x", "value": "b"}]}])
        everybody = to(("chat", 1), matches=[{"path": {"type": "PathPrefix", "value": "/"}}])
        found = route.parse(a_route(marked, everybody, verdicts=[verdict()]), SERVICES)
        assert (found.variant, found.shares) == (GREEN, {})
        assert found.may_lead_to(GREEN)

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
        found = route.parse(a_route(to(("chat", 1)), verdicts=verdicts), SERVICES)
        assert (found.is_accepted, found.refusal) == (is_accepted, refusal)


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
