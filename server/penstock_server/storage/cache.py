"""The folder that downloads go to: finished models, one partial one per address, one lock per address.

<address>.lock              held by the process that downloads; the kernel drops it when that process dies
<address>.partial/files/    what has arrived so far, in preallocated files
<address>.partial/marks/    which chunks of them are there
<address>-<content>/        a finished model; <content> is the hash of its listing, so it never changes
"""

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from penstock_server.storage.errors import Reason, StorageError
from penstock_server.storage.partial import PartialFile
from penstock_server.storage.s3 import RemoteFile

_LOCK_POLL_SECONDS = 0.1


class Cache:
    """The part of the folder that belongs to one address."""

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self._address = _short_hash(address)
        self._partial = folder / f"{self._address}.partial"

    def finished(self, listing: Sequence[RemoteFile]) -> Path | None:
        """The directory that holds exactly these files, if it is there."""
        directory = self._finished_name(listing)
        return directory if directory.is_dir() else None

    @contextmanager
    def locked(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the address; calls `waiting` several times a second while another process holds it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"{self._address}.lock").open("a") as file:
            while not _is_taken(file):
                waiting()
                time.sleep(_LOCK_POLL_SECONDS)
            yield

    def parts(self, listing: Sequence[RemoteFile]) -> list[PartialFile]:
        """The files to fill, with room taken on the disk; keeps what an earlier download left of the same objects."""
        parts = [self._part(remote) for remote in listing]
        for part in parts:
            part.discard_unless_resumable()
        self._delete_all_but({part.data for part in parts})
        self._check_room(sum(part.unallocated_bytes() for part in parts))
        (self._partial / "marks").mkdir(parents=True, exist_ok=True)
        for part in parts:
            part.allocate()
        return parts

    def publish(self, listing: Sequence[RemoteFile]) -> Path:
        """Give the complete files their final name, all at once."""
        directory = self._finished_name(listing)
        (self._partial / "files").rename(directory)
        shutil.rmtree(self._partial)
        return directory

    def _part(self, remote: RemoteFile) -> PartialFile:
        marks = self._partial / "marks" / _short_hash(remote.path)
        return PartialFile(remote, self._partial / "files" / remote.path, marks)

    def _delete_all_but(self, wanted: set[Path]) -> None:
        for path in (self._partial / "files").rglob("*"):
            if path.is_file() and path not in wanted:
                path.unlink()

    def _check_room(self, needed: int) -> None:
        disk = os.statvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize
        if needed > free:
            raise StorageError(
                Reason.NOT_ENOUGH_DISK,
                f"the model needs {_gigabytes(needed)} more in {self._folder}, where {_gigabytes(free)} are free; "
                "give the model cache a larger volume",
            )

    def _finished_name(self, listing: Sequence[RemoteFile]) -> Path:
        content = repr([(file.path, file.size, file.etag) for file in listing])
        return self._folder / f"{self._address}-{_short_hash(content)}"


def disk_error(error: OSError, folder: Path) -> StorageError:
    """An error of the file system as the user sees it."""
    is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    reason = Reason.NOT_ENOUGH_DISK if is_full else Reason.MODEL_DOWNLOAD_FAILED
    return StorageError(reason, f"the model cache {folder} cannot be written: {error.strerror or error}")


def _is_taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
