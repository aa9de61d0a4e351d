"""Configuration files and protocols of the node, and the one way they are filled in."""

import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def filled(name: str, **values: Any) -> str:
    """The file `name` with its {placeholders} replaced; other braces stay. Raises ValueError for one without value."""
    text = (FOLDER / name).read_text()
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", str(value))
    if left := re.search(r"\{[a-z_]+\}", text):
        raise ValueError(f"{name} has no value for {left[0]}")
    return text
