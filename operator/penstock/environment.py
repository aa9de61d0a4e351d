"""Settings of a process: each field is its own environment variable, flag, bound and documentation.

`workers` is read from `--workers`, else from `PENSTOCK_WORKERS`, else it is the default.
"""

import argparse
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from penstock import logs

NAME = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"


class SettingsError(Exception):
    """A setting is unusable; the message has one line per setting, naming its variable and its flag."""


class ProcessSettings(BaseModel):
    """The base of all that can be set for one of the processes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    log_level: logs.Level = Field(default="info", description="debug, info, warning or error.")
    log_format: logs.Format = Field(
        default="auto", description="json, console, or auto: console on a terminal, else json."
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str], flags: Mapping[str, Any] | None = None) -> Self:
        """Return the settings; flags (None where not given) come before variables. Raises SettingsError.

        An empty variable counts as unset, as charts write them so.
        """
        found = {name: environ[_variable(name)] for name in cls.model_fields if environ.get(_variable(name))}
        given = {name: value for name, value in (flags or {}).items() if name in cls.model_fields and value is not None}
        try:
            return cls.model_validate({**found, **given})
        except ValidationError as error:
            raise SettingsError("\n".join(_complaint(detail) for detail in error.errors())) from None

    @classmethod
    def add_flags(cls, parser: argparse.ArgumentParser) -> None:
        """Add one flag per setting; what they parse to goes into `from_env(environ, vars(namespace))`."""
        for name, setting in cls.model_fields.items():
            default = "" if setting.default_factory or setting.default == () else f" (default: {setting.default})"
            text = f"{setting.description}{default} [{_variable(name)}]"
            parser.add_argument(_flag(name), dest=name, metavar="VALUE", help=text.replace("%", "%%"))


def split(value: Any) -> Any:
    """A list as a variable holds it: separated by commas."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _variable(name: str) -> str:
    return f"PENSTOCK_{name.upper()}"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _complaint(detail: ErrorDetails) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return message
    name = str(detail["loc"][0])
    return f"{_variable(name)} ({_flag(name)}): {message}, not {detail['input']!r}"
