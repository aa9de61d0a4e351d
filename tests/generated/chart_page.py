"""docs/reference/chart.md, from the comments of helm/penstock/values.yaml.

A comment belongs to the key under it, or to the key in front of it on the same line. A key that is commented out, with
what it does behind it, is a value without a default of the chart's.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.generated.tables import code, table

VALUES = Path(__file__).parents[2] / "helm" / "penstock" / "values.yaml"
PAGE = """\
<!-- Generated from the comments of helm/penstock/values.yaml; change them and run `make generate`. -->
# Chart values

`helm show values helm/penstock` prints the same. `values.schema.json` checks them: a misspelt value is refused. How to
install, upgrade and remove: [operations](../operations.md).

{values}
A value of `settings` that is left out keeps the operator's own default, which stands in brackets.
"""
_KEY = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z]\w*):(?: (?P<value>.*?))?(?:\s+# (?P<comment>.*))?")
_OFF = re.compile(r"(?P<indent> *)# (?P<key>[a-z]\w*): (?P<value>\S+)\s+# (?P<comment>.*)")
_COMMENT = re.compile(r"(?P<indent> *)# (?P<comment>.*)")


@dataclass(frozen=True, slots=True)
class Value:
    """One value of the chart, or a group of them."""

    path: str
    default: str  # as it would be written in one line; empty for a group
    comment: str


def render() -> str:
    """The page, byte for byte."""
    told = (value for value in values(VALUES.read_text(encoding="utf-8")) if value.default or value.comment)
    rows = ((code(value.path), code(value.default), value.comment) for value in told)
    return PAGE.format(values=table(("value", "default", "meaning"), rows))


def values(text: str) -> Iterator[Value]:
    """The values of a values.yaml in their order, groups before what is in them."""
    defaults = yaml.safe_load(text)
    above: list[str] = []
    parents: list[str] = []
    for line in text.splitlines():
        if off := _OFF.fullmatch(line):
            path = ".".join([*parents[: _depth(off)], off["key"]])
            words = off["comment"]
            yield Value(path, "", f"{words[0].upper()}{_sentence(words[1:])} (`{off['value']}`)")
        elif remark := _COMMENT.fullmatch(line):
            above.append(remark["comment"])
        elif key := _KEY.fullmatch(line):
            parents = [*parents[: _depth(key)], key["key"]]
            comment = " ".join([*above, *([key["comment"]] if key["comment"] else [])])
            default = _at(defaults, parents)
            yield Value(".".join(parents), "" if _is_group(default) else _in_one_line(default), _sentence(comment))
            above = []
        else:
            above = []


def _depth(found: re.Match[str]) -> int:
    return len(found["indent"]) // 2


def _at(tree: Any, path: list[str]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _is_group(value: Any) -> bool:
    return isinstance(value, dict) and bool(value)


def _in_one_line(value: Any) -> str:
    return '""' if value == "" else yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()


def _sentence(text: str) -> str:
    return text and text.rstrip(".") + "."
