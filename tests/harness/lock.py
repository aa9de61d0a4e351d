"""Locks that two programs on one machine respect."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.progress import progress

_LOOK_AGAIN_SECONDS = 0.2


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
def exclusive_unless(is_needless: Callable[[], bool], path: Path, *, waiting: str) -> Iterator[bool]:
    """Holds the lock as `exclusive` does, but waits no longer than it is of use; yields whether it is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        is_told = False
        while not is_needless():
            if not _is_held(file.fileno()):
                yield not is_needless()
                return
            if not is_told:
                progress(waiting)
                is_told = True
            time.sleep(_LOOK_AGAIN_SECONDS)  # flock waits for the lock alone, not for what would make it needless.
        yield False


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
