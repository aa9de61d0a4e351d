"""From what pods count to a verdict on the revision."""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.api.rollout import Analysis
from penstock.api.status import AnalysisStatus
from penstock.observed import counters
from penstock.observed.counters import Counters, Window
from penstock.rollout import analysis
from penstock.rollout.analysis import Measurement
from penstock_server.metrics import REQUEST_BUCKETS, Metrics

from tests.builders import T0, at

BOUNDS = (0.1, 1.0, 10.0, math.inf)


def a_spec(**fields: Any) -> Analysis:
    return Analysis.model_validate(fields)


def counted(requests: float, errors: float = 0, *counts: float) -> Counters:
    """`counts`: requests that took up to each of BOUNDS."""
    return Counters(requests, errors, tuple(zip(BOUNDS, counts, strict=False)))


def seen(requests: float, errors: float = 0, *counts: float, refused: float = 0) -> Window:
    return Window(requests, errors, tuple(zip(BOUNDS, counts, strict=False)), refused)


def exposition(*requests: tuple[str, int, float], model: str = "tiny") -> str:
    """What our server exposes after these requests, each (route, status, seconds)."""
    metrics = Metrics(model)
    for route, code, seconds in requests:
        metrics.finished(route, code)(seconds)
    return metrics.expose().decode()


def slot(*requests: tuple[str, int, float]) -> Window:
    """What one pod of our server counts while it answers these requests."""
    found = counters.parse(exposition(*requests))
    assert found is not None
    return counters.lifetime({"pod": found})


class TestARevisionThatRefuses:
    """From what our server exposes to the verdict: a refusal is quick, and no error of the server's own."""

    STABLE = (*[("/predict", 200, 0.2)] * 99, ("/predict", 400, 0.002))
    DEFAULTS: Mapping[str, Any] = {}
    EVERYTHING: Mapping[str, Any] = {"maxLatencySeconds": {"seconds": 0.5}, "maxLatencyIncreasePercent": 20}

    @pytest.mark.parametrize("spec", [DEFAULTS, EVERYTHING], ids=["by default", "with every bound"])
    @pytest.mark.parametrize("code", [400, 404, 413, 429])
    def test_it_fails_if_it_refuses_everything(self, code: int, spec: Mapping[str, Any]) -> None:
        new, old = slot(*[("/predict", code, 0.002)] * 100), slot(*self.STABLE)
        assert analysis.judge(new, old, a_spec(**spec)).result == "failure"

    def test_refusals_do_not_make_a_slow_revision_look_quick(self) -> None:
        """As many as with the stable revision are refused at once: the median of all would be the time of those."""
        new = slot(*[("/predict", 200, 0.9)] * 12, *[("/predict", 400, 0.002)] * 88)
        old = slot(*[("/predict", 200, 0.2)] * 12, *[("/predict", 400, 0.002)] * 88)
        bound = a_spec(maxLatencySeconds={"quantile": "p50", "seconds": 0.5}, minRequests=10)
        assert analysis.judge(new, old, bound).result == "failure"


class TestParse:
    def test_requests_are_summed_over_all_routes_and_told_apart_by_their_status(self) -> None:
        codes = [200, 200, 400, 404, 429, 499, 500, 503, 511]
        found = counters.parse(exposition(*(("/predict", code, 0.02) for code in codes), ("/v1/embeddings", 200, 0.02)))
        assert found is not None
        assert (found.requests, found.errors, found.refused) == (10, 4, 3)
        assert counters.lifetime({"pod": found}).successes == 3

    def test_durations_are_summed_over_all_routes_bucket_by_bucket(self) -> None:
        found = counters.parse(
            exposition(("/predict", 200, 0.02), ("/v1/embeddings", 200, 0.2), ("/predict", 200, 999))
        )
        assert found is not None
        assert [bound for bound, _ in found.buckets] == [*REQUEST_BUCKETS, math.inf]
        counts = dict(found.buckets)
        assert [counts[bound] for bound in (0.01, 0.025, 0.1, 0.25, 600, math.inf)] == [0, 1, 1, 2, 2, 3]

    def test_only_successes_are_timed(self) -> None:
        found = counters.parse(exposition(*(("/predict", code, 0.02) for code in (200, 400, 404, 429, 499, 500, 504))))
        assert found is not None
        assert dict(found.buckets)[math.inf] == 1

    def test_all_requests_to_a_server_that_does_not_tell_them_apart_are_timed(self) -> None:
        """As servers before the label `code_class` do, and others that count as ours did then."""
        older = "\n".join(
            re.sub(',?code_class="[^"]*"', "", line)
            for line in exposition(("/predict", 200, 0.02), ("/predict", 400, 0.002)).splitlines()
        )
        found = counters.parse(older)
        assert found is not None
        assert (found.requests, found.refused, dict(found.buckets)[math.inf]) == (2, 1, 2)

    def test_a_server_that_has_answered_nothing_yet_has_counted_zero(self) -> None:
        assert counters.parse(exposition()) == Counters(0, 0, ())

    def test_a_name_of_a_model_cannot_break_the_lines(self) -> None:
        name = 'a"b\\c\nd\u2028e{f="g"} 7 #' * 20
        assert counters.parse(exposition(("/predict", 500, 0.02), model=name[:253])) == counters.parse(
            exposition(("/predict", 500, 0.02))
        )

    def test_what_counts_are_given_without_their_types_is_read_too(self) -> None:
        text = 'inference_requests_total{code="200"} 2\ninference_requests_total{code="500"} 1\n'
        assert counters.parse(text) == Counters(3, 1, ())

    def test_nothing_else_in_the_exposition_matters(self) -> None:
        theirs = f'other_total{{a="{"x" * 5000}"}} NaN\nnot an exposition at all {{{{\n'
        ours = exposition(("/predict", 200, 0.02))
        assert counters.parse(theirs + ours + theirs) == counters.parse(ours)

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("", id="nothing"),
            pytest.param("<html>", id="another page"),
            pytest.param("# TYPE http_requests_total counter\nhttp_requests_total 7\n", id="another server"),
            pytest.param("# TYPE inference_requests_in_flight gauge\ninference_requests_in_flight 7\n", id="a gauge"),
            pytest.param("inference_requests_total 7\n", id="requests without their status"),
            pytest.param('inference_requests_total{code="200"} NaN\n', id="no number"),
            pytest.param('inference_requests_total{code="200"} -1\n', id="less than nothing"),
            pytest.param('inference_requests_total{code="200"} +Inf\n', id="infinity"),
            pytest.param(f'inference_requests_total{{code="200"}} {"9" * 900}\n', id="more than a float holds"),
            pytest.param('inference_requests_total{code="200} 7\n', id="an open quote"),
            pytest.param("inference_requests_total{ =} 7\n", id="a label without a name"),
            pytest.param("# TYPE inference_requests_total\n", id="a type without a type"),
            pytest.param(f'inference_requests_total{{code="200",x="{"y" * 2000}"}} 7\n', id="a line without an end"),
            pytest.param(
                'inference_requests_total{code="200"} 7\ninference_request_duration_seconds_bucket{le="soon"} 7\n',
                id="a bound that is no number",
            ),
            pytest.param(
                'inference_requests_total{code="200"} 7\ninference_request_duration_seconds_bucket{le="NaN"} 7\n',
                id="a bound that is not a number",
            ),
            pytest.param(
                'inference_requests_total{code="200"} 7\ninference_request_duration_seconds_bucket 7\n',
                id="a bucket without its bound",
            ),
        ],
    )
    def test_what_are_no_counters_of_ours_are_none(self, text: str) -> None:
        assert counters.parse(text) is None

    @given(st.text(alphabet='{}"\\=, \n\t#_totalNaN+-.0e5Inf\u2028', max_size=60), st.booleans())
    def test_whatever_a_pod_answers_it_never_raises(self, junk: str, typed: bool) -> None:
        head = "# TYPE inference_requests_total counter\n" if typed else ""
        counters.parse(f"{head}inference_requests_total{junk}")
        counters.parse(f'{head}inference_requests_total{{code="200"{junk}}} 7')
        counters.parse(f"# TYPE inference_requests_total{junk}")
        counters.parse(f'inference_request_duration_seconds_bucket{{le="{junk}"}} 7')


class TestWindow:
    @pytest.mark.parametrize(
        ("before", "now", "expected"),
        [
            pytest.param({}, {}, seen(0), id="no pods"),
            pytest.param(
                {"a": counted(5, 1, 2, 5)}, {"a": counted(9, 2, 3, 9)}, seen(4, 1, 1, 4), id="what came since counts"
            ),
            pytest.param({"a": counted(5, 1)}, {"a": counted(5, 1)}, seen(0), id="nothing came"),
            pytest.param(
                {"a": counted(5, 0, 5), "b": counted(7, 0, 7)},
                {"a": counted(6, 1, 6), "b": counted(9, 1, 8)},
                seen(3, 2, 2),
                id="all pods together",
            ),
            pytest.param(
                {"a": counted(500, 9, 500)},
                {"a": counted(3, 1, 3)},
                seen(3, 1, 3),
                id="a restarted pod counts from zero",
            ),
            pytest.param(
                {"a": counted(5, 5, 5)},
                {"a": counted(8, 1, 8)},
                seen(8, 1, 8),
                id="its errors alone betray a restart",
            ),
            pytest.param(
                {"a": Counters(5, refused=5)}, {"a": Counters(8, refused=1)}, seen(8, refused=1), id="or its refusals"
            ),
            pytest.param(
                {"a": Counters(5, refused=5)}, {"a": Counters(8, refused=6)}, seen(3, refused=1), id="refusals count"
            ),
            pytest.param(
                {"a": counted(5, 0, 5, 5)},
                {"a": counted(8, 0, 1, 8)},
                seen(8, 0, 1, 8),
                id="and so do its durations",
            ),
            pytest.param(
                {"a": counted(5, 0, 5, 5)}, {"a": counted(8, 0, 8)}, seen(8, 0, 8), id="and a bound that is gone"
            ),
            pytest.param({}, {"a": counted(500, 9, 500)}, seen(0), id="a pod seen first sets its base"),
            pytest.param(
                {"a": counted(0)},
                {"a": counted(3, 1, 2, 3)},
                seen(3, 1, 2, 3),
                id="one that had answered nothing has one",
            ),
            pytest.param({"a": counted(5)}, {}, seen(0), id="a pod that is gone counts no more"),
        ],
    )
    def test_a_window_is_what_came_between_two_looks(
        self, before: Mapping[str, Counters], now: Mapping[str, Counters], expected: Window
    ) -> None:
        found = counters.window(before, now)
        assert (found.requests, found.errors, found.refused) == (expected.requests, expected.errors, expected.refused)
        assert {bound: n for bound, n in found.buckets if n} == {bound: n for bound, n in expected.buckets if n}

    NUMBERS = st.integers(0, 9)
    A_POD = st.builds(
        lambda requests, errors, refused, counts: Counters(requests, errors, tuple(sorted(counts.items())), refused),
        NUMBERS,
        NUMBERS,
        NUMBERS,
        st.dictionaries(st.sampled_from(BOUNDS), NUMBERS),
    )
    PODS = st.dictionaries(st.sampled_from("abc"), A_POD)

    @given(PODS, PODS)
    def test_a_window_is_never_negative(self, before: dict[str, Counters], now: dict[str, Counters]) -> None:
        found = counters.window(before, now)
        assert min(found.requests, found.errors, found.refused, *(count for _, count in found.buckets), 0) == 0

    @given(PODS, PODS)
    def test_a_window_holds_no_more_than_the_pods_have_counted(
        self, before: dict[str, Counters], now: dict[str, Counters]
    ) -> None:
        found = counters.window(before, now)
        assert found.requests <= sum(pod.requests for pod in now.values())
        assert found.errors <= sum(pod.errors for pod in now.values())


class TestQuantile:
    @pytest.mark.parametrize(
        ("rank", "counts", "seconds"),
        [
            pytest.param(0.5, (10, 10, 10, 10), 0.05, id="the first bucket begins at zero"),
            pytest.param(0.5, (0, 10, 10, 10), 0.55, id="half of a bucket is half of its width"),
            pytest.param(0.95, (90, 100, 100, 100), 0.55, id="the rank is counted from the bucket's own begin"),
            pytest.param(0.9, (90, 100, 100, 100), 0.1, id="a rank on a bound is the bound"),
            pytest.param(0.5, (0, 0, 0, 10), 10, id="beyond the last bound it is at least that"),
            pytest.param(0.99, (50, 100, 100, 100), 0.982, id="p99"),
            pytest.param(0.5, (10, 4, 10, 10), 0.05, id="counts that fall are held up"),
        ],
    )
    def test_requests_lie_evenly_within_their_bucket(
        self, rank: float, counts: tuple[float, ...], seconds: float
    ) -> None:
        assert counters.quantile(rank, seen(10, 0, *counts).buckets) == pytest.approx(seconds)

    @pytest.mark.parametrize(
        "buckets",
        [
            pytest.param((), id="there are no buckets"),
            pytest.param(((math.inf, 9.0),), id="there is only one"),
            pytest.param(((0.1, 9.0), (1.0, 9.0)), id="the last one has a bound"),
            pytest.param(((0.1, 0.0), (math.inf, 0.0)), id="they are empty"),
        ],
    )
    def test_there_is_no_quantile_if(self, buckets: counters.Buckets) -> None:
        assert counters.quantile(0.5, buckets) is None

    @given(
        st.lists(st.floats(0.0001, 599), min_size=1, max_size=60),
        st.sampled_from((0.5, 0.9, 0.95, 0.99)),
    )
    def test_a_quantile_lies_in_the_bucket_of_the_true_one(self, durations: list[float], rank: float) -> None:
        found = counters.parse(exposition(*(("/predict", 200, seconds) for seconds in durations)))
        assert found is not None
        estimate = counters.quantile(rank, found.buckets)
        true = sorted(durations)[math.ceil(rank * len(durations)) - 1]
        high = min(bound for bound in REQUEST_BUCKETS if bound >= true)
        low = max((bound for bound in REQUEST_BUCKETS if bound < true), default=0.0)
        assert estimate is not None
        assert low <= estimate <= high or estimate == pytest.approx(high)


QUICK = (100, 100, 100, 100)  # all within 0.1 s: the p95 is 0.095 s
SLOW = (0, 100, 100, 100)  # all between 0.1 and 1 s: the p95 is 0.955 s
LIMIT = {"maxLatencySeconds": {"seconds": 0.5}}
INCREASE = {"maxLatencyIncreasePercent": 20}


class TestJudge:
    @pytest.mark.parametrize(
        ("new", "old", "spec", "result"),
        [
            pytest.param(seen(0), seen(0), {}, "inconclusive", id="no data is never success"),
            pytest.param(seen(19), seen(0), {}, "inconclusive", id="one request too few tells nothing"),
            pytest.param(seen(19, 19), seen(0), {}, "inconclusive", id="even if all of them failed"),
            pytest.param(seen(20), seen(0), {}, "success", id="enough requests without an error"),
            pytest.param(seen(100, 5), seen(0), {}, "success", id="as many errors as are allowed"),
            pytest.param(seen(100, 6), seen(0), {}, "failure", id="one error more"),
            pytest.param(seen(100, 1), seen(0), {"maxErrorRatePercent": 0}, "failure", id="none is allowed"),
            pytest.param(seen(100, 100), seen(0), {"maxErrorRatePercent": 100}, "success", id="all are allowed"),
            pytest.param(seen(100, 6), seen(100, 100), {}, "failure", id="the old revision's errors excuse nothing"),
            pytest.param(seen(100, 0, *SLOW), seen(0), {}, "success", id="nobody asked how long it takes"),
            pytest.param(seen(100, 0, *QUICK), seen(0), LIMIT, "success", id="quick enough"),
            pytest.param(seen(100, 0, *SLOW), seen(0), LIMIT, "failure", id="too slow"),
            pytest.param(
                seen(100, 0, 60, 100, 100, 100),
                seen(0),
                {"maxLatencySeconds": {"quantile": "p50", "seconds": 0.5}},
                "success",
                id="half of them are quick, and more was not asked",
            ),
            pytest.param(seen(100), seen(0), LIMIT, "inconclusive", id="quick or not, nobody has timed them"),
            pytest.param(seen(100, 6), seen(0), LIMIT, "failure", id="errors need no clock"),
            pytest.param(seen(100, refused=10), seen(100), {}, "success", id="ten points more refusals than before"),
            pytest.param(seen(100, refused=11), seen(100), {}, "failure", id="eleven points more"),
            pytest.param(seen(100, refused=90), seen(100, refused=80), {}, "success", id="clients always erred"),
            pytest.param(seen(100), seen(100, refused=80), {}, "success", id="fewer refusals"),
            pytest.param(
                seen(100, refused=1), seen(100), {"maxRefusedIncreasePercent": 0}, "failure", id="no rise is allowed"
            ),
            pytest.param(
                seen(100, refused=100), seen(100), {"maxRefusedIncreasePercent": 100}, "success", id="every rise is"
            ),
            pytest.param(seen(100, refused=11), seen(19), {}, "inconclusive", id="nothing to compare refusals with"),
            pytest.param(seen(100, refused=10), seen(19), {}, "success", id="too few of them to compare"),
            pytest.param(
                seen(100, 0, 10, 10, 10, 10, refused=90),
                seen(100, refused=90),
                LIMIT,
                "inconclusive",
                id="too few successes to time",
            ),
            pytest.param(
                seen(100, 0, *SLOW), seen(100, 0, *SLOW), INCREASE, "success", id="no slower than the old one"
            ),
            pytest.param(seen(100, 0, *SLOW), seen(100, 0, *QUICK), INCREASE, "failure", id="slower than the old one"),
            pytest.param(seen(100, 0, *QUICK), seen(100, 0, *SLOW), INCREASE, "success", id="quicker than the old one"),
            pytest.param(
                seen(100, 0, *SLOW), seen(19, 0, *QUICK), INCREASE, "success", id="too few old requests to compare with"
            ),
            pytest.param(seen(100, 0, *SLOW), seen(100), INCREASE, "success", id="the old ones were not timed"),
            pytest.param(seen(100), seen(100, 0, *QUICK), INCREASE, "inconclusive", id="the new ones were not timed"),
            pytest.param(
                seen(100, 0, *SLOW), seen(100, 0, *SLOW), LIMIT | INCREASE, "failure", id="as slow as the old: too slow"
            ),
        ],
    )
    def test_the_verdict(self, new: Window, old: Window, spec: dict[str, Any], result: str) -> None:
        assert analysis.judge(new, old, a_spec(**spec)).result == result

    @pytest.mark.parametrize(
        ("percent", "result"), [(20, "failure"), (900, "failure"), (905, "failure"), (906, "success")]
    )
    def test_the_increase_is_a_share_of_the_old_ones_time(self, percent: float, result: str) -> None:
        spec = a_spec(maxLatencyIncreasePercent=percent)  # 0.955 s is 905.3 % more than 0.095 s.
        assert analysis.judge(seen(100, 0, *SLOW), seen(100, 0, *QUICK), spec).result == result

    @pytest.mark.parametrize(
        ("new", "spec", "message"),
        [
            (seen(7), {}, "7 requests are too few to tell: minRequests is 20"),
            (seen(40, 1, *QUICK), {}, "40 requests, 2.5 % failed (5xx or 429), p95 0.095 s"),
            (seen(40, refused=2), {}, "40 requests, 0 % failed (5xx or 429), 5 % refused (4xx)"),
            (seen(40, 4), {}, "10 % of 40 requests failed (5xx or 429); at most 5 % are allowed"),
            (
                seen(340, refused=41),
                {},
                "12.1 % of 340 requests refused (4xx), 12.1 points more than revision v1's 0 %; at most 10 are allowed",
            ),
            (
                seen(100, 5, *QUICK, refused=10),
                LIMIT | {"minRequests": 90},
                "85 of 100 requests succeeded: too few to tell how long they take: minRequests is 90",
            ),
            (seen(100, 0, *SLOW), LIMIT, "the p95 of 100 successes is 0.955 s; it may be 0.5 s"),
            (
                seen(100, 0, *SLOW),
                INCREASE,
                "the p95 is 0.955 s, more than 20 % above revision v1's 0.095 s",
            ),
            (seen(100), LIMIT, "the pods count requests, but not how long they took"),
        ],
    )
    def test_the_message_says_what_was_seen(self, new: Window, spec: dict[str, Any], message: str) -> None:
        told = analysis.judge(new, seen(100, 0, *QUICK), a_spec(**spec), stable="revision v1")
        assert told.message == message


SUCCESS, FAILURE, UNSURE = (
    Measurement("success", "fine"),
    Measurement("failure", "bad"),
    Measurement("inconclusive", "few"),
)


def looked(*looks: Measurement, began: datetime = T0) -> AnalysisStatus:
    """An analysis with a look every ten seconds."""
    told = analysis.record(None, None, began)
    for number, look in enumerate(looks):
        told = analysis.record(told, look, at(10 * number))
    return told


class TestRecord:
    def test_it_begins_without_a_look(self) -> None:
        assert analysis.record(None, None, T0) == AnalysisStatus(started_at=T0)

    def test_it_begins_with_a_look(self) -> None:
        told = analysis.record(None, SUCCESS, T0)
        assert told == AnalysisStatus(started_at=T0, last_sample_at=T0, successes=1, message="fine")

    def test_a_pass_without_a_look_changes_nothing(self) -> None:
        assert analysis.record(looked(SUCCESS), None, at(99)) == looked(SUCCESS)

    def test_every_look_counts_once_and_the_last_one_is_told(self) -> None:
        told = looked(SUCCESS, UNSURE, FAILURE, SUCCESS, UNSURE)
        assert (told.successes, told.failures, told.inconclusive, told.message) == (2, 1, 2, "few")
        assert (told.started_at, told.last_sample_at) == (T0, at(40))

    def test_it_survives_the_status(self) -> None:
        told = looked(SUCCESS, FAILURE, UNSURE)
        assert AnalysisStatus.model_validate(told.to_dict()) == told


class TestOutcome:
    @pytest.mark.parametrize(
        ("looks", "spec", "now", "outcome"),
        [
            pytest.param([], {}, T0, "running", id="it has just begun"),
            pytest.param([SUCCESS] * 6, {}, at(59), "running", id="success is not enough before the time is over"),
            pytest.param([SUCCESS], {}, at(60), "passed", id="one success and the time is over"),
            pytest.param([UNSURE, SUCCESS, UNSURE], {}, at(60), "passed", id="one look with data is enough"),
            pytest.param([FAILURE], {}, at(1), "failed", id="a failure ends it at once"),
            pytest.param([SUCCESS, FAILURE], {}, at(60), "failed", id="successes before it excuse no failure"),
            pytest.param([FAILURE], {"failureLimit": 2}, at(1), "running", id="a failure below the limit"),
            pytest.param([FAILURE, SUCCESS, FAILURE], {"failureLimit": 2}, at(30), "failed", id="not even in a row"),
            pytest.param([FAILURE, SUCCESS], {"failureLimit": 2}, at(60), "passed", id="failures below the limit pass"),
            pytest.param([], {}, at(60), "no-data", id="nobody looked"),
            pytest.param([UNSURE] * 6, {}, at(60), "no-data", id="nobody came"),
            pytest.param([UNSURE] * 6, {"onNoData": "Promote"}, at(59), "running", id="its time is waited for"),
            pytest.param([UNSURE] * 6, {"onNoData": "Promote"}, at(60), "passed", id="nobody came, and that will do"),
            pytest.param([UNSURE] * 9 + [SUCCESS], {}, at(90), "passed", id="somebody came late"),
            pytest.param([FAILURE, UNSURE], {"failureLimit": 2}, at(60), "no-data", id="all that was seen was bad"),
            pytest.param(
                [FAILURE, UNSURE],
                {"failureLimit": 2, "onNoData": "Promote"},
                at(60),
                "no-data",
                id="what was seen was bad: that is no lack of data to be promoted on",
            ),
        ],
    )
    def test_the_outcome(self, looks: list[Measurement], spec: dict[str, Any], now: datetime, outcome: str) -> None:
        assert analysis.outcome(looked(*looks), a_spec(**spec), now) == outcome

    def test_a_status_that_lost_its_beginning_has_not_ended(self) -> None:
        assert analysis.outcome(AnalysisStatus(successes=3), a_spec(), at(9999)) == "running"


class TestNextLook:
    def test_the_first_look_is_due_at_once(self) -> None:
        assert analysis.next_measurement_at(looked(), a_spec()) == T0

    def test_then_the_interval_is_kept(self) -> None:
        assert analysis.next_measurement_at(looked(SUCCESS, UNSURE), a_spec(intervalSeconds=7)) == at(17)

    def test_an_analysis_that_has_not_begun_has_no_looks(self) -> None:
        with pytest.raises(ValueError, match="has not begun"):
            analysis.next_measurement_at(AnalysisStatus(), a_spec())
