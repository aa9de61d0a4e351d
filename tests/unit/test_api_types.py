"""The v1alpha1 types: what is parsed, what is decided in code, what is written back."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.api.group import API_VERSION, KIND
from penstock.api.meta import Condition, ConditionStatus, keep_times
from penstock.api.predictor import SCALE_TARGETS, Predictor, ScaleMetric
from penstock.api.schema import Observation
from penstock.api.status import Blocker, InferenceServiceStatus
from penstock.api.structural import structural
from penstock.api.v1alpha1 import InferenceService, InferenceServiceSpec, parse
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def an_object(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "smollm2", "namespace": "chat", "uid": "u-1", "generation": 3, "resourceVersion": "77"},
        "spec": {"predictor": {"model": {"storageUri": "s3://models/smollm2"}}, **spec},
    }


def a_predictor(**fields: Any) -> Predictor:
    return Predictor.model_validate({"model": {"storageUri": "s3://models/smollm2"}, **fields})


def a_condition(status: ConditionStatus, at: datetime, type: str = "Ready") -> Condition:  # noqa: A002
    return Condition(type=type, status=status, reason="Because", message="it is so", last_transition_time=at)


def test_metadata_is_projected_to_what_the_operator_reads() -> None:
    obj = an_object()
    obj["metadata"] |= {"managedFields": [{"manager": "kubectl"}], "creationTimestamp": "2026-01-01T00:00:00Z"}
    assert parse(obj).metadata.to_dict() == {
        "name": "smollm2",
        "namespace": "chat",
        "uid": "u-1",
        "generation": 3,
        "annotations": {},
        "labels": {},
    }


def test_fields_of_a_newer_version_are_left_out() -> None:
    obj = an_object(holograms=True)
    obj["spec"]["predictor"]["model"]["dreams"] = {"lucid": True}
    obj["status"] = {"mood": "good"}
    assert parse(obj) == parse(an_object())


def test_any_mapping_is_parsed_not_only_a_dict() -> None:
    assert parse(MappingProxyType(an_object())) == parse(an_object())


def test_an_error_names_the_field_as_it_is_written() -> None:
    with pytest.raises(ValidationError) as failure:
        parse(an_object(rollout={"revisionHistoryLimit": 0}))
    assert failure.value.errors()[0]["loc"] == ("spec", "rollout", "revisionHistoryLimit")


def test_a_parsed_object_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parse(an_object()).spec.suspend = True  # type: ignore[misc]


def test_the_served_name_is_the_services_own_unless_it_is_set() -> None:
    obj = an_object()
    assert parse(obj).served_model_name == "smollm2"
    obj["spec"]["predictor"]["model"]["name"] = "chat-model"
    assert parse(obj).served_model_name == "chat-model"


def test_a_custom_container_is_served_under_the_services_own_name() -> None:
    assert parse(an_object(predictor={"containers": [{"image": "vllm"}]})).served_model_name == "smollm2"


def test_a_custom_container_keeps_every_field_of_it() -> None:
    container = {"image": "vllm", "ports": [{"containerPort": 8000}], "startupProbe": {"httpGet": {"path": "/"}}}
    assert parse(an_object(predictor={"containers": [container]})).spec.predictor.containers == [container]


@pytest.mark.parametrize(
    ("fields", "limit", "autoscales"),
    [
        pytest.param({}, 1, False, id="one pod by default"),
        pytest.param({"minReplicas": 3}, 3, False, id="minReplicas alone is a fixed size"),
        pytest.param({"minReplicas": 3, "maxReplicas": 3}, 3, False, id="equal limits are a fixed size"),
        pytest.param({"maxReplicas": 2}, 2, True, id="maxReplicas above minReplicas autoscales"),
    ],
)
def test_autoscaling_is_on_when_the_limits_differ(fields: dict[str, int], limit: int, autoscales: bool) -> None:
    predictor = a_predictor(**fields)
    assert (predictor.replica_limit, predictor.autoscales) == (limit, autoscales)


@pytest.mark.parametrize(("metric", "target"), SCALE_TARGETS.items())
def test_each_metric_has_its_own_default_target(metric: ScaleMetric, target: int) -> None:
    assert a_predictor(scaleMetric=metric).effective_scale_target == target
    assert a_predictor(scaleMetric=metric, scaleTarget=7).effective_scale_target == 7


@pytest.mark.parametrize(
    ("rollout", "deployment", "strategy"),
    [
        pytest.param({}, {}, "Auto", id="the operator chooses unless told otherwise"),
        pytest.param({"strategy": "Recreate"}, {}, "Recreate", id="rollout.strategy decides"),
        pytest.param({}, {"type": "Recreate"}, "Recreate", id="KServe's deploymentStrategy.type is heard"),
    ],
)
def test_the_strategy_is_decided_in_code(rollout: Any, deployment: Any, strategy: str) -> None:
    spec = an_object(rollout=rollout)["spec"]
    spec["predictor"]["deploymentStrategy"] = deployment
    assert InferenceServiceSpec.model_validate(spec).strategy == strategy


def test_a_resource_that_stands_only_in_limits_counts_as_requested() -> None:
    model = a_predictor(
        model={"storageUri": "file:///m", "resources": {"requests": {"cpu": 1}, "limits": {"memory": "1Gi"}}}
    ).model
    assert model is not None
    assert [model.resources.requested(name) for name in ("cpu", "memory", "nvidia.com/gpu")] == [True, True, False]


def test_values_that_equal_the_defaults_can_be_dropped() -> None:
    written_out = an_object(suspend=False, rollout={"revisionHistoryLimit": 5}, disruption={})
    assert parse(written_out).spec.model_dump(by_alias=True, exclude_defaults=True) == an_object()["spec"]


def test_what_is_written_back_is_json_without_unset_fields() -> None:
    status = InferenceServiceStatus(phase="Ready", conditions=[a_condition("True", T0)])
    assert status.to_dict() == {
        "phase": "Ready",
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Because",
                "message": "it is so",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
        "replicas": 0,
        "readyReplicas": 0,
        "blockedBy": [],
    }


def test_a_status_survives_the_way_through_json() -> None:
    status = InferenceServiceStatus(conditions=[a_condition("True", T0 + timedelta(microseconds=1))], replicas=2)
    assert InferenceService.model_validate(an_object() | {"status": status.to_dict()}).status == status


@given(st.text(max_size=9000))
def test_a_message_is_cut_to_what_the_schema_allows(text: str) -> None:
    message = Blocker(reason="CrashLooping", object="pod/a", message=text).message
    assert len(message) <= 4096
    assert message == text or (message.endswith("…") and text.startswith(message[:-1]))


def observations(model: type[BaseModel] = InferenceServiceStatus) -> dict[str, type[Observation]]:
    """Every type that a status is made of, by name."""
    found: dict[str, type[Observation]] = {model.__name__: model} if issubclass(model, Observation) else {}
    for field in model.model_fields.values():
        for inner in (field.annotation, *inside(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                found |= observations(inner)
    return found


def inside(annotation: Any) -> Iterator[Any]:
    for inner in get_args(annotation):
        yield inner
        yield from inside(inner)


# What must be said in one or another part of a status.
SAID: dict[str, Any] = {
    "type": "Ready",
    "status": "True",
    "reason": "Because",
    "lastTransitionTime": T0,
    "verb": "promote",
    "id": "1",
    "result": "Done",
    "winner": "A",
    "metric": "Latency",
    "pValue": 0.01,
    "effect": 0.1,
    "object": "Pod/a",
    "target": 1,
    "message": "",
}
BOUNDED = [
    (kind, field, schema["maxLength"])
    for kind in observations().values()
    for field, schema in structural(kind)["properties"].items()
    if "maxLength" in schema
]


def test_there_are_texts_with_a_bound_all_over_the_status() -> None:
    assert len(BOUNDED) > 20
    assert ("plan", 1024) in [(field, most) for _, field, most in BOUNDED]


@pytest.mark.parametrize(("kind", "field", "most"), BOUNDED, ids=lambda v: getattr(v, "__name__", str(v)))
def test_a_text_beyond_its_bound_is_written_cut_whichever_way_it_came_in(
    kind: type[Observation], field: str, most: int
) -> None:
    name = next(name for name, info in kind.model_fields.items() if info.alias == field)
    said = {key: SAID[key] for key in structural(kind).get("required", [])}
    short = kind.model_validate(said)
    ways = [
        kind.model_validate({**said, field: "x" * 9999}),
        kind.model_validate_json(to_json({**said, field: "x" * 9999})),
        kind(**{**{n: getattr(short, n) for n in kind.model_fields}, name: "x" * 9999}),
        short.model_copy(update={name: "x" * 9999}),
    ]
    for way in ways:
        assert way.to_dict()[field] == "x" * (most - 1) + "…"


def test_a_condition_whose_status_stays_keeps_its_time() -> None:
    (kept,) = keep_times([a_condition("True", T0)], [a_condition("True", T0 + timedelta(hours=1))])
    assert kept.last_transition_time == T0


def test_a_condition_whose_status_changes_takes_the_new_time() -> None:
    (changed,) = keep_times([a_condition("False", T0)], [a_condition("True", T0 + timedelta(hours=1))])
    assert changed.last_transition_time == T0 + timedelta(hours=1)


def test_a_condition_never_seen_before_takes_the_new_time() -> None:
    (new,) = keep_times([a_condition("True", T0, "Stalled")], [a_condition("True", T0 + timedelta(hours=1))])
    assert new.last_transition_time == T0 + timedelta(hours=1)
