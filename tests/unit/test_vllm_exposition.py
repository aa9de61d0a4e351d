"""The preset vLLM on what a running vLLM 0.32.0 has answered to GET /metrics: tests/recorded/README.md.

Before the busy one, five requests had ended: three were answered and two refused, with 400 and 404. Six more were under
way, in an engine that takes two at a time.
"""

from pathlib import Path

import pytest
from penstock import names
from penstock.observed import counters, exposition
from penstock.observed.counters import Counters
from penstock.observed.load import Load, load
from penstock.pod_metrics import PRESETS

RECORDED = Path(__file__).parents[1] / "recorded"
VLLM = PRESETS["vLLM"]


def answered(when: str) -> bytes:
    return (RECORDED / f"vllm-0.32.0-{when}.prom").read_bytes()


def metrics(when: str) -> dict[str, float]:
    """As the metrics adapter reads them: each metric is the sum of its series."""
    found = exposition.by_metric(answered(when), VLLM)
    return {metric: sum(series.values()) for metric, series in found.items()}


def counted(when: str) -> Counters:
    """As a rollout's analysis reads them."""
    found = counters.parse(answered(when).decode(), VLLM)
    assert found is not None
    return found


def test_the_adapter_finds_the_requests_that_have_finished_that_are_under_way_and_that_wait() -> None:
    assert metrics("busy") == {
        names.METRIC_RPS: 3,
        names.METRIC_CONCURRENCY: 6,
        names.METRIC_QUEUE_DEPTH: 4,
    }


def test_the_adapter_finds_every_metric_before_the_first_request() -> None:
    assert metrics("idle") == {names.METRIC_RPS: 0, names.METRIC_CONCURRENCY: 0, names.METRIC_QUEUE_DEPTH: 0}


def test_an_idle_service_is_told_from_a_busy_one() -> None:
    assert load(answered("idle"), VLLM) == Load(requests=0, under_way=0)
    busy = load(answered("busy"), VLLM)
    assert busy is not None
    assert busy.requests == 3
    assert busy.under_way > 0


def test_an_analysis_tells_refused_requests_from_answered_ones() -> None:
    busy = counted("busy")
    assert (busy.requests, busy.errors, busy.refused) == (5, 0, 2)


def test_an_analysis_reads_how_long_the_answered_requests_took() -> None:
    busy = counted("busy")
    assert max(count for _, count in busy.buckets) == 3
    # The three took 2.15 s together, and none of them less than 0.3 s.
    assert counters.quantile(0.5, busy.buckets) == pytest.approx(0.65)


def test_a_server_that_has_answered_nothing_has_counted_nothing_instead_of_being_unknown() -> None:
    idle = counted("idle")
    assert (idle.requests, idle.errors, idle.refused) == (0, 0, 0)
    assert counters.quantile(0.5, idle.buckets) is None


def test_what_was_counted_between_two_measurements_is_what_was_asked_between_them() -> None:
    found = counters.window({"pod": counted("idle")}, {"pod": counted("busy")})
    assert (found.requests, found.successes, found.refused_percent) == (5, 3, 40)
