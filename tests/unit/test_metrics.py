from collections.abc import Iterator

import pytest
from penstock.metrics import Metrics, Snapshot
from prometheus_client.parser import text_string_to_metric_families


def a_snapshot(*, is_leader: bool = True, queue_depth: int = 0, services: dict[str, int] | None = None) -> Snapshot:
    return Snapshot(is_leader, queue_depth, services_by_phase=services or {}, objects_by_kind={"Pod": 4})


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Return each sample's value by its name and its sorted label values."""
    return dict(_samples(metrics.render()[0].decode()))


def _samples(text: str) -> Iterator[tuple[tuple[str, ...], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield (sample.name, *(sample.labels[label] for label in sorted(sample.labels))), sample.value


def test_what_happened_is_counted_by_its_labels() -> None:
    metrics = Metrics(a_snapshot)
    metrics.api_request("patch", "deployments", 200)
    metrics.api_request("patch", "deployments", 200)
    metrics.api_request("patch", "deployments", 409)
    metrics.failed("InvalidSpec")
    metrics.event_seen("Pod", "ADDED")
    found = samples(metrics)
    assert found["penstock_api_requests_total", "200", "deployments", "patch"] == 2
    assert found["penstock_api_requests_total", "409", "deployments", "patch"] == 1
    assert found["penstock_errors_total", "InvalidSpec"] == 1
    assert found["penstock_watch_events_total", "Pod", "ADDED"] == 1


def test_durations_fall_into_their_buckets() -> None:
    metrics = Metrics(a_snapshot)
    metrics.reconciled(0.02, result="done")
    metrics.queue_waited(0.3)
    found = samples(metrics)
    assert found["penstock_reconcile_duration_seconds_bucket", "0.01", "done"] == 0
    assert found["penstock_reconcile_duration_seconds_bucket", "0.025", "done"] == 1
    assert found["penstock_reconcile_duration_seconds_sum", "done"] == pytest.approx(0.02)
    assert found["penstock_queue_wait_seconds_bucket", "0.25"] == 0
    assert found["penstock_queue_wait_seconds_bucket", "0.5"] == 1


def test_what_is_follows_the_operator_from_scrape_to_scrape() -> None:
    current = a_snapshot(queue_depth=7, services={"Ready": 2, "Loading": 1})
    metrics = Metrics(lambda: current)
    found = samples(metrics)
    assert found["penstock_leader",] == 1
    assert found["penstock_queue_depth",] == 7
    assert found["penstock_services", "Loading"] == 1
    assert found["penstock_store_objects", "Pod"] == 4
    current = a_snapshot(is_leader=False, services={"Ready": 3})
    found = samples(metrics)
    assert found["penstock_leader",] == 0
    assert found["penstock_services", "Ready"] == 3
    assert ("penstock_services", "Loading") not in found


def test_no_snapshot_is_taken_before_the_first_scrape() -> None:
    def too_early() -> Snapshot:
        raise AssertionError("the operator is not running yet")

    Metrics(too_early)


def test_the_build_and_the_process_are_described() -> None:
    found = samples(Metrics(a_snapshot))
    assert [value for key, value in found.items() if key[0] == "penstock_build_info"] == [1]
    assert found["process_cpu_seconds_total",] > 0
    assert found["process_resident_memory_bytes",] > 0


def test_two_operators_in_one_process_do_not_share_counts() -> None:
    one, other = Metrics(a_snapshot), Metrics(a_snapshot)
    one.failed("InvalidSpec")
    assert ("penstock_errors_total", "InvalidSpec") not in samples(other)


def test_the_content_type_is_the_text_format() -> None:
    assert Metrics(a_snapshot).render()[1].startswith("text/plain")
