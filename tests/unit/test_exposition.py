import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.observed import exposition
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


def sums(body: bytes, names: set[str]) -> dict[str, float]:
    return {name: sum(values.values()) for name, values in exposition.series(body, names).items()}


OURS = b"""\
# HELP inference_requests_total Finished inference requests
# TYPE inference_requests_total counter
inference_requests_total{code="200",model="chat",route="/v1/chat/completions"} 41.0
inference_requests_total{code="429",model="chat",route="/v1/chat/completions"} 1.5e1
inference_requests_created{code="200",model="chat",route="/v1/chat/completions"} 1.7e+09
# HELP inference_queue_depth Inference requests waiting for the engine
# TYPE inference_queue_depth gauge
inference_queue_depth{model="chat"} 3.0
process_cpu_seconds_total 12.5
"""


def test_a_series_is_summed_over_its_labels() -> None:
    found = sums(OURS, {"inference_requests_total", "inference_queue_depth"})
    assert found == {"inference_requests_total": 56, "inference_queue_depth": 3}


def test_a_series_that_is_not_there_is_left_out() -> None:
    assert sums(OURS, {"vllm:num_requests_waiting"}) == {}


def test_a_series_that_is_declared_and_has_no_sample_yet_counts_as_0() -> None:
    assert sums(b"# TYPE inference_requests_total counter\n", {"inference_requests_total"}) == {
        "inference_requests_total": 0
    }


@pytest.mark.parametrize(
    "line",
    [
        b'requests{path="/a} 9"} 4',
        b'requests{path="\\"} 9 9"} 4 1700000000000',
        b"requests 4 1700000000000",
        b"requests\t4",
        b'requests{a="b"} 4 # {trace_id="9} 9"} 0.67 1700000000',
        b'requests {a="b"} 4',
    ],
)
def test_braces_in_labels_timestamps_and_tabs_are_read_as_the_format_says(line: bytes) -> None:
    assert sums(b"other 1\n" + line + b"\n", {"requests"}) == {"requests": 4}


def test_a_name_that_only_begins_alike_is_another_series() -> None:
    assert sums(b"requests_total 4\nrequests_total_sum 9\nmy_requests_total 9\n", {"requests_total"}) == {
        "requests_total": 4
    }


def test_each_series_is_told_by_its_labels() -> None:
    found = exposition.series(b'requests{a="b"} 4\nrequests{a="c"} 5\n', {"requests"})
    assert found == {"requests": {b'{a="b"}': 4, b'{a="c"}': 5}}


def test_a_pod_that_sends_endless_series_is_not_read_to_its_end() -> None:
    body = b"".join(b'requests{a="%d"} 1\n' % number for number in range(5000))
    assert len(exposition.series(body, {"requests"})["requests"]) == 1000


@pytest.mark.parametrize("value", [b"1e306", b"NaN", b"+Inf", b"-Inf", b"four", b""])
def test_what_is_no_finite_number_hides_no_other_value(value: bytes) -> None:
    body = b'requests{a="b"} ' + value + b'\nrequests{a="c"} 4\n'
    assert sums(body, {"requests"}) == {"requests": 4}


@given(
    st.dictionaries(st.text(max_size=20), st.integers(0, 10**9), max_size=8),
    st.dictionaries(st.text(max_size=20), st.integers(-(10**9), 10**9), max_size=8),
)
def test_what_prometheus_own_client_writes_is_read_back(counts: dict[str, int], values: dict[str, int]) -> None:
    registry = CollectorRegistry()
    counter = Counter("requests", "Text", ["label"], registry=registry)
    gauge = Gauge("depth", "Text with\nlines", ["label"], registry=registry)
    for label, count in counts.items():
        counter.labels(label).inc(count)
    for label, value in values.items():
        gauge.labels(label).set(value)
    found = sums(generate_latest(registry), {"requests_total", "depth"})
    assert found == {"requests_total": sum(counts.values()), "depth": sum(values.values())}


@given(st.binary(max_size=400))
def test_whatever_a_pod_sends_is_survived(body: bytes) -> None:
    sums(body + b"\nrequests{" + body + b"} 1\n", {"requests"})
