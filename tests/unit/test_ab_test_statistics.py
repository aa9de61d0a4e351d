"""From what two arms count to what follows from their test."""

import math
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.api.rollout import AbTest, Analysis
from penstock.api.status import AbTestArm, AbTestStatus
from penstock.observed.answers import Verdict
from penstock.observed.counters import Window
from penstock.rollout import ab_test, ab_test_statistics

from tests.builders import T0, at

BOUNDS = (0.1, 1.0, 10.0, math.inf)
NOTHING = Window()
A_WINS, B_WINS, NOBODY_WINS = Verdict("A", 0.001, 2.5), Verdict("B", 0.001, -2.5), Verdict(None, 0.4321, 0.1)


def a_spec(**fields: Any) -> AbTest:
    """A minute, and a hundred requests of each."""
    return AbTest.model_validate(
        {"cookie": {"name": "arm", "value": "b"}, "durationSeconds": 60, "minSamplesPerArm": 100} | fields
    )


def seen(requests: float, errors: float = 0, *counts: float, bounds: tuple[float, ...] = BOUNDS) -> Window:
    """`counts`: requests that took up to each of the bounds."""
    return Window(requests, errors, tuple(zip(bounds, counts, strict=False)))


def after(*looks: tuple[float, Window, Window], spec: AbTest | None = None) -> AbTestStatus:
    """A test that began at T0, after looks of (seconds later, arm A, arm B)."""
    told = ab_test_statistics.begun(spec or a_spec(), T0)
    for seconds, a, b in looks:
        told = ab_test_statistics.counted(told, spec or a_spec(), a, b, at(seconds))
    return told


def counts(arm: AbTestArm) -> tuple[int, int, list[int]]:
    return arm.requests, arm.errors, arm.buckets


ENOUGH = (60.0, seen(100, 5), seen(100, 2))


class TestCounted:
    def test_it_begins_with_nothing_and_knows_its_end(self) -> None:
        told = ab_test_statistics.begun(a_spec(), T0)
        assert (told.started_at, told.last_sample_at, told.ends_at) == (T0, T0, at(60))
        assert (told.a, told.b, told.result) == (AbTestArm(), AbTestArm(), None)

    def test_looks_add_up_for_each_arm(self) -> None:
        told = after((10, seen(5, 1), seen(7)), (20, seen(6), seen(8, 2)))
        assert (counts(told.a), counts(told.b)) == ((11, 1, []), (15, 2, []))
        assert told.last_sample_at == at(20)

    def test_buckets_hold_what_lies_between_two_bounds(self) -> None:
        told = after((10, seen(9, 0, 2, 5, 8, 9), NOTHING), (20, seen(1, 0, 0, 0, 0, 1), seen(4, 0, 4, 4, 4, 4)))
        assert told.bounds == [0.1, 1.0, 10.0]
        assert (told.a.buckets, told.b.buckets) == ([2, 3, 3, 2], [4, 0, 0, 0])

    def test_a_look_that_saw_nothing_changes_no_count(self) -> None:
        told = after((10, seen(9, 1, 2, 5, 8, 9), seen(3)))
        again = ab_test_statistics.counted(told, a_spec(), NOTHING, seen(0, 0, 0, 0, 0, 0), at(20))
        assert (again.a, again.b, again.bounds) == (told.a, told.b, told.bounds)
        assert again.last_sample_at == at(20)

    @pytest.mark.parametrize(
        ("looks", "bounds", "a", "b"),
        [
            pytest.param(
                [(seen(9, 0, 2, 5, 8, 9), seen(6, 0, 4, 6, bounds=(1.0, math.inf)))],
                [1.0],
                [5, 4],
                [4, 2],
                id="the arms have other bounds",
            ),
            pytest.param(
                [(seen(9, 0, 2, 5, 8, 9), NOTHING), (seen(6, 0, 1, 4, 6, bounds=(0.1, 5.0, math.inf)), NOTHING)],
                [0.1],
                [3, 12],
                [],
                id="an arm's pods come back with other bounds",
            ),
            pytest.param(
                [(seen(9, 0, 2, 5, 8, 9), seen(6, 0, 4, 6, bounds=(7.0, math.inf)))],
                [],
                [9],
                [6],
                id="there are no common ones",
            ),
            pytest.param(
                [
                    (seen(9, 0, 2, 5, 8, 9), seen(6, 0, 4, 6, bounds=(7.0, math.inf))),
                    (seen(9, 0, 2, 5, 8, 9), seen(9, 0, 2, 5, 8, 9)),
                ],
                [],
                [18],
                [15],
                id="what was joined is not parted again",
            ),
            pytest.param(
                [(seen(9, 0, 6, 4, 8, 9), NOTHING)],
                [0.1, 1.0, 10.0],
                [6, 0, 2, 1],
                [],
                id="a sum that falls is held up",
            ),
            pytest.param([(seen(9, 0, 2, 5, 8), NOTHING)], [], [], [], id="without an end nobody knows how many"),
            pytest.param([(seen(9), seen(9))], [], [], [], id="nothing was timed"),
        ],
    )
    def test_buckets_are_joined_at_the_bounds_that_all_have(
        self, looks: list[tuple[Window, Window]], bounds: list[float], a: list[int], b: list[int]
    ) -> None:
        told = after(*((10 * number, *look) for number, look in enumerate(looks)))
        assert (told.bounds, told.a.buckets, told.b.buckets) == (bounds, a, b)

    def test_of_too_many_bounds_some_are_left_out(self) -> None:
        bounds = (*(float(bound) for bound in range(1, 201)), math.inf)
        look = seen(201, 0, *range(1, 202), bounds=bounds)
        told = after((10, look, look), (20, look, NOTHING))
        assert told.bounds == [float(bound) for bound in range(1, 201, 4)]
        assert (sum(told.a.buckets), sum(told.b.buckets)) == (402, 201)
        assert told.a.buckets == [2, *([8] * 49), 8]

    def test_nonsense_of_a_pod_stays_within_what_the_api_server_takes(self) -> None:
        endless = seen(math.inf, 1e300, 0, 1e300, 1e300, math.inf)
        told = after((10, endless, seen(3, 7)), (20, endless, NOTHING))
        assert counts(told.a) == (2**53 - 1, 2**53 - 1, [0, 2**53 - 1, 0, 0])
        assert counts(told.b) == (3, 3, [])

    def test_it_survives_the_status(self) -> None:
        told = after((10, seen(9, 1, 2, 5, 8, 9), seen(6, 0, 1, 2, 3, 6)))
        for each in (told, ab_test_statistics.concluded(told, a_spec(), B_WINS)):
            assert AbTestStatus.model_validate(each.to_dict()) == each

    LOOKS = st.lists(
        st.tuples(
            st.sets(st.sampled_from((0.1, 0.5, 1.0, 5.0))),
            st.lists(st.integers(0, 9), min_size=5, max_size=5),
            st.booleans(),
        ),
        max_size=6,
    )

    @given(LOOKS)
    def test_no_timed_request_is_lost_and_none_is_made_up(
        self, looks: list[tuple[set[float], list[int], bool]]
    ) -> None:
        told = ab_test_statistics.begun(a_spec(), T0)
        durations: dict[bool, list[int]] = {True: [0] * 5, False: [0] * 5}
        for kept, spread, is_b in looks:
            exact = tuple(zip((0.1, 0.5, 1.0, 5.0, math.inf), _ends(spread), strict=True))
            window = Window(sum(spread), 0, tuple(pair for pair in exact if pair[0] in kept or math.isinf(pair[0])))
            told = ab_test_statistics.counted(told, a_spec(), *((NOTHING, window) if is_b else (window, NOTHING)), T0)
            durations[is_b] = [old + new for old, new in zip(durations[is_b], spread, strict=True)]
        for is_b, arm in ((False, told.a), (True, told.b)):
            true = dict(zip((0.1, 0.5, 1.0, 5.0, math.inf), _ends(durations[is_b]), strict=True))
            expected = [true[bound] for bound in (*told.bounds, math.inf)]
            assert _ends(arm.buckets) == (expected if arm.buckets else [])
            assert sum(arm.buckets) == arm.requests

    def test_while_it_runs_it_tells_counts_and_not_who_is_ahead(self) -> None:
        told = after((10, seen(90, 80), seen(7)))
        assert told.message == (
            "90 requests of A and 7 of B, of 100 that each needs; it lasts until 2026-01-01 12:01:00 UTC at least"
        )
        assert ab_test.standing(told) == told.message

    def test_when_its_time_is_over_it_tells_what_is_missing(self) -> None:
        spec = a_spec(metric="Latency")
        told = after((60, seen(90, 0, 2, 5, 8, 90), seen(7)), spec=spec)
        assert told.message == "90 timed requests of A and 0 of B, of 100 that each needs"


class TestNextLook:
    @pytest.mark.parametrize(
        ("looks", "interval", "due"),
        [
            pytest.param([], None, at(10), id="an interval after the first look, which set the base"),
            pytest.param([10], None, at(20), id="an interval after the last one"),
            pytest.param([10], 3, at(13), id="the interval of the analysis"),
            pytest.param([55], None, at(60), id="the end, so that nothing is waited for in vain"),
            pytest.param([60], None, at(70), id="after the end, as long as requests are missing"),
        ],
    )
    def test_the_next_look_is_due(self, looks: list[float], interval: int | None, due: datetime) -> None:
        analysis = None if interval is None else Analysis(interval_seconds=interval)
        assert ab_test.next_measurement_at(after(*((seconds, NOTHING, NOTHING) for seconds in looks)), analysis) == due

    def test_a_test_that_has_not_begun_has_no_looks(self) -> None:
        with pytest.raises(ValueError, match="has not begun"):
            ab_test.next_measurement_at(AbTestStatus(), None)

    def test_what_could_not_be_judged_is_tried_again_after_an_interval(self) -> None:
        told = ab_test.not_judged(after(ENOUGH), "no answer within 60 s", at(130))
        assert ab_test.next_measurement_at(told, None) == at(140)
        assert ab_test_statistics.is_complete(told, a_spec())
        assert told.message.endswith("is tried again: no answer within 60 s")

    def test_however_much_there_is_to_say_about_it(self) -> None:
        assert len(ab_test.not_judged(after(ENOUGH), "x" * 5000, at(130)).message) == 4096


class TestIsComplete:
    @pytest.mark.parametrize(
        ("told", "spec", "is_complete"),
        [
            pytest.param(after(), {}, False, id="it has just begun"),
            pytest.param(after((59, seen(100), seen(100))), {}, False, id="requests are there, time is missing"),
            pytest.param(after((60, seen(100), seen(99))), {}, False, id="time is over, a request of B is missing"),
            pytest.param(after((60, seen(99), seen(100))), {}, False, id="time is over, a request of A is missing"),
            pytest.param(after((60, seen(100), seen(100))), {}, True, id="both are there"),
            pytest.param(
                after((60, seen(99), seen(100)), (600, seen(1), NOTHING)), {}, True, id="the last request came late"
            ),
            pytest.param(
                after((60, seen(100), seen(100))), {"metric": "Latency"}, False, id="nobody has timed the requests"
            ),
            pytest.param(
                after((60, seen(9, 0, 50, 50, 50, 100), seen(9, 0, 50, 50, 50, 100))),
                {"metric": "Latency"},
                True,
                id="timed requests are there",
            ),
            pytest.param(after((59, seen(100), seen(100))), {"durationSeconds": 50}, True, id="the time was shortened"),
            pytest.param(after(ENOUGH), {"durationSeconds": 70}, False, id="the time was extended"),
            pytest.param(
                ab_test_statistics.concluded(after(ENOUGH), a_spec(), NOBODY_WINS),
                {},
                False,
                id="it was judged: never twice",
            ),
            pytest.param(AbTestStatus(a=AbTestArm(requests=100)), {}, False, id="its beginning was lost"),
        ],
    )
    def test_whether_it_can_be_judged(self, told: AbTestStatus, spec: dict[str, Any], is_complete: bool) -> None:
        assert ab_test_statistics.is_complete(told, a_spec(**spec)) == is_complete


class TestJudgedByRefusals:
    SPEC = a_spec()

    @pytest.mark.parametrize(
        ("look", "winner"),
        [
            pytest.param((60.0, Window(100), Window(100, refused=11)), "A", id="too many more"),
            pytest.param((60.0, Window(100), Window(100, refused=10)), None, id="as many more as are allowed"),
            pytest.param((60.0, Window(100, refused=90), Window(100, refused=95)), None, id="clients err with both"),
            pytest.param((60.0, Window(100, refused=90), Window(100)), None, id="fewer"),
            pytest.param((59.0, Window(100), Window(100, refused=11)), None, id="its time is not over"),
            pytest.param((60.0, Window(100), Window(99, refused=99)), None, id="it has too few requests"),
        ],
    )
    def test_the_stable_revision_wins_if_the_new_one_refuses(
        self, look: tuple[float, Window, Window], winner: str | None
    ) -> None:
        result = ab_test_statistics.judged_by_refusals(after(look), self.SPEC, 10).result
        assert (result and result.winner) == winner

    def test_its_result_has_figures_and_no_statistics(self) -> None:
        look = (60.0, Window(100), Window(100, refused=50))
        told = ab_test_statistics.judged_by_refusals(after(look), self.SPEC, 10)
        assert told.result is not None
        assert told.result.to_dict() == {
            "winner": "A",
            "metric": "ErrorRate",
            "a": {"samples": 100, "errorRatePercent": 0},
            "b": {"samples": 100, "errorRatePercent": 0},
            "message": "A is better: with B 50 % of 100 requests refused (4xx), 50 points more than A's 0 %; at most "
            "10 are allowed",
        }
        assert AbTestStatus.model_validate(told.to_dict()) == told


class TestOutcome:
    @pytest.mark.parametrize(
        ("verdict", "auto_promote", "outcome"),
        [
            pytest.param(None, True, "running", id="nobody has judged yet"),
            pytest.param(B_WINS, True, "promote", id="the new revision is better"),
            pytest.param(A_WINS, True, "give-up", id="the stable revision is better"),
            pytest.param(NOBODY_WINS, True, "ask", id="there is no difference to decide by"),
            pytest.param(B_WINS, False, "ask", id="the better one is promoted by hand"),
            pytest.param(A_WINS, False, "ask", id="the worse one is given up by hand"),
        ],
    )
    def test_what_follows(self, verdict: Verdict | None, auto_promote: bool, outcome: str) -> None:
        told = after(ENOUGH) if verdict is None else ab_test_statistics.concluded(after(ENOUGH), a_spec(), verdict)
        assert ab_test.outcome(told, auto_promote=auto_promote) == outcome


class TestConcluded:
    def test_the_result_has_the_figures_of_both_arms(self) -> None:
        look = (60.0, seen(400, 20, 200, 400, 400, 400), seen(300, 3, 300, 300, 300, 300))
        result = ab_test_statistics.concluded(after(look), a_spec(), Verdict("B", 0.00412345678, -4)).result
        assert result is not None
        assert result.to_dict() == {
            "winner": "B",
            "metric": "ErrorRate",
            "pValue": 0.00412346,
            "effect": -4,
            "a": {"samples": 400, "errorRatePercent": 5, "p50Seconds": 0.1, "p95Seconds": 0.91},
            "b": {"samples": 300, "errorRatePercent": 1, "p50Seconds": 0.05, "p95Seconds": 0.095},
            "message": "B is better: 5 % of 400 requests failed with A, 1 % of 300 with B, p 0.0041",
        }

    def test_what_nobody_timed_has_no_quantiles(self) -> None:
        result = ab_test_statistics.concluded(after(ENOUGH), a_spec(), NOBODY_WINS).result
        assert result is not None
        assert result.a.to_dict() == {"samples": 100, "errorRatePercent": 5}

    @pytest.mark.parametrize(
        ("look", "metric", "verdict", "message"),
        [
            pytest.param(
                ENOUGH,
                "ErrorRate",
                NOBODY_WINS,
                "no significant difference at 5 %: 5 % of 100 requests failed with A, 2 % of 100 with B, p 0.43",
                id="no difference",
            ),
            pytest.param(
                (60.0, seen(100, 0, 100, 100, 100, 100), seen(100, 0, 0, 100, 100, 100)),
                "Latency",
                Verdict("A", 1e-30, 1.0),
                "A is better: a request takes longer with B than with A at a probability of 1, the median of 100 is "
                "0.05 s with A, of 100 0.55 s with B, p 1e-30",
                id="time",
            ),
            pytest.param(
                (60.0, seen(100, 0, 100, bounds=(math.inf,)), seen(100, 0, 100, bounds=(math.inf,))),
                "Latency",
                Verdict(None, 1.0, 0.5),
                "no significant difference at 5 %: a request takes longer with B than with A at a probability of 0.5, "
                "the median of 100 is unknown with A, of 100 unknown with B, p 1",
                id="no common bounds",
            ),
        ],
    )
    def test_the_message_says_what_was_found(
        self, look: tuple[float, Window, Window], metric: str, verdict: Verdict, message: str
    ) -> None:
        spec = a_spec(metric=metric)
        assert ab_test.standing(ab_test_statistics.concluded(after(look, spec=spec), spec, verdict)) == message


def _ends(buckets: list[int]) -> list[int]:
    return [sum(buckets[: number + 1]) for number in range(len(buckets))]
