"""What a fetch can report: `Progress` while it runs, and one exception when it fails.

StorageError
    reason   one of the four words of `Reason`, for the exit message, the metric label and the condition
    message  one sentence for a person: what failed and what to fix; never a secret
"""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a model could not be fetched."""

    INVALID_STORAGE_URI = "InvalidStorageUri"
    MODEL_DOWNLOAD_FAILED = "ModelDownloadFailed"
    MODEL_DOWNLOAD_STALLED = "ModelDownloadStalled"
    NOT_ENOUGH_DISK = "NotEnoughDisk"


class StorageError(Exception):
    """A model could not be fetched; str() is `message`."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a fetch is."""

    bytes: int  # on disk, including what an earlier, interrupted fetch left
    total_bytes: int | None  # None until the source was listed
