"""What the harness tells whoever waits for it."""

import sys
from pathlib import Path


class HarnessError(Exception):
    """Something the person at the keyboard can mend; the message says what and how."""


def progress(line: str) -> None:
    """Prints one line to stderr at once: stdout belongs to results."""
    print(line, file=sys.stderr, flush=True)


def tail(log: Path, lines: int = 30) -> str:
    """The last lines of a log file; empty when there is none."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
