"""The names of other servers' metrics, on expositions from their own sources: tests/recorded/README.md."""

from pathlib import Path
from typing import Any

import pytest
from penstock import names
from penstock.api.pod_metrics import PodMetricsSpec
from penstock.desired import pod_metrics
from penstock.desired.pod_metrics import PRESETS, PodMetrics
from penstock.observed import exposition
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
    sums = exposition.sums(body, {series for found in metrics.by_metric.values() for series in found})
    assert all(series in sums for found in metrics.by_metric.values() for series in found), sums
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
