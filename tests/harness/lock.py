"""Locks that two programs on one machine respect."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.progress import progress


@contextmanager
def exclusive(path: Path, *, waiting: str = "") -> Iterator[None]:
    """Holds the file lock at `path`; prints `waiting` first when somebody else has it.

    The kernel drops the lock when its holder dies, so a crash never leaves it behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        if waiting and _is_held(file.fileno()):
            progress(waiting)
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Holds the file lock at `path` beside others that share it, and never beside one that has it exclusively."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def _is_held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
