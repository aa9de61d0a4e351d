"""Waiting for what must come true, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_SECONDS = 0.05


def eventually(check: Callable[[], T], *, within: float = 20.0) -> T:
    """What `check` returns once it no longer raises; its last AssertionError or LookupError after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        try:
            return check()
        except (AssertionError, LookupError):
            if time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE_SECONDS)


def throughout(check: Callable[[], object], *, seconds: float) -> None:
    """Calls `check` again and again for so long: what must not happen takes time to not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        check()
        time.sleep(_PAUSE_SECONDS)
