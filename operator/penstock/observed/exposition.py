"""A few named series out of a Prometheus text exposition, summed over their labels. Pure.

Only the lines asked for are parsed: a server's exposition has hundreds, and thousands of pods are asked every few
seconds. The format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format.
"""

import math
import re
from collections.abc import Collection
from functools import lru_cache

# A line that is longer is no series of ours, and a pod must not make us search it.
_LONGEST_LINE = 4096


def sums(body: bytes, series: Collection[str]) -> dict[str, float]:
    """The sum of each series over all its labels; one that the exposition does not have is left out.

    A series that is declared but has no sample yet counts as 0. Values that are no finite number are left out, so that
    one broken label does not hide the others.
    """
    found: dict[str, float] = {}
    for line in _lines(frozenset(series)).finditer(body):
        declared, name, value = line.groups()
        if declared is not None:
            found.setdefault(declared.decode(), 0.0)
            continue
        number = _number(value)
        if number is not None:
            found[name.decode()] = found.get(name.decode(), 0.0) + number
    return found


@lru_cache(maxsize=256)
def _lines(series: frozenset[str]) -> re.Pattern[bytes]:
    names = b"|".join(re.escape(name.encode()) for name in sorted(series))
    labels = rb"(?:[ \t]*\{[^\n]{0,%d}\})?" % _LONGEST_LINE
    return re.compile(rb"^(?:# TYPE (%s) |(%s)%s[ \t]+([^\s]{1,64}))" % (names, names, labels), re.MULTILINE)


def _number(text: bytes) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
