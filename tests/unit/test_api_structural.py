"""pydantic's JSON schema as a Kubernetes structural schema: what is turned into what, and what is refused."""

from typing import Annotated, Literal

import pytest
from penstock.api.schema import Fragment
from penstock.api.structural import Schema, UnknownKeywordError, structural
from pydantic import BaseModel, Field


def properties(model: type[BaseModel]) -> Schema:
    return {name: {k: v for k, v in field.items() if k != "description"} for name, field in _fields(model).items()}


def _fields(model: type[BaseModel]) -> Schema:
    fields: Schema = structural(model)["properties"]
    return fields


def test_an_optional_type_is_the_type_itself() -> None:
    class Model(BaseModel):
        size: int | None = Field(default=None, description="Size.")

    assert properties(Model) == {"size": {"type": "integer", "format": "int32"}}


def test_int_or_str_is_kubernetes_int_or_string_with_both_bounds() -> None:
    class Model(BaseModel):
        surge: Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern="%$")] = Field(description="Surge.")

    assert properties(Model)["surge"] == {"minimum": 0, "pattern": "%$", "x-kubernetes-int-or-string": True}


def test_a_single_choice_is_an_enum_of_one() -> None:
    class Model(BaseModel):
        kind: Literal["one"] = Field(description="Kind.")

    assert properties(Model)["kind"] == {"type": "string", "enum": ["one"]}


def test_a_nested_model_stands_in_place_with_the_fields_own_description() -> None:
    class Inner(BaseModel):
        """The class."""

        name: str = Field(description="Name.")

    class Model(BaseModel):
        told: Inner = Field(description="The field.")
        silent: Inner

    fields = _fields(Model)
    assert fields["told"]["properties"] == {"name": {"description": "Name.", "type": "string"}}
    assert (fields["told"]["description"], fields["silent"]["description"]) == ("The field.", "The class.")


def test_a_default_is_told_in_words_too() -> None:
    class Model(BaseModel):
        on: bool = Field(default=False, description="On.")
        mode: str = Field(default="auto", description="Mode.")

    assert [field["description"] for field in _fields(Model).values()] == [
        "On. Default: false.",
        "Mode. Default: auto.",
    ]


def test_a_map_keeps_the_type_of_its_values() -> None:
    class Model(BaseModel):
        labels: dict[str, str] = Field(description="Labels.")

    assert properties(Model)["labels"] == {"type": "object", "additionalProperties": {"type": "string"}}


def test_a_kubernetes_fragment_is_preserved() -> None:
    class Model(BaseModel):
        affinity: Fragment | None = Field(default=None, description="Affinity.")

    assert properties(Model)["affinity"] == {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def test_a_field_without_a_description_is_refused_by_name() -> None:
    class Model(BaseModel):
        size: int

    with pytest.raises(UnknownKeywordError, match=r"Model\.size: a field needs a description"):
        structural(Model)


class ExclusiveBound(BaseModel):
    share: int = Field(gt=0, description="Share.")


class Pair(BaseModel):
    pair: tuple[int, str] = Field(description="Pair.")


class TwoShapes(BaseModel):
    either: list[str] | bool = Field(description="Either.")


class Closed(BaseModel, extra="forbid"):
    name: str = Field(description="Name.")


@pytest.mark.parametrize(
    ("model", "keyword"),
    [
        pytest.param(ExclusiveBound, "exclusiveMinimum", id="exclusive bounds are booleans in Kubernetes"),
        pytest.param(Pair, "prefixItems", id="tuples have no structural form"),
        pytest.param(TwoShapes, "anyOf", id="unions of shapes have no structural form"),
        pytest.param(Closed, "additionalProperties beside properties", id="closed objects are Kubernetes' own rule"),
    ],
)
def test_what_has_no_structural_form_is_refused(model: type[BaseModel], keyword: str) -> None:
    with pytest.raises(UnknownKeywordError, match=keyword):
        structural(model)
