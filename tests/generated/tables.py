"""Tables of the reference pages."""

from collections.abc import Iterable


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table; what would end a cell, or look like HTML, is escaped."""
    lines = ["| " + " | ".join(line) + " |" for line in (heads, *(tuple(map(cell, row)) for row in rows))]
    return "\n".join([lines[0], "|---" * len(heads) + "|", *lines[1:], ""])


def cell(text: str) -> str:
    """Text as it stands in a table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def code(text: object) -> str:
    """A word of a program; nothing for nothing."""
    return f"`{text}`" if str(text) else ""
