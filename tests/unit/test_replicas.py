"""How many pods: the autoscaler's number, the user's, and the bounds of the spec."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.api.meta import Condition
from penstock.api.status import InferenceServiceStatus
from penstock.names import Reason
from penstock.scaling.replicas import Scale, scale

from tests.builders import T0, a_service

counts = st.integers(1, 20)


@pytest.mark.parametrize(
    ("words", "serving", "scaled"),
    [
        pytest.param({}, 0, Scale(1), id="one pod without a word"),
        pytest.param({"minReplicas": 3}, 0, Scale(3), id="a fixed size"),
        pytest.param(
            {"minReplicas": 3, "autoscaling": {"vertical": {"mode": "Off"}}},
            3,
            Scale(3, seed=1),
            id="a vertical autoscaler reads /scale, which needs a number",
        ),
        pytest.param({"minReplicas": 3, "replicas": 5}, 0, Scale(5), id="kubectl scale may go above a fixed size"),
        pytest.param({"minReplicas": 10, "replicas": 3}, 3, Scale(10), id="what an autoscaler left is no fixed size"),
        pytest.param({"suspend": True, "replicas": 3}, 3, Scale(0, off=Reason.SUSPENDED), id="suspended"),
        pytest.param(
            {"suspend": True, "maxReplicas": 3}, 2, Scale(0, off=Reason.SUSPENDED), id="suspended before the first seed"
        ),
        pytest.param({"replicas": 0}, 1, Scale(0, off=Reason.SCALED_TO_ZERO_BY_USER), id="scaled to zero"),
        pytest.param(
            {"maxReplicas": 3, "replicas": 0},
            1,
            Scale(0, off=Reason.SCALED_TO_ZERO_BY_USER),
            id="scaled to zero by hand under an autoscaler",
        ),
        pytest.param({"minReplicas": 2, "maxReplicas": 4}, 0, Scale(2, seed=2), id="an autoscaler starts at the least"),
        pytest.param({"maxReplicas": 4}, 3, Scale(3, seed=3), id="an autoscaler starts from what serves"),
        pytest.param({"maxReplicas": 4}, 9, Scale(4, seed=4), id="an autoscaler starts within its bounds"),
        pytest.param({"maxReplicas": 4, "replicas": 3}, 1, Scale(3), id="the autoscaler's number"),
        pytest.param({"maxReplicas": 4, "replicas": 9}, 1, Scale(4), id="a number above the bounds"),
        pytest.param({"minReplicas": 2, "maxReplicas": 4, "replicas": 1}, 1, Scale(2), id="a number below the bounds"),
    ],
)
def test_how_many_pods(words: dict[str, Any], serving: int, scaled: Scale) -> None:
    assert scale(a_service(**words), serving, least=words.get("minReplicas", 1)) == scaled


@given(low=counts, more=counts, replicas=st.none() | counts, serving=st.integers(0, 40))
def test_an_autoscaled_service_stays_within_its_bounds(low: int, more: int, replicas: int | None, serving: int) -> None:
    found = scale(a_service(minReplicas=low, maxReplicas=low + more, replicas=replicas), serving, least=low)
    assert low <= found.replicas <= low + more
    assert (found.seed is None) is (replicas is not None)


@pytest.mark.parametrize("left", [None, 1, 3, 5])
def test_what_serves_stays_when_a_service_of_a_fixed_size_gets_an_autoscaler(left: int | None) -> None:
    """A number that was left in the spec, or that we wrote for a vertical one, is no autoscaler's wish."""
    reported = InferenceServiceStatus(conditions=[a_condition("FixedSize")])
    service = a_service(minReplicas=1, maxReplicas=10, replicas=left, status=reported)
    assert scale(service, 5, least=1) == Scale(5, seed=None if left == 5 else 5)
    went_on = InferenceServiceStatus(conditions=[a_condition("Ready")])
    assert scale(a_service(minReplicas=1, maxReplicas=10, replicas=1, status=went_on), 5, least=1) == Scale(1)


def a_condition(reason: str) -> Condition:
    return Condition(type="AutoscalingActive", status="False", reason=reason, message="", last_transition_time=T0)


@given(low=counts, more=counts, serving=st.integers(0, 40))
def test_a_seed_that_was_written_gives_the_same_size_and_no_other_seed(low: int, more: int, serving: int) -> None:
    bounds: dict[str, Any] = {"minReplicas": low, "maxReplicas": low + more}
    seeded = scale(a_service(**bounds), serving, least=low)
    assert scale(a_service(**bounds, replicas=seeded.seed), serving, least=low) == Scale(seeded.replicas)
