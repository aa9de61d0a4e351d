"""A pydantic JSON schema as a Kubernetes structural schema.

Kubernetes wants every type written out in place, no `$ref`, no `anyOf` and no `null`; what has no structural form
raises `UnknownKeywordError`, so that a new kind of annotation on a type is noticed when the schema is generated.
Reference: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

KEPT = (
    "description",
    "type",
    "format",
    "default",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "properties",
    "items",
    "additionalProperties",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
)


class UnknownKeywordError(ValueError):
    """A type uses something that this generator, or Kubernetes, has no form for."""


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of the model, with a description on every field."""
    schema = model.model_json_schema(by_alias=True)
    return _convert(schema, schema.pop("$defs", {}), path=model.__name__)


def _convert(schema: Mapping[str, Any], types: Mapping[str, Schema], path: str) -> Schema:
    plain = _plain(schema, types, path)
    plain.pop("title", None)
    if plain.get("default", ...) is None:
        del plain["default"]
    if unknown := set(plain) - set(KEPT):
        raise UnknownKeywordError(f"{path}: {', '.join(sorted(unknown))}")
    if plain.get("type") == "integer":
        plain.setdefault("format", "int32")
    for name, nested in _nested(plain, types, path).items():
        plain[name] = nested
    return {keyword: plain[keyword] for keyword in KEPT if keyword in plain}


def _nested(plain: Schema, types: Mapping[str, Schema], path: str) -> Schema:
    nested: Schema = {}
    if "properties" in plain:
        if "additionalProperties" in plain:
            raise UnknownKeywordError(f"{path}: additionalProperties beside properties")
        nested["properties"] = {
            name: _described(_convert(field, types, f"{path}.{name}"), f"{path}.{name}")
            for name, field in plain["properties"].items()
        }
    for keyword in ("items", "additionalProperties"):
        if keyword in plain:
            nested[keyword] = _convert(plain[keyword], types, f"{path}[]")
    return nested


def _described(schema: Schema, path: str) -> Schema:
    """The field with its default in words too: `kubectl explain` shows only the description."""
    if not schema.get("description"):
        raise UnknownKeywordError(f"{path}: a field needs a description")
    if "default" not in schema:
        return schema
    default = schema["default"] if isinstance(schema["default"], str) else json.dumps(schema["default"])
    return schema | {"description": f"{schema['description']} Default: {default}."}


def _plain(schema: Mapping[str, Any], types: Mapping[str, Schema], path: str) -> Schema:
    """The same schema without `$ref`, `anyOf` and `const`; what stands beside a reference wins over its target."""
    plain = dict(schema)
    if "$ref" in plain:
        target = types[plain.pop("$ref").removeprefix("#/$defs/")]
        return _plain(target | plain, types, path)
    if "anyOf" in plain:
        return _plain(_union(plain.pop("anyOf"), path) | plain, types, path)
    if "const" in plain:
        plain["enum"] = [plain.pop("const")]
    return plain


def _union(branches: list[Schema], path: str) -> Schema:
    """`X | None` is an optional X; `int | str` is an IntOrString that keeps the bounds of both."""
    branches = [branch for branch in branches if branch.get("type") != "null"]
    if len(branches) == 1:
        return branches[0]
    if [branch.get("type") for branch in branches] != ["integer", "string"]:
        raise UnknownKeywordError(f"{path}: anyOf")
    merged = {keyword: value for branch in branches for keyword, value in branch.items() if keyword != "type"}
    return merged | {"x-kubernetes-int-or-string": True}
