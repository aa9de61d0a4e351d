"""What the commands read of an object, beside the API's own models of it."""

import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from typing import Any

import pytest
from penstock.api import meta, status
from penstock.api.schema import Model
from penstock.cli import objects
from pydantic.alias_generators import to_camel

from tests.builders import T0, a_service, stable_at

MODELS: dict[type, type[Model]] = {
    objects.Metadata: meta.ObjectMeta,
    objects.Condition: meta.Condition,
    objects.Status: status.InferenceServiceStatus,
    objects.Autoscaling: status.AutoscalingStatus,
    objects.Sleep: status.SleepStatus,
    objects.Blocker: status.Blocker,
    objects.Rollout: status.RolloutStatus,
    objects.Canary: status.CanaryStatus,
    objects.SmokeTest: status.SmokeTestStatus,
    objects.Analysis: status.AnalysisStatus,
    objects.AbTest: status.AbTestStatus,
    objects.AbTestResult: status.AbTestResult,
    objects.LastAction: status.LastAction,
}


def plain(hint: Any) -> Any:
    """A model's type as the commands write it: str for enumerations, a tuple for a list, their class for a model."""
    ours = {model: kind for kind, model in MODELS.items()}
    if typing.get_origin(hint) is typing.Annotated:
        return plain(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        inner, _ = typing.get_args(hint)
        return plain(inner) | None
    if typing.get_origin(hint) is typing.Literal or (isinstance(hint, type) and issubclass(hint, str)):
        return str
    if typing.get_origin(hint) is list:
        return tuple[plain(typing.get_args(hint)[0]), ...]  # type: ignore[misc]
    return ours.get(hint, hint)


def test_every_value_has_its_model() -> None:
    read = {kind for kind in vars(objects).values() if is_dataclass(kind)}
    assert read == {*MODELS, objects.Service, objects.SlotPods}


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_its_fields_are_the_models(kind: type) -> None:
    model = MODELS[kind]
    for field in fields(kind):
        known = model.model_fields[field.name]
        assert field.type == plain(typing.get_type_hints(model)[field.name]), field.name
        assert objects._camel(field.name) == to_camel(field.name)
        if known.is_required():
            # What always is there may be left out of a test.
            continue
        default = field.default if field.default_factory is MISSING else field.default_factory()
        expected = known.get_default(call_default_factory=True)
        assert default == (tuple(expected) if isinstance(expected, list) else expected), field.name


def test_what_is_absent_or_null_has_its_default() -> None:
    found = objects.service({"metadata": {"name": "chat"}, "status": {"phase": None, "rollout": {}}})
    assert (found.metadata.generation, found.status.phase, found.rollout) == (0, None, objects.Rollout())


def test_words_and_fields_of_a_newer_version_are_read() -> None:
    found = objects.service({"metadata": {"name": "chat"}, "status": {"rollout": {"phase": "Levitating", "new": 1}}})
    assert found.rollout.phase == "Levitating"


def test_a_time_is_read() -> None:
    found = objects.service(a_service(status=stable_at("v1", started_at=T0)).to_dict())
    assert found.rollout.started_at == T0
    assert isinstance(found.rollout.started_at, datetime)


@pytest.mark.parametrize(
    ("status", "complaint"),
    [
        ({"rollout": {"startedAt": "soon"}}, "status.rollout.startedAt: Invalid isoformat string: 'soon'"),
        ({"rollout": []}, "status.rollout: it is no object"),
        ({"phase": 3}, "status.phase: 3 is not what belongs there"),
        ({"blockedBy": [{"reason": "OOMKilled", "object": "Pod/a"}, {"object": 1}]}, "status.blockedBy.1.object: 1 is"),
        ({"conditions": [{"type": "Ready"}]}, "status.conditions.0: "),
    ],
)
def test_what_cannot_be_read_is_named(status: Any, complaint: str) -> None:
    with pytest.raises(objects.Unreadable) as error:
        objects.service({"metadata": {"name": "chat"}, "status": status})
    assert str(error.value).startswith(complaint)
