"""docs/reference/api.md, generated from the same schema as the CRD.

`python -m penstock.api.reference` prints it; `--check FILE` fails when FILE is not what would be printed.
"""

import sys
from collections.abc import Iterator

from penstock.api import crd
from penstock.api.group import API_VERSION, KIND
from penstock.api.structural import Schema

RULES = "x-kubernetes-validations"

INTRODUCTION = f"""\
<!-- Generated from operator/penstock/api; change the types and run `make generate`. -->
# The {KIND} API

`{API_VERSION}`, kind `{KIND}`, short name `isvc`. The words are KServe's wherever KServe has one,
with the same meaning. The same text is in `kubectl explain isvc.spec`. A field that is not listed here is refused by
the API server (under kubectl's default, strict validation), never ignored.

An *object* without a table of its own is a piece of the core Kubernetes API and is passed on as it is.

## metadata

| name or annotation | meaning |
|---|---|
| `name` | {{name_rules}} |
| `penstock.dev/paused: "<reason>"` | Hands off: nothing of the service is changed until the annotation is removed. \
The status is still reported, with `Reconciling=False, reason=PausedByUser`. |
| `penstock.dev/restarted-at: "<time>"` | A new value is a new revision: all pods are replaced. |
| `penstock.dev/action: "<verb>:<id>"` | An action on the rollout: `promote`, `promote-full`, `abort`, `rollback`, \
`rollback=REVISION`, `retry`, `pause` or `resume`, each id once. The answer is in `status.rollout.lastAction`; \
what they do: [actions](rollouts.md#actions). |

On the Services, Deployments and other objects that it owns, the operator keeps annotations of its own under \
`penstock.dev/`; leave them as they are.
"""


def render() -> str:
    """The page, byte for byte."""
    schema = crd.schema()
    name_rules = "; ".join(rule["message"].removeprefix("metadata.name ") for rule in schema[RULES])
    sections = [section for name in ("spec", "status") for section in _sections(name, schema["properties"][name])]
    return "\n".join([INTRODUCTION.format(name_rules=_cell(name_rules) + "."), *sections])


def _sections(path: str, schema: Schema) -> Iterator[str]:
    """A table for this object, then one for each object under it, depth first."""
    yield _table(path, schema)
    for name, field in schema["properties"].items():
        inner, suffix = (field["items"], "[]") if "items" in field else (field, "")
        if "properties" in inner:
            yield from _sections(f"{path}.{name}{suffix}", inner)


def _table(path: str, schema: Schema) -> str:
    required = schema.get("required", [])
    rows = [
        f"| `{name}` | {_type(field)}{', required' * (name in required)} | {_cell(field['description'])} |"
        for name, field in schema["properties"].items()
    ]
    lines = [f"## {path}", "", "| field | type | meaning |", "|---|---|---|", *rows, ""]
    rules = [f"* {rule['message']}" for rule in schema.get(RULES, [])]
    return "\n".join([*lines, *(["Rules:", *rules, ""] if rules else [])])


def _type(field: Schema) -> str:
    if "enum" in field:
        return " \\| ".join(f"`{value}`" for value in field["enum"])
    if "x-kubernetes-int-or-string" in field:
        return "integer or string"
    if "items" in field:
        return f"list of {_type(field['items'])}s"
    if "additionalProperties" in field:
        return f"map to {_type(field['additionalProperties'])}"
    return "time" if field.get("format") == "date-time" else f"{field['type']}{_bounds(field)}"


def _bounds(field: Schema) -> str:
    match field.get("minimum"), field.get("maximum"):
        case None, None:
            return ""
        case low, None:
            return f" ≥ {low}"
        case low, high:
            return f" {low}…{high}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.exit(crd.print_or_check(render(), sys.argv[1:]))
