"""Why the server could not start, written for the operator and for people.

Kubernetes copies the termination log into the container's last state, and the operator from there into
`status.modelStatus.lastFailureInfo`; so it is one JSON line {"reason": …, "message": …}.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from enum import IntEnum
from pathlib import Path

# The kubelet reads at most 4096 bytes; escapes and non-ASCII text make a character up to four of them.
LONGEST_MESSAGE = 1000


class ExitCode(IntEnum):
    """How the process ends: each kind of failure has a code of its own."""

    DRAINED = 0
    CRASHED = 1  # Python's own, for an unexpected exception
    BAD_ARGUMENTS = 2
    DOWNLOAD_FAILED = 3
    LOAD_FAILED = 4
    UNSUPPORTED_MODEL = 5
    CANNOT_LISTEN = 6


class StartupFailure(Exception):
    """The server cannot start; str() is the message, written for a person and free of secrets."""

    def __init__(self, code: ExitCode, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


def termination_log(env: Mapping[str, str] = os.environ) -> Path:
    """The file that the kubelet reads."""
    return Path(env.get("PENSTOCK_TERMINATION_LOG", "/dev/termination-log"))


def record(failure: StartupFailure, path: Path) -> None:
    """Write the failure for the operator. Outside a container there is no file: the kubelet makes it."""
    if not path.exists():
        return
    with suppress(OSError):
        report = {"reason": failure.reason, "message": str(failure)[:LONGEST_MESSAGE]}
        path.write_text(json.dumps(report, ensure_ascii=False) + "\n", encoding="utf-8")
