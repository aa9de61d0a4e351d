"""Faults that the CRD's rules cannot see."""

from typing import Any

import pytest
from penstock.api.v1alpha1 import InferenceService, parse
from penstock.desired.validation import FieldError, validate

CONTAINER = "spec.predictor.containers[0].resources"
SCHEDULE = "spec.autoscaling.schedules"
MODEL = "spec.predictor.model.resources"


def custom(resources: Any, **predictor: Any) -> InferenceService:
    return _service({"containers": [{"image": "vllm", "resources": resources}], **predictor})


def a_model(resources: Any, **predictor: Any) -> InferenceService:
    return _service({"model": {"storageUri": "s3://models/smollm2", "resources": resources}, **predictor})


def with_metrics(*metrics: dict[str, Any]) -> InferenceService:
    return _service({"containers": [{"image": "vllm"}], "maxReplicas": 2}, autoscaling={"metrics": list(metrics)})


def with_schedules(*schedules: dict[str, Any]) -> InferenceService:
    """Each is one that can be carried out, but for what it says itself."""
    usual = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "minReplicas": 2}
    found = [usual | each for each in schedules]
    return _service({"containers": [{"image": "vllm"}], "maxReplicas": 3}, autoscaling={"schedules": found})


def _service(predictor: dict[str, Any], **spec: Any) -> InferenceService:
    return parse({"metadata": {"name": "a"}, "spec": {"predictor": predictor, **spec}})


@pytest.mark.parametrize(
    "service",
    [
        pytest.param(custom({}), id="no resources at all"),
        pytest.param(_service({"containers": [{"image": "vllm"}]}), id="no word of resources"),
        pytest.param(custom({"requests": {"cpu": "500m"}, "limits": {"cpu": 1}}), id="a request under its limit"),
        pytest.param(custom({"limits": {"nvidia.com/gpu": 2}}), id="a device only in limits"),
        pytest.param(a_model({"requests": {"amd.com/gpu": "1"}, "limits": {"amd.com/gpu": 1}}), id="an equal request"),
        pytest.param(
            custom({"limits": {"cpu": 1}}, maxReplicas=2, scaleMetric="cpu"), id="a limit stands for a request"
        ),
        pytest.param(custom({}, scaleMetric="cpu"), id="a metric that no autoscaler reads"),
        pytest.param(custom({}, maxReplicas=2), id="a metric without a request"),
        pytest.param(
            custom({}, maxReplicas=2, scaleMetric="concurrency", metrics={"preset": "TEI", "inFlight": "te_now"}),
            id="a series named where the preset has none",
        ),
        pytest.param(custom({}, scaleMetric="concurrency", metrics={"preset": "TEI"}), id="a series nobody asks for"),
        pytest.param(custom({"requests": {"cpu": 0.5}}), id="a number with a point"),
        pytest.param(
            with_schedules({}, {"start": "*/5 8 L * *", "timezone": "Asia/Kathmandu"}), id="schedules that can be read"
        ),
        pytest.param(with_schedules({"start": "* * * * *"}), id="a start that is in force all the time"),
        pytest.param(
            custom({"requests": {"requests.kubernetes.io/x": "1"}, "limits": {"requests.kubernetes.io/x": "2"}}),
            id="Kubernetes' own domain is no device",
        ),
    ],
)
def test_a_spec_that_can_be_carried_out_has_no_problem(service: InferenceService) -> None:
    assert validate(service) == []


@pytest.mark.parametrize(
    ("service", "problem"),
    [
        pytest.param(
            custom({"requests": {"cpu": "lots"}}),
            FieldError(f"{CONTAINER}.requests[cpu]", "'lots' is not a quantity; write 500m, 2 or 4Gi"),
            id="a word is no quantity",
        ),
        pytest.param(
            custom({}, maxReplicas=2, scaleMetric="concurrency", metrics={"preset": "Triton"}),
            FieldError(
                "spec.predictor.scaleMetric",
                "Triton does not say its concurrency: use rps or queueDepth, or name a series in metrics.inFlight",
            ),
            id="a metric that the server does not have",
        ),
        pytest.param(
            with_metrics({"resource": "memory", "target": 70}),
            FieldError(
                "spec.autoscaling.metrics[0].resource",
                f"memory is measured against the request; set {CONTAINER}.requests.memory",
            ),
            id="a further resource without its request",
        ),
        pytest.param(
            with_metrics(
                {"series": "depth", "kind": "Value", "target": 3}, {"series": "depth", "kind": "Value", "target": 4}
            ),
            FieldError("spec.autoscaling.metrics[1]", "depth has a target already; leave one of them out"),
            id="a series with two targets",
        ),
        pytest.param(
            with_metrics({"series": "depth", "kind": "Value", "target": 0}),
            FieldError("spec.autoscaling.metrics[0].target", "0 must be a quantity above 0, such as 10 or 800m"),
            id="a target of nothing",
        ),
        pytest.param(
            with_metrics({"series": "depth", "kind": "Value", "target": "1e9999"}),
            FieldError("spec.autoscaling.metrics[0].target", "'1e9999' must be a quantity above 0, such as 10 or 800m"),
            id="a target that is no quantity",
        ),
        pytest.param(
            with_metrics({"series": "inference_queue_depth", "kind": "Rate", "target": 1}),
            FieldError(
                "spec.autoscaling.metrics[0].series",
                "inference_queue_depth is served already: use predictor.scaleMetric",
            ),
            id="a series by the name of a metric",
        ),
        pytest.param(
            _service(
                {"containers": [{"image": "vllm", "resources": {"requests": {"cpu": 1}}}], "maxReplicas": 2},
                autoscaling={"metrics": [{"resource": "cpu", "target": "800m"}]},
            ),
            FieldError("spec.autoscaling.metrics[0].target", "'800m' must be a whole number of percent, such as 70"),
            id="a fraction of a percent",
        ),
        pytest.param(
            with_schedules({}, {"start": "0 8 * *"}),
            FieldError(
                f"{SCHEDULE}[1].start",
                "'0 8 * *' has 4 fields; write five: minute, hour, day of the month, month, weekday, "
                "such as 0 8 * * 1-5",
            ),
            id="a field too few",
        ),
        pytest.param(
            with_schedules({"start": "0 0 8 * * *"}),
            FieldError(
                f"{SCHEDULE}[0].start",
                "'0 0 8 * * *' has 6 fields; write five: minute, hour, day of the month, month, weekday, "
                "such as 0 8 * * 1-5",
            ),
            id="seconds",
        ),
        pytest.param(
            with_schedules({"end": "0 24 * * *"}),
            FieldError(
                f"{SCHEDULE}[0].end",
                "'0 24 * * *' is no cron expression: its hour must be within 0 to 23, written as *, a number, "
                "a range 1-5, a list 1,3 or a step */2",
            ),
            id="an hour that no clock shows",
        ),
        pytest.param(
            with_schedules({"start": "0 8 30 2 *"}),
            FieldError(
                f"{SCHEDULE}[0].start",
                "'0 8 30 2 *' never fires, because no month has such a day; write a day that there is",
            ),
            id="the 30 February",
        ),
        pytest.param(
            with_schedules({"end": "0 8 */31 * MON#5"}),
            FieldError(
                f"{SCHEDULE}[0].end",
                "'0 8 */31 * MON#5' never fires, because no month has such a day; write a day that there is",
            ),
            id="a fifth Monday on the first",
        ),
        pytest.param(
            with_schedules({"timezone": "europe/berlin"}),
            FieldError(
                f"{SCHEDULE}[0].timezone",
                "'europe/berlin' is no time zone; write an IANA name such as Europe/Berlin, with its capital letters",
            ),
            id="a zone by its name in small letters",
        ),
        pytest.param(
            with_schedules({"timezone": "Europe"}),
            FieldError(
                f"{SCHEDULE}[0].timezone",
                "'Europe' is no time zone; write an IANA name such as Europe/Berlin, with its capital letters",
            ),
            id="a folder of zones",
        ),
        pytest.param(
            with_schedules({"end": "00 08 * * MON-FRI"}),
            FieldError(f"{SCHEDULE}[0].end", "fires at the same times as start; write the times at which it is to end"),
            id="an end that is its start in other words",
        ),
        pytest.param(
            custom({"limits": {"memory": True}}),
            FieldError(f"{CONTAINER}.limits[memory]", "True is not a quantity; write 500m, 2 or 4Gi"),
            id="a truth is no quantity",
        ),
        pytest.param(
            custom({"limits": {"memory": ["1Gi"]}}),
            FieldError(f"{CONTAINER}.limits[memory]", "['1Gi'] is not a quantity; write 500m, 2 or 4Gi"),
            id="a list is no quantity",
        ),
        pytest.param(
            a_model({"limits": {"memory": "-1Gi"}}),
            FieldError(f"{MODEL}.limits[memory]", "must not be negative"),
            id="less than nothing",
        ),
        pytest.param(
            a_model({"requests": {"memory": "2Gi"}, "limits": {"memory": "1024Mi"}}),
            FieldError(f"{MODEL}.requests[memory]", "2Gi is more than the limit of 1024Mi; raise the limit"),
            id="a request above its limit",
        ),
        pytest.param(
            a_model({"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 2}}),
            FieldError(
                f"{MODEL}.requests[nvidia.com/gpu]",
                "must equal limits[nvidia.com/gpu]; leave the request out and write 1 as the limit",
            ),
            id="fewer GPUs requested than allowed",
        ),
        pytest.param(
            custom({"requests": {"nvidia.com/mig-1g.5gb": 1}}),
            FieldError(
                f"{CONTAINER}.requests[nvidia.com/mig-1g.5gb]",
                "must equal limits[nvidia.com/mig-1g.5gb]; leave the request out and write 1 as the limit",
            ),
            id="a device requested without a limit",
        ),
        pytest.param(
            custom({"limits": {"nvidia.com/gpu": "500m"}}),
            FieldError(f"{CONTAINER}.limits[nvidia.com/gpu]", "must be a whole number of devices"),
            id="half a GPU",
        ),
        pytest.param(
            custom({"requests": {"memory": "1Gi"}}, maxReplicas=3, scaleMetric="cpu"),
            FieldError(
                "spec.predictor.scaleMetric", f"cpu is measured against the request; set {CONTAINER}.requests.cpu"
            ),
            id="cpu use without a cpu request",
        ),
        pytest.param(
            custom({"requests": {}}, maxReplicas=3, scaleMetric="memory"),
            FieldError(
                "spec.predictor.scaleMetric", f"memory is measured against the request; set {CONTAINER}.requests.memory"
            ),
            id="empty requests hold no request",
        ),
    ],
)
def test_a_fault_is_found_and_says_how_to_mend_it(service: InferenceService, problem: FieldError) -> None:
    assert validate(service) == [problem]


def test_every_fault_is_told_at_once() -> None:
    faulty = custom(
        {"requests": {"cpu": "x"}, "limits": {"nvidia.com/gpu": "1.5"}}, maxReplicas=2, scaleMetric="memory"
    )
    assert [problem.field for problem in validate(faulty)] == [
        f"{CONTAINER}.requests[cpu]",
        f"{CONTAINER}.limits[nvidia.com/gpu]",
        "spec.predictor.scaleMetric",
    ]
