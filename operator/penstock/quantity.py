"""Kubernetes resource quantities ("500m", "1Gi", "2e3", 4), read exactly.

The grammar is that of k8s.io/apimachinery/pkg/api/resource: a decimal number with a binary suffix (Ki to Ei),
a decimal suffix (n, u, m, k to E) or a decimal exponent. All valid quantities lie under 2**63 in steps of a nano,
so a Decimal's 28 digits hold each of them without rounding.
"""

import re
from decimal import ROUND_UP, Decimal
from functools import lru_cache

Quantity = str | int | float

_NUMBER = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([eE][+-]?\d{1,3})|([KMGTPE]i|[numkMGTPE]))?", re.ASCII)
_BINARY = {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)}
_DECIMAL = {letter: Decimal(1000) ** power for power, letter in enumerate(["n", "u", "m", "", *"kMGTPE"], start=-3)}
_MOST = Decimal(2**63 - 1)
_NANO = Decimal("1e-9")
_SCALE = {**_DECIMAL, **_BINARY}


@lru_cache(maxsize=4096)
def parse(quantity: Quantity) -> Decimal:
    """Return the amount in the resource's base unit (cores, bytes, devices). Raises ValueError."""
    # A string even of a number: JSON may carry `cpu: 0.5`, and Decimal(0.1) would keep the float's error.
    match = _NUMBER.fullmatch(str(quantity))
    if match is None:
        raise ValueError(f"{quantity!r} is not a Kubernetes quantity; write it like 500m, 2, 1.5 or 4Gi")
    number, exponent, suffix = match.groups()
    amount = Decimal(number + (exponent or "")) * _SCALE[suffix or ""]
    # As Kubernetes does: what is beyond its range is capped, what is finer than a nano is rounded up.
    return max(min(amount, _MOST), -_MOST).quantize(_NANO, ROUND_UP).normalize()


def equal(one: Quantity, other: Quantity) -> bool:
    """Whether both mean the same amount, as `1024Mi` and `1Gi` do. Raises ValueError."""
    return parse(one) == parse(other)
