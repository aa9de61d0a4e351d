"""A few named series out of a Prometheus text exposition. Pure.

Only the lines asked for are parsed: a server's exposition has hundreds, and thousands of pods are asked every few
seconds. The format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format.
"""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final, TypeAlias

from penstock.pod_metrics import PodMetrics

# Of one name: its values by the text of their labels. Empty where the name is declared and has no sample yet.
Series: TypeAlias = Mapping[bytes, float]

# A pod that sends more of them, or greater numbers, counts no requests.
_MOST_SERIES: Final = 1000
_MOST: Final = 1e15


def series(body: bytes, names: Collection[str]) -> dict[str, dict[bytes, float]]:
    """The series of each name; a name that the exposition does not have is left out.

    Values that are no number, or none that can be a count, are left out, so that one label does not hide the others.
    """
    found: dict[str, dict[bytes, float]] = {}
    number = 0
    for line in _lines(frozenset(names)).finditer(body):
        declared, name, labels, text = line.groups()
        of_name = found.setdefault((declared or name).decode(), {})
        value = None if declared else _number(text)
        if value is None:
            continue
        number += 1
        if number > _MOST_SERIES:
            break
        # Of a series that is there twice, as no exposition may have it, both count.
        of_name[labels or b""] = of_name.get(labels or b"", 0.0) + value
    return found


def by_metric(body: bytes, metrics: PodMetrics) -> dict[str, dict[tuple[str, bytes], float]]:
    """The series behind each metric, by name and labels; those that the exposition has nothing of are left out."""
    found = series(body, {name for names in metrics.by_metric.values() for name in names})
    known: dict[str, dict[bytes, float]] = {**{name: {} for name in metrics.absent_until_used}, **found}
    return {
        metric: {(name, labels): value for name in names for labels, value in known.get(name, {}).items()}
        for metric, names in metrics.by_metric.items()
        if any(name in known for name in names)
    }


@lru_cache(maxsize=256)
def _lines(names: frozenset[str]) -> re.Pattern[bytes]:
    either = b"|".join(re.escape(name.encode()) for name in sorted(names))
    # Braces may stand in a label's value, and after the sample's own, in an exemplar.
    labels = rb'\{(?:[^"\n}]|"(?:[^"\\\n]|\\.)*+")*+\}'
    sample = rb"(%s)(?:[ \t]*(%s))?[ \t]+([^\s]{1,64})" % (either, labels)
    return re.compile(rb"^(?:# TYPE (%s) |%s)" % (either, sample), re.MULTILINE)


def _number(text: bytes) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) <= _MOST else None  # Not a number is none of those either.
