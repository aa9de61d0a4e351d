"""What the API types are written in: the base model, shared value types, Kubernetes fragments and CEL rules."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, Self

from annotated_types import MaxLen
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel

Reason = Literal["FieldValueInvalid", "FieldValueRequired", "FieldValueForbidden"]


class Model(BaseModel):
    """A frozen API value: snake_case in Python, camelCase on the wire.

    Fields it does not know are left out, so that an object written under a newer schema still parses.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        protected_namespaces=(),
    )

    def to_dict(self) -> dict[str, Any]:
        """The JSON object as the API server stores it: camelCase keys, RFC 3339 times, nothing that is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _drop_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class Observation(Model):
    """A part of the status. The API server must not fill in what nobody observed, so its schema has no defaults.

    Text is cut to the bound that its field declares, whichever way it comes in: the API server would refuse the whole
    status otherwise, in this pass and in every later one.
    """

    model_config = ConfigDict(json_schema_extra=_drop_defaults)

    @model_validator(mode="before")
    @classmethod
    def _within_bounds(cls, fields: Any) -> Any:
        return _cut(cls, fields) if isinstance(fields, Mapping) else fields

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """The same with other fields; pydantic's own copy validates nothing."""
        return super().model_copy(update=_cut(type(self), update or {}), deep=deep)


def _cut(observation: type[Observation], fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields with every text in its bound; `fields` are named as in Python or as on the wire."""
    bounds = _bounds(observation)
    long = {
        name: f"{fields[name][: most - 1]}…"
        for name, most in bounds.items()
        if isinstance(fields.get(name), str) and len(fields[name]) > most
    }
    return {**fields, **long} if long else fields


@cache
def _bounds(observation: type[Observation]) -> Mapping[str, int]:
    """The longest text of each field that has a bound, under both of its names."""
    return {
        name: bound.max_length
        for field, info in observation.model_fields.items()
        for bound in info.metadata
        if isinstance(bound, MaxLen)
        for name in {field, info.alias or field}
    }


def rule(expression: str, message: str, *, path: str, reason: Reason = "FieldValueInvalid") -> dict[str, str]:
    """One CEL rule; `path` is the JSON path of the field to blame, relative to the object that carries the rule."""
    return {"rule": expression, "message": message, "fieldPath": path, "reason": reason}


def rules(*each: dict[str, str]) -> dict[str, Any]:
    """The value of a model's `json_schema_extra` that attaches CEL rules to it."""
    return {"x-kubernetes-validations": list(each)}


def fragment(
    required: Mapping[str, str] | None = None,
    *,
    lists: Mapping[str, str] | None = None,
    objects: Mapping[str, str] | None = None,
) -> WithJsonSchema:
    """A piece of the core Kubernetes API that is passed on as it is.

    Each argument maps names to descriptions: `required` strings, and `lists` of objects and `objects` whose insides
    are left open, so that the API server refuses what is of another type.
    """
    schema: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    shapes: list[dict[str, Any]] = [{"type": "string", "minLength": 1}, {"type": "array", "items": schema}, schema]
    properties = {
        name: {**shape, "description": text}
        for shape, named in zip(shapes, (required, lists, objects), strict=True)
        for name, text in (named or {}).items()
    }
    if not properties:
        return WithJsonSchema(schema)
    return WithJsonSchema({**schema, "properties": properties, **({"required": list(required)} if required else {})})


def without_nulls(value: Any) -> Any:
    """The same JSON without the keys that say null: to Kubernetes they are unset, so they are to a revision's hash."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


# A JSON object of the core Kubernetes API.
Free = Annotated[dict[str, Any], AfterValidator(without_nulls)]
Fragment = Annotated[Free, fragment()]


def _without_inner_nulls(value: dict[str, Any]) -> dict[str, Any]:
    return {key: without_nulls(item) for key, item in value.items()}


# One that is laid over the operator's own: there a null of the first level says something.
Overrides = Annotated[dict[str, Any], AfterValidator(_without_inner_nulls), fragment()]

# The grammar of resource.Quantity, as the Kubernetes API documents it.
Quantity = (
    int
    | Annotated[
        str,
        Field(
            max_length=64,
            pattern=r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
        ),
    ]
)
Quantities = Annotated[dict[str, Quantity], Field(max_length=64)]


# Text for people, in which others' words stand.
Message = Annotated[str, Field(max_length=4096)]

# A count of pods, or a share of them.
CountOrPercent = Annotated[int, Field(ge=0)] | Annotated[str, Field(max_length=4, pattern=r"^(100|[1-9]?[0-9])%$")]
