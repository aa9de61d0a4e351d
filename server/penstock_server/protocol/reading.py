"""From a request's body to a validated type, or a 400 that names the field."""

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import from_json

from penstock_server.engine.protocol import ModelInfo
from penstock_server.errors import BadRequest

LARGEST_BODY_BYTES = 8 * 2**20


class Body(BaseModel):
    """A request body: no field is ever ignored in silence.

    Clients send many fields at the value that means "nothing asked for" (`logprobs: false`, `tools: []`): those, and
    nulls, are the same as absent. Any other field that the type does not have is refused by name.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
    neutral: ClassVar[dict[str, Any]] = {}

    @model_validator(mode="before")
    @classmethod
    def _drop_what_asks_for_nothing(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        kept = {
            name: given
            for name, given in value.items()
            if given is not None and not (name in cls.neutral and given == cls.neutral[name])
        }
        unknown = [name for name in kept if name not in cls.model_fields]
        for name in unknown[1:]:  # One is enough to refuse it; a million of them would stall the server.
            del kept[name]
        return kept


B = TypeVar("B", bound=Body)


async def read(request: web.Request, kind: type[B]) -> B:
    """The body as `kind`. Raises BadRequest; 413 and 415 as aiohttp's exceptions."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType
    raw = await request.read()
    try:
        parsed = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise BadRequest(f"the body is not valid JSON: {error}", param=None, code="invalid_json") from None
    try:
        return kind.model_validate(parsed)
    except ValidationError as error:
        raise _refusal(error, parsed) from None


def check_tokens(ids: Sequence[int], name: str, info: ModelInfo) -> None:
    """What no model can read is refused before the engine, where it would fail others too. Raises BadRequest."""
    if not ids:
        raise BadRequest(f"{name}: has no tokens", param=name, code="invalid_value")
    if max(ids) >= info.vocabulary:
        message = f"{name}: token id {max(ids)} is outside the vocabulary of {info.vocabulary}"
        raise BadRequest(message, param=name, code="invalid_value")


def _refusal(error: ValidationError, body: Any) -> BadRequest:
    """The first fault; of a union's branches, the one that got furthest into the value."""
    faults = error.errors(include_url=False, include_input=False)
    unknown = [fault for fault in faults if fault["type"] == "extra_forbidden"]
    fault = unknown[0] if unknown else max(faults, key=lambda fault: len(fault["loc"]))
    path = field_path(fault["loc"], body)
    if unknown:
        return BadRequest(f"{path}: not supported by this server", param=path, code="unsupported_parameter")
    return BadRequest(f"{path}: {fault['msg'].removeprefix('Value error, ')}", param=path, code="invalid_value")


def field_path(loc: Sequence[str | int], body: Any) -> str:
    """Such as messages[0].content. pydantic's names for the branches of a union are no part of `body`: left out."""
    path, value = "", body
    for part in loc:
        if isinstance(value, dict) and isinstance(part, str):
            path, value = f"{path}.{part}", value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            path, value = f"{path}[{part}]", value[part]
    return path.removeprefix(".") or "body"
