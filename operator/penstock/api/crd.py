"""The CustomResourceDefinition, generated from the API types.

`python -m penstock.api.crd` prints it; `--check FILE` fails when FILE is not what would be printed.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

from penstock.api.group import GROUP, KIND, PLURAL, VERSION
from penstock.api.schema import rule, rules
from penstock.api.status import InferenceServiceStatus
from penstock.api.structural import Schema, structural
from penstock.api.v1alpha1 import InferenceService, InferenceServiceSpec

HEADER = "# Generated from operator/penstock/api; change the types and run `make generate`.\n"


def definition() -> dict[str, Any]:
    """The CustomResourceDefinition of InferenceService as the API server wants it."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["isvc"],
                "categories": ["penstock"],
            },
            "scope": "Namespaced",
            "conversion": {"strategy": "None"},
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": printer_columns(),
                    "subresources": {"status": {}, "scale": SCALE},
                    "schema": {"openAPIV3Schema": schema()},
                }
            ],
        },
    }


SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}

# Names become Service names; the longest child's adds 12 characters, and those of its pods another 6.
NAME_RULES = rules(
    rule(
        "self.metadata.name.size() <= 50",
        "metadata.name may have at most 50 characters: the names of Services and pods begin with it",
        path=".metadata.name",
    ),
    rule(
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name must begin with a letter and have only small letters, digits and '-', as a Service's",
        path=".metadata.name",
    ),
    rule(
        "!self.metadata.name.matches('-(blue|green|preview)$')",
        "metadata.name may not end in -blue, -green or -preview: a service's own parts are named so",
        path=".metadata.name",
    ),
)


def schema() -> Schema:
    """The structural schema of one InferenceService."""
    return {
        "description": InferenceService.__doc__,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}"},
            "kind": {"type": "string", "description": KIND},
            # Kubernetes allows no more here than what narrows the name; the rules below need the field to blame.
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": structural(InferenceServiceSpec),
            "status": structural(InferenceServiceStatus),
        },
        **NAME_RULES,
    }


def printer_columns() -> list[dict[str, Any]]:
    """What `kubectl get isvc` shows; the last three only with `-o wide`."""
    return [
        _column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
        _column("Phase", ".status.phase"),
        _column("URL", ".status.url"),
        _column("Replicas", ".status.replicas", type="integer"),
        _column("Revision", ".status.rollout.currentRevision"),
        _column("Rollout", ".status.rollout.phase"),
        _column("Age", ".metadata.creationTimestamp", type="date"),
        _column("Strategy", ".status.rollout.strategy", priority=1),
        _column("Reason", ".status.conditions[?(@.type=='Ready')].reason", priority=1),
        _column("Model", ".spec.predictor.model.storageUri", priority=1),
    ]


def _column(name: str, path: str, *, type: str = "string", priority: int = 0) -> dict[str, Any]:  # noqa: A002
    column = {"name": name, "type": type, "jsonPath": path}
    return column | {"priority": priority} if priority else column


class _PlainDumper(yaml.SafeDumper):
    """YAML without anchors: the file is read by people, and some tools refuse aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def render() -> str:
    """The file under crds/, byte for byte."""
    return HEADER + yaml.dump(definition(), Dumper=_PlainDumper, sort_keys=False, width=120, allow_unicode=True)


def print_or_check(text: str, arguments: list[str]) -> int:
    """Print the text, or compare a file with it; the exit status is 1 when the file has drifted."""
    match arguments:
        case []:
            sys.stdout.write(text)
            return 0
        case ["--check", path] if Path(path).read_text(encoding="utf-8") == text:
            return 0
        case ["--check", path]:
            sys.stderr.write(f"{path} is not what the API types say; run `make generate`\n")
            return 1
        case _:
            sys.stderr.write("give nothing, or --check FILE\n")
            return 2


if __name__ == "__main__":
    sys.exit(print_or_check(render(), sys.argv[1:]))
