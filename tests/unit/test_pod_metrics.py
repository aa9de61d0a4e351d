"""The names of other servers' metrics, on expositions from their own sources: tests/recorded/README.md."""

from pathlib import Path
from typing import Any

import pytest
from penstock import names, pod_metrics
from penstock.api.pod_metrics import PodMetricsSpec
from penstock.api.predictor import Predictor
from penstock.desired import scraping
from penstock.observed import counters, exposition
from penstock.pod_metrics import PRESETS, PodMetrics
from pydantic import ValidationError

RECORDED = Path(__file__).parents[1] / "recorded"

# What each file holds, by the metric of the API: counted requests, those under way, those that wait.
HOLDS: dict[str, tuple[Any, float, float | None, float]] = {
    "vllm": ("vLLM", 132, 11, 3),
    "sglang": ("SGLang", 11228, 2988, 2826),
    "sglang-current": ("SGLang", 360, 16, 4),
    "tgi": ("TGI", 304, 7, 2),
    "triton": ("Triton", 40, None, 4),
    "tei": ("TEI", 746, None, 7),
}


def read(name: str, metrics: PodMetrics) -> dict[str, float]:
    body = (RECORDED / f"{name}.prom").read_bytes()
    found = exposition.series(body, {series for each in metrics.by_metric.values() for series in each})
    sums = {name: sum(values.values()) for name, values in found.items()}
    assert all(series in sums for each in metrics.by_metric.values() for series in each), sums
    return {metric: sum(sums[each] for each in series) for metric, series in metrics.by_metric.items() if series}


@pytest.mark.parametrize(("name", "held"), HOLDS.items(), ids=HOLDS)
def test_a_preset_finds_its_server_s_counts(name: str, held: tuple[Any, float, float | None, float]) -> None:
    preset, requests, in_flight, queue_depth = held
    found = read(name, PRESETS[preset])
    assert found[names.METRIC_RPS] == requests
    assert found.get(names.METRIC_CONCURRENCY) == in_flight
    assert found[names.METRIC_QUEUE_DEPTH] == queue_depth


def test_without_anything_the_names_are_our_own_server_s() -> None:
    assert pod_metrics.of(None) == pod_metrics.of(PodMetricsSpec()) == PodMetrics()


def test_a_field_wins_over_the_preset_and_the_rest_of_it_stays() -> None:
    found = pod_metrics.of(PodMetricsSpec(preset="vLLM", queue_depth="vllm:waiting_now", path="/own"))
    assert found.queue_depth == ("vllm:waiting_now",)
    assert found.requests == ("vllm:request_success_total",)
    assert (found.port, found.path) == (None, "/own")


def test_triton_s_metrics_have_a_port_of_their_own_unless_one_is_named() -> None:
    assert pod_metrics.of(PodMetricsSpec(preset="Triton")).port == 8002
    assert pod_metrics.of(PodMetricsSpec(preset="Triton", port=9000)).port == 9000


@pytest.mark.parametrize("series", ["", "a b", "1st", "a{b}", "x" * 300])
def test_a_series_is_named_as_prometheus_names_them(series: str) -> None:
    with pytest.raises(ValidationError):
        PodMetricsSpec(requests=series)


# What an analysis reads in the same files: requests, errors, refusals, and how long the median took, in seconds.
JUDGED: dict[str, tuple[float, float, float, float]] = {
    "vllm": (206, 1, 4, 1.3),
    "sglang": (11218, 2, 5, 0),
    "sglang-current": (358, 0, 3, 0),
    "tgi": (304, 1, 3, 0),
    "triton": (40, 3, 0, 0.3),
    "tei": (746, 1, 5, 0.013),
}


@pytest.mark.parametrize(("name", "judged"), JUDGED.items(), ids=JUDGED)
def test_an_analysis_reads_how_its_requests_ended(name: str, judged: tuple[float, float, float, float]) -> None:
    metrics = PRESETS[HOLDS[name][0]]
    found = counters.parse((RECORDED / f"{name}.prom").read_text(), metrics)
    assert found is not None
    requests, errors, refused, median = judged
    assert (found.requests, found.errors, found.refused) == (requests, errors, refused)
    seconds = counters.quantile(0.5, found.buckets)
    assert seconds is not None
    assert median == 0 or seconds == pytest.approx(median, rel=0.1)
    # Nothing of another server's is taken for it.
    assert counters.parse((RECORDED / f"{name}.prom").read_text()) is None


def test_of_a_counter_that_says_nothing_of_errors_no_analysis_concludes_that_there_are_none() -> None:
    own = pod_metrics.of(PodMetricsSpec(requests="hits_total"))
    assert counters.parse("# TYPE hits_total counter\nhits_total 7\n", own) is None


def test_pods_are_asked_at_the_port_that_serves_unless_their_metrics_have_one() -> None:
    served = {"containers": [{"image": "vllm", "ports": [{"containerPort": 8000}]}]}
    assert port(served) == 8000
    assert port({**served, "metrics": {"preset": "Triton"}}) == 8002
    assert port({**served, "metrics": {"port": 9000}}) == 9000
    assert port({"model": {"storageUri": "pvc://m"}}) == 8080


def port(predictor: dict[str, Any]) -> int | None:
    return scraping.of_predictor(Predictor.model_validate(predictor)).port


def test_what_some_servers_have_only_once_it_was_used_counts_as_none_until_then() -> None:
    """An idle TGI would otherwise have no metric, which is told as a fault."""
    assert "tgi_request_success" in PRESETS["TGI"].absent_until_used
    assert not PRESETS["vLLM"].absent_until_used
    assert not pod_metrics.of(PodMetricsSpec(preset="TGI", requests="mistyped")).absent_until_used
    assert pod_metrics.of(PodMetricsSpec(preset="TGI", port=80)).absent_until_used
