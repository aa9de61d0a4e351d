"""How many requests a pod has counted, and how many are under way."""

import pytest
from penstock import pod_metrics
from penstock.api.pod_metrics import PodMetricsSpec
from penstock.observed.load import Load, load
from penstock.pod_metrics import PodMetrics

OURS = b"""# TYPE inference_requests_total counter
inference_requests_total{model="a",code="200"} 7
inference_requests_total{model="a",code="429"} 2
# TYPE inference_requests_in_flight gauge
inference_requests_in_flight 3
# TYPE inference_queue_depth gauge
inference_queue_depth 1
"""


def test_our_own_server_counts_all_requests_and_those_under_way() -> None:
    assert load(OURS, PodMetrics()) == Load(requests=9, under_way=4)


def test_a_server_s_own_counter_is_enough() -> None:
    metrics = pod_metrics.of(PodMetricsSpec(requests="hits_total"))
    assert load(b"# TYPE hits_total counter\nhits_total 3\n", metrics) == Load(3, 0)


@pytest.mark.parametrize("body", [b"", b"up 1\n", b"<html>not found</html>"])
def test_a_server_that_counts_no_requests_says_nothing(body: bytes) -> None:
    assert load(body, PodMetrics()) is None


def test_a_counter_that_is_there_only_once_it_was_used_counts_as_nothing_so_far() -> None:
    assert load(b"up 1\n", pod_metrics.of(PodMetricsSpec(preset="SGLang"))) == Load(0, 0)
