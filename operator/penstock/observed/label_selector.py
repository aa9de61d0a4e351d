"""Label selectors as they stand in a query: `app=model,slot in (blue, green),!canary`. Pure.

The grammar: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_KEY: Final = r"(?:[A-Za-z0-9.-]{1,253}/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_VALUE: Final = r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?"
_REQUIREMENT: Final = re.compile(
    rf"\s*(?:(?P<absent>!)\s*(?P<no>{_KEY})"
    rf"|(?P<key>{_KEY})(?:\s*(?P<equals>==|=|!=)\s*(?P<value>{_VALUE})"
    rf"|\s+(?P<set>in|notin)\s*\((?P<values>[^()]{{0,4096}})\))?)\s*(?:,|$)"
)
_LONGEST: Final = 8192


@dataclass(frozen=True, slots=True)
class Requirement:
    """One of its conditions. `values` is None where only the key's presence is asked for."""

    key: str
    values: frozenset[str] | None
    is_negated: bool

    def matches(self, labels: Mapping[str, str]) -> bool:
        if self.values is None:
            return (self.key in labels) is not self.is_negated
        # As in Kubernetes, a label that is not there is none of the values.
        return (labels.get(self.key) in self.values) is not self.is_negated


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Its conditions all hold; without any it matches everything."""

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "LabelSelector":
        """Raises ValueError."""
        if len(text) > _LONGEST:
            raise ValueError(f"a label selector of {len(text)} characters is too long")
        found, at = [], 0
        while text[at:].strip():
            match = _REQUIREMENT.match(text, at)
            if match is None:
                raise ValueError(f"{text!r} is not a label selector from {text[at:]!r} on")
            found.append(_requirement(match))
            at = match.end()
        return cls(tuple(found))

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(each.matches(labels) for each in self.requirements)

    def only(self, key: str) -> str | None:
        """The one value that the label must have, if the selector says so."""
        for each in self.requirements:
            if each.key == key and each.values is not None and len(each.values) == 1 and not each.is_negated:
                return next(iter(each.values))
        return None


def _requirement(match: re.Match[str]) -> Requirement:
    if match["absent"]:
        return Requirement(match["no"], None, is_negated=True)
    if match["equals"]:
        return Requirement(match["key"], frozenset({match["value"]}), is_negated=match["equals"] == "!=")
    if match["set"]:
        values = frozenset(value.strip() for value in match["values"].split(","))
        if not all(re.fullmatch(_VALUE, value) for value in values):
            raise ValueError(f"{match['values']!r} are not label values")
        return Requirement(match["key"], values, is_negated=match["set"] == "notin")
    return Requirement(match["key"], None, is_negated=False)
