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
