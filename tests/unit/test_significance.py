"""What the statistical test of an A/B test says, and the process that makes it."""

import asyncio
import json
import math
import random
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise

import psutil
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from penstock.api.rollout import AbTestMetric
from penstock.api.status import AbTestArm
from penstock.observed.answers import Verdict
from penstock.pods.significance import CannotJudge, answer, judged, question, verdict


def arm(requests: int, errors: int = 0) -> AbTestArm:
    return AbTestArm(requests=requests, errors=errors)


def timed(*buckets: int) -> AbTestArm:
    return AbTestArm(requests=sum(buckets), buckets=list(buckets))


def two_sided(z: float) -> float:
    """Both tails of the normal curve beyond z."""
    return math.erfc(z / math.sqrt(2))


def two_proportions(a: AbTestArm, b: AbTestArm) -> float:
    """The p-value as a textbook has it: the difference of the shares, by its deviation under the pooled share."""
    pooled = (a.errors + b.errors) / (a.requests + b.requests)
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / a.requests + 1 / b.requests))
    return two_sided(abs(b.errors / b.requests - a.errors / a.requests) / deviation)


def share_of_slower(a: Sequence[int], b: Sequence[int]) -> float:
    """Every request of B against every one of A."""
    pairs = [(x, y, m * n) for x, m in enumerate(a) for y, n in enumerate(b)]
    return sum(n * (1.0 if y > x else 0.5 if x == y else 0.0) for x, y, n in pairs) / (sum(a) * sum(b))


def mann_whitney(a: Sequence[int], b: Sequence[int]) -> float:
    """The p-value with the variance corrected for ties, and half a rank for the step from whole ranks to a curve."""
    m, n = sum(a), sum(b)
    away = abs(share_of_slower(a, b) * m * n - m * n / 2)
    ties = sum(t**3 - t for t in map(sum, zip(a, b, strict=True)))
    variance = m * n / 12 * (m + n + 1 - ties / ((m + n) * (m + n - 1)))
    return min(two_sided((away - 0.5) / math.sqrt(variance)), 1.0)


class TestErrorRates:
    @pytest.mark.parametrize(
        ("a", "b", "winner"),
        [
            pytest.param(arm(1000, 50), arm(1000, 20), "B", id="fewer errors with B"),
            pytest.param(arm(1000, 20), arm(1000, 50), "A", id="fewer errors with A"),
            pytest.param(arm(1000, 20), arm(1000, 20), None, id="as many"),
            pytest.param(arm(1000, 20), arm(1000, 25), None, id="hardly more"),
            pytest.param(arm(1000), arm(1000), None, id="nobody failed"),
            pytest.param(arm(1000, 1000), arm(500, 500), None, id="everybody failed"),
            pytest.param(arm(1000, 1000), arm(1000), "B", id="all of A failed and none of B"),
            pytest.param(arm(2**53 - 1, 2**52), arm(2**53 - 1, 2**51), "B", id="more than anybody has seen"),
            pytest.param(arm(1_000_000, 10_000), arm(10, 9), "A", id="arms of unlike size"),
        ],
    )
    def test_the_winner_fails_less(self, a: AbTestArm, b: AbTestArm, winner: str | None) -> None:
        assert verdict("ErrorRate", a, b).winner == winner

    @pytest.mark.parametrize(
        ("a", "b"),
        [
            (arm(1000, 50), arm(1000, 20)),
            (arm(1000, 20), arm(1000, 25)),
            (arm(40, 1), arm(1000, 300)),
            (arm(120_000, 1_200), arm(13_000, 150)),
        ],
    )
    def test_the_p_value_is_the_textbooks(self, a: AbTestArm, b: AbTestArm) -> None:
        assert verdict("ErrorRate", a, b).p_value == pytest.approx(two_proportions(a, b), rel=1e-9)

    def test_the_effect_is_in_percentage_points_of_b_over_a(self) -> None:
        assert verdict("ErrorRate", arm(1000, 50), arm(1000, 20)).effect == pytest.approx(-3)

    def test_what_all_or_none_did_is_no_difference(self) -> None:
        assert verdict("ErrorRate", arm(1000), arm(20)) == Verdict(None, 1.0, 0.0)

    def test_an_arm_without_requests_cannot_be_compared(self) -> None:
        with pytest.raises(ValueError, match="without requests"):
            verdict("ErrorRate", arm(0), arm(1000, 5))

    ARM = st.integers(10, 10**6).flatmap(lambda requests: st.builds(arm, st.just(requests), st.integers(0, requests)))

    @given(ARM, ARM)
    def test_it_does_not_matter_which_arm_is_which(self, a: AbTestArm, b: AbTestArm) -> None:
        assert_is_mirrored("ErrorRate", a, b, none=0)

    @given(ARM)
    def test_an_arm_never_beats_itself(self, a: AbTestArm) -> None:
        found = verdict("ErrorRate", a, a)
        assert (found.winner, found.effect) == (None, 0)
        assert found.p_value == pytest.approx(1)

    @given(ARM, ARM)
    def test_it_agrees_with_the_textbook_everywhere(self, a: AbTestArm, b: AbTestArm) -> None:
        assume(0 < a.errors + b.errors < a.requests + b.requests)
        assert verdict("ErrorRate", a, b).p_value == pytest.approx(two_proportions(a, b), rel=1e-6, abs=1e-12)

    def test_two_arms_alike_differ_in_one_test_of_twenty(self) -> None:
        draw = random.Random(7)
        found = [verdict("ErrorRate", an_arm_that_fails(draw, 0.05), an_arm_that_fails(draw, 0.05)) for _ in range(800)]
        assert 0.03 < share_with_a_winner(found) < 0.07

    def test_a_real_difference_is_mostly_found(self) -> None:
        draw = random.Random(7)
        found = [verdict("ErrorRate", an_arm_that_fails(draw, 0.1), an_arm_that_fails(draw, 0.05)) for _ in range(100)]
        assert share_with_a_winner(found) > 0.8
        assert {each.winner for each in found if each.winner} == {"B"}


class TestLatencies:
    @pytest.mark.parametrize(
        ("a", "b", "winner"),
        [
            pytest.param(timed(100, 200, 700), timed(200, 300, 500), "B", id="B is quicker"),
            pytest.param(timed(200, 300, 500), timed(100, 200, 700), "A", id="A is quicker"),
            pytest.param(timed(200, 300, 500), timed(200, 300, 500), None, id="equally quick"),
            pytest.param(timed(200, 300, 500), timed(20, 30, 50), None, id="equally quick, and fewer"),
            pytest.param(timed(10, 980, 10), timed(490, 20, 490), None, id="only more scattered"),
            pytest.param(timed(0, 1000), timed(0, 1000), None, id="all in one bucket"),
            pytest.param(timed(1000, 0), timed(0, 1000), "A", id="each in a bucket of its own"),
            pytest.param(timed(2**52, 2**52), timed(2**52, 2**51), "B", id="more than anybody has seen"),
        ],
    )
    def test_the_winner_is_quicker(self, a: AbTestArm, b: AbTestArm, winner: str | None) -> None:
        assert verdict("Latency", a, b).winner == winner

    @pytest.mark.parametrize(
        ("a", "b"),
        [
            ((100, 200, 700), (200, 300, 500)),
            ((5, 3, 2), (4, 4, 2)),
            ((0, 40, 0, 9, 1), (70, 0, 1, 0, 2)),
            ((9_000, 30_000, 60_999), (9_100, 30_100, 60_799)),
        ],
    )
    def test_the_p_value_is_the_textbooks(self, a: tuple[int, ...], b: tuple[int, ...]) -> None:
        found = verdict("Latency", timed(*a), timed(*b))
        assert found.p_value == pytest.approx(mann_whitney(a, b), rel=1e-9)
        assert found.effect == pytest.approx(share_of_slower(a, b))

    def test_of_more_requests_than_fit_the_p_value_is_that_of_as_many_as_fit(self) -> None:
        a, b = (3_000_000, 7_000_000, 90_000_000), (3_010_000, 7_000_000, 89_990_000)
        fits = [[count // 1000 for count in counts] for counts in (a, b)]
        found = verdict("Latency", timed(*a), timed(*b))
        assert found.p_value == pytest.approx(mann_whitney(*fits), rel=1e-9)
        assert found.p_value > mann_whitney(a, b)

    def test_and_the_effect_is_that_of_all(self) -> None:
        a, b = (300_000, 700_001), (300_001, 700_000)
        assert verdict("Latency", timed(*a), timed(*b)).effect == pytest.approx(share_of_slower(a, b), abs=1e-12)

    def test_a_tail_of_rare_requests_is_not_rounded_away(self) -> None:
        tail = [1] * 30
        found = verdict("Latency", timed(1_000_000, *tail), timed(1_000_000, *tail))
        assert (found.winner, found.effect) == (None, 0.5)

    @pytest.mark.parametrize(
        ("a", "b"),
        [
            pytest.param(timed(), timed(), id="nothing was timed"),
            pytest.param(timed(0, 0), timed(1, 1), id="nothing of A was timed"),
            pytest.param(timed(1, 1), timed(1, 1, 1), id="buckets of their own"),
        ],
    )
    def test_what_has_no_common_buckets_cannot_be_compared(self, a: AbTestArm, b: AbTestArm) -> None:
        with pytest.raises(ValueError, match="cannot be compared"):
            verdict("Latency", a, b)

    ARM = st.lists(st.integers(0, 300), min_size=4, max_size=4).filter(any).map(lambda counts: timed(*counts))

    @given(ARM, ARM)
    def test_it_does_not_matter_which_arm_is_which(self, a: AbTestArm, b: AbTestArm) -> None:
        assert_is_mirrored("Latency", a, b, none=0.5)

    @given(ARM)
    def test_an_arm_never_beats_itself(self, a: AbTestArm) -> None:
        assert verdict("Latency", a, a) == Verdict(None, 1.0, 0.5)

    @given(ARM, ARM)
    def test_it_agrees_with_the_textbook_everywhere(self, a: AbTestArm, b: AbTestArm) -> None:
        assume(sum(1 for both in zip(a.buckets, b.buckets, strict=True) if any(both)) > 1)
        assert verdict("Latency", a, b).p_value == pytest.approx(mann_whitney(a.buckets, b.buckets), rel=1e-6)

    def test_two_arms_alike_differ_in_one_test_of_twenty(self) -> None:
        draw = random.Random(7)
        found = [verdict("Latency", an_arm_that_takes(draw, 1.0), an_arm_that_takes(draw, 1.0)) for _ in range(800)]
        assert 0.03 < share_with_a_winner(found) < 0.07

    def test_a_real_difference_is_mostly_found(self) -> None:
        draw = random.Random(7)
        found = [verdict("Latency", an_arm_that_takes(draw, 1.0), an_arm_that_takes(draw, 0.7)) for _ in range(100)]
        assert share_with_a_winner(found) > 0.8
        assert {each.winner for each in found if each.winner} == {"B"}


ENDLESS = AbTestArm().model_copy(update={"buckets": [10**15] * 2000})


LONGEST = timed(*[2**53 - 1] * 65)  # as many buckets, and as large counts, as a status may hold


class TestAnswer:
    """The child's work, done in this process: each child that tests a number takes seconds to load scipy."""

    @pytest.mark.parametrize(
        ("metric", "a", "b"),
        [
            ("ErrorRate", arm(1000, 50), arm(1000, 20)),
            ("Latency", timed(100, 200, 700), timed(200, 300, 500)),
            ("Latency", LONGEST, LONGEST),
        ],
    )
    def test_a_question_is_answered_with_the_verdict(self, metric: AbTestMetric, a: AbTestArm, b: AbTestArm) -> None:
        assert Verdict(**json.loads(answer(question(metric, a, b)))) == verdict(metric, a, b)

    @pytest.mark.parametrize(
        ("metric", "a", "b", "why"),
        [
            pytest.param("ErrorRate", arm(10, 11), arm(10), "more errors than requests", id="impossible counts"),
            pytest.param("ErrorRate", arm(0), arm(10), "without requests", id="an empty arm"),
            pytest.param("Latency", timed(1, 1), timed(1), "buckets of its own", id="unlike buckets"),
            pytest.param("Latency", ENDLESS, timed(1), "longer than", id="an endless question"),
        ],
    )
    def test_a_question_without_an_answer_is_refused(
        self, metric: AbTestMetric, a: AbTestArm, b: AbTestArm, why: str
    ) -> None:
        with pytest.raises(ValueError, match=why):
            answer(question(metric, a, b))


class TestJudged:
    async def test_a_process_of_its_own_says_the_same_and_the_event_loop_goes_on_meanwhile(self) -> None:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.01)
                beats += 1

        beating = asyncio.create_task(beat())
        found = await judged("Latency", LONGEST, LONGEST)
        beating.cancel()
        assert found == verdict("Latency", LONGEST, LONGEST)
        assert beats > 10  # Loading scipy takes a second; in this process it would be one beat.

    @pytest.mark.parametrize(
        ("a", "why"),
        [
            pytest.param(ENDLESS, "exit status 1: .*longer than", id="the child does not read to the end"),
            pytest.param(arm(10, 11), "exit status 1: .*more errors than requests", id="the child refuses the counts"),
        ],
    )
    async def test_the_childs_last_line_says_why_it_cannot_judge(self, a: AbTestArm, why: str) -> None:
        with pytest.raises(CannotJudge, match=why):
            await judged("Latency", a, timed(1))

    async def test_who_takes_too_long_is_ended(self) -> None:
        before = psutil.Process().children()
        with pytest.raises(CannotJudge, match=r"no answer within 0\.01 s"):
            await judged("ErrorRate", arm(1000, 50), arm(1000, 20), seconds=0.01)
        assert psutil.Process().children() == before

    async def test_nobody_is_left_when_nobody_waits_any_more(self) -> None:
        before = psutil.Process().children()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(judged("ErrorRate", arm(1000, 50), arm(1000, 20)), 0.05)
        assert psutil.Process().children() == before


def test_the_operators_own_process_never_loads_scipy() -> None:
    """Not even with `significance`, which the operator imports."""
    code = "import sys, penstock.controller.run; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(found.stdout.split())
    assert "penstock.pods.significance" in modules
    assert not modules & {"scipy", "numpy"}


def assert_is_mirrored(metric: AbTestMetric, a: AbTestArm, b: AbTestArm, *, none: float) -> None:
    """Swapping the arms swaps the winner and the sign of the effect, and a p-value is a probability."""
    one, other = verdict(metric, a, b), verdict(metric, b, a)
    assert 0 <= one.p_value <= 1
    assert one.p_value == pytest.approx(other.p_value, rel=1e-9)
    assert one.effect - none == pytest.approx(none - other.effect)
    assert other.winner == {"A": "B", "B": "A", None: None}[one.winner]


def share_with_a_winner(found: Sequence[Verdict]) -> float:
    return sum(1 for each in found if each.winner) / len(found)


def an_arm_that_fails(draw: random.Random, rate: float, requests: int = 600) -> AbTestArm:
    return arm(requests, sum(draw.random() < rate for _ in range(requests)))


def an_arm_that_takes(draw: random.Random, seconds: float, requests: int = 200) -> AbTestArm:
    """Exponential durations, in buckets."""
    bounds = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, math.inf)
    took = [draw.expovariate(1 / seconds) for _ in range(requests)]
    ends = [0, *(sum(each <= bound for each in took) for bound in bounds)]
    return timed(*(high - low for low, high in pairwise(ends)))
