"""What the autoscaler sees and wants, and what keeps it from having its way."""

from typing import Any

import pytest
from penstock.api.status import AutoscalingStatus, InferenceServiceStatus
from penstock.capacity.room import Fit
from penstock.observed.values import SeenAutoscaler, SeenPod
from penstock.status.autoscaling import autoscaling

from tests.builders import T0, a_service, facts, pending, ready_pod, rolled_out, seen, with_status

NO_METRIC = {"ScalingActive": ("False", "FailedGetPodsMetric", "no such metric")}
AT_THE_TOP = {"ScalingLimited": ("True", "TooManyReplicas", "")}
AT_THE_BOTTOM = {"ScalingLimited": ("True", "TooFewReplicas", "")}
NO_GPU = Fit({}, "needs 1 nvidia.com/gpu", "nvidia.com/gpu")


def scaler(current: str | None = "50", **rest: Any) -> SeenAutoscaler:
    return SeenAutoscaler(**{"desired": 2, "current": current, "last_scale_time": T0, **rest})


def told(by: SeenAutoscaler | None, *pods: SeenPod, before: str | None = None, **words: Any) -> AutoscalingStatus:
    status = InferenceServiceStatus(autoscaling=AutoscalingStatus(metric="rps", target=100, current=before))
    service = with_status(a_service(maxReplicas=3, **words), status)
    about = seen(service, *pods, deployment=rolled_out("v1", 2), autoscaler=by, fit=NO_GPU)
    found = autoscaling(facts(about))
    assert found is not None
    return found


def test_a_fixed_size_has_none() -> None:
    assert autoscaling(facts(seen())) is None


def test_it_is_told_before_there_is_an_autoscaler() -> None:
    found = told(None)
    assert (found.metric, found.target, found.current, found.desired, found.ready) == ("rps", 100, None, None, 2)


def test_the_autoscalers_own_words_are_passed_on() -> None:
    found = told(scaler(), scaleMetric="concurrency", scaleTarget=7)
    assert (found.metric, found.target, found.desired, found.last_scale_time) == ("concurrency", 7, 2, T0)


@pytest.mark.parametrize(
    ("now", "decimal"),
    [("50", "50"), ("1500m", "1.5"), ("66m", "0.1"), ("0", "0"), ("100", "100"), ("1k", "1000"), (None, None)],
)
def test_a_quantity_becomes_a_plain_decimal(now: str | None, decimal: str | None) -> None:
    assert told(scaler(now)).current == decimal


@pytest.mark.parametrize(
    ("before", "now", "shown"),
    [
        pytest.param("50", "59", "50", id="a small move is not worth a write"),
        pytest.param("50", "60", "60", id="a tenth of the target is"),
        pytest.param("50", "40", "40", id="downwards too"),
        pytest.param("50", None, None, id="a metric that is gone"),
        pytest.param(None, "3", "3", id="the first one"),
    ],
)
def test_the_metric_is_told_when_it_has_moved(before: str | None, now: str | None, shown: str | None) -> None:
    assert told(scaler(now), before=before).current == shown


@pytest.mark.parametrize(
    ("by", "pods", "words", "limit"),
    [
        pytest.param(scaler(), [ready_pod()], {}, None, id="nothing"),
        pytest.param(scaler(conditions=AT_THE_TOP), [], {}, "maxReplicas", id="the upper bound"),
        pytest.param(scaler(conditions=AT_THE_BOTTOM), [], {}, "minReplicas", id="the lower bound"),
        pytest.param(scaler(conditions=NO_METRIC), [], {}, "MetricMissing", id="a metric that is missing"),
        pytest.param(
            scaler(conditions=NO_METRIC),
            [],
            {"replicas": 0},
            None,
            id="a metric that is missing for want of pods",
        ),
        pytest.param(
            scaler(conditions=AT_THE_TOP), [pending()], {}, "InsufficientGPU", id="GPUs before the upper bound"
        ),
        pytest.param(None, [], {}, None, id="no autoscaler yet"),
    ],
)
def test_what_limits_it(
    by: SeenAutoscaler | None, pods: list[SeenPod], words: dict[str, Any], limit: str | None
) -> None:
    assert told(by, *pods, **words).limited_by == limit


def test_the_least_number_in_force_is_told_where_there_are_schedules() -> None:
    now, later = ({"start": f"0 0 1 {month} *", "end": f"0 0 1 {month + 1} *", "minReplicas": 2} for month in (1, 3))
    assert told(scaler()).min_replicas is None
    assert told(scaler(), autoscaling={"schedules": [now]}).min_replicas == 2
    assert told(scaler(), autoscaling={"schedules": [later]}).min_replicas == 1
