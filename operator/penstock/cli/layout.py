"""How values look in text: spans of time, columns, colours. Pure."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Literal, TypeAlias

Colour = Literal["good", "bad", "busy"]
Paint: TypeAlias = Callable[[str, Colour | None], str]

_UNITS: Final = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_CODES: Final[dict[Colour, int]] = {"good": 32, "bad": 31, "busy": 33}


def plain(text: str, colour: Colour | None) -> str:
    del colour
    return text


def coloured(text: str, colour: Colour | None) -> str:
    """The text in a terminal's own green, red or yellow."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if colour else text


def span(seconds: float) -> str:
    """A span in its two largest units, such as 45s, 3m10s or 4d6h."""
    left, parts = max(int(seconds), 0), []
    for letter, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{letter}")
    return "".join(parts[:2]) or "0s"


def between(then: datetime, now: datetime) -> str:
    """How long it is from the one to the other, whichever is first."""
    return span(abs((now - then).total_seconds()))


def relative(then: datetime, now: datetime) -> str:
    """Such as `in 3m10s` or `45s ago`."""
    return f"in {between(then, now)}" if then > now else f"{between(then, now)} ago"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line per row, each cell as wide as the widest of its column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
