"""The settings of a process as a table."""

import argparse
from collections.abc import Iterator

from penstock.environment import ProcessSettings

from tests.generated.tables import code, table


def table_of(settings: type[ProcessSettings]) -> str:
    return table(("flag", "variable", "default", "meaning"), _rows(settings))


def _rows(settings: type[ProcessSettings]) -> Iterator[tuple[str, str, str, str]]:
    flags = argparse.ArgumentParser(add_help=False)
    settings.add_flags(flags)
    for action in flags._actions:
        field = settings.model_fields[action.dest]
        default = "" if field.default_factory or field.default == () else field.default
        default = f"{default:g}" if isinstance(default, float) else str(default)
        yield (
            code(action.option_strings[0]),
            code(f"PENSTOCK_{action.dest.upper()}"),
            code(default),
            str(field.description),
        )
