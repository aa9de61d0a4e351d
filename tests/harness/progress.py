"""What the harness tells whoever waits for it."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TELL_SECONDS = 10.0
_LINE_WIDTH = 110


class HarnessError(Exception):
    """Something the person at the keyboard can mend; the message says what and how."""


def progress(line: str) -> None:
    """Prints one line to stderr at once: stdout belongs to results."""
    # One write: several of our programs share the terminal, and their lines must stay whole.
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@contextmanager
def step(title: str, how_far: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Says what begins, every ten seconds how far it is, and how long it took.

    `how_far` is asked on another thread, and must not fail.
    """
    progress(title)
    started = time.monotonic()
    done = threading.Event()
    name = title.partition(",")[0]

    def tell() -> None:
        while not done.wait(TELL_SECONDS):
            told = how_far()
            progress(f"  {name}: {time.monotonic() - started:.0f} s{told and ', '}{told[:_LINE_WIDTH]}")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
    if time.monotonic() - started > TELL_SECONDS:
        progress(f"  {name}: done in {time.monotonic() - started:.0f} s")


def tail(log: Path, lines: int = 30) -> str:
    """The last lines of a log file; empty when there is none."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def last_line(log: Path) -> Callable[[], str]:
    """For `step`: where a program is that writes a line to `log` for each thing that it begins."""
    return lambda: tail(log, 1).strip()
