"""A file that arrives in chunks, in any order, and can be resumed after its writer was killed.

Beside the data is a small file of marks: one line that names the object (ETag, size), then one byte per chunk. A
chunk is marked once its bytes are on the disk, so a mark is always true, even after a power cut; a mark is one byte
written in place, so it is never incomplete.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from penstock_server.storage.s3 import RemoteFile

CHUNK_BYTES = 16 << 20  # Half as many requests and syncs as 8 MiB; a kill loses at most one chunk per thread.
_MISSING = b"."
_PRESENT = b"#"


@dataclass(frozen=True, slots=True)
class Chunk:
    """The bytes [start, end) of a file."""

    index: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PartialFile:
    """One file of a download, with the marks of what has arrived."""

    remote: RemoteFile
    data: Path
    marks: Path

    def discard_unless_resumable(self) -> None:
        """Delete what belongs to another version of the object."""
        if self._is_resumable():
            return
        self.discard()
        self.data.unlink(missing_ok=True)

    def discard(self) -> None:
        """Forget what has arrived: the next `allocate` starts anew."""
        self.marks.unlink(missing_ok=True)

    def unallocated_bytes(self) -> int:
        """How much room the file still needs on the disk."""
        if not self.data.exists():
            return self.remote.size
        return max(0, self.remote.size - self.data.stat().st_blocks * 512)

    def allocate(self) -> None:
        """Take the room on the disk now, so that the disk cannot fill up half-way."""
        if self._is_resumable():
            return
        self.data.parent.mkdir(parents=True, exist_ok=True)
        with self.data.open("wb") as file:
            if self.remote.size:
                os.posix_fallocate(file.fileno(), 0, self.remote.size)
        written = self.marks.with_suffix(".new")
        written.write_bytes(self._header() + _MISSING * _chunks(self.remote.size))
        written.replace(self.marks)

    def missing(self) -> list[Chunk]:
        """The chunks that have not arrived, in order."""
        marks = self.marks.read_bytes()[len(self._header()) :]
        starts = ((index, index * CHUNK_BYTES) for index, mark in enumerate(marks) if mark != _PRESENT[0])
        return [Chunk(index, start, min(start + CHUNK_BYTES, self.remote.size)) for index, start in starts]

    @contextmanager
    def receiving(self, chunk: Chunk) -> Iterator[int]:
        """A file descriptor to write the chunk's bytes to; a block that ends without an exception marks it."""
        descriptor = os.open(self.data, os.O_WRONLY | os.O_CLOEXEC)
        try:
            yield descriptor
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        with self.marks.open("r+b", buffering=0) as marks:
            marks.seek(len(self._header()) + chunk.index)
            marks.write(_PRESENT)

    def _is_resumable(self) -> bool:
        if not self.marks.exists() or not self.data.exists() or self.data.stat().st_size != self.remote.size:
            return False
        marks = self.marks.read_bytes()
        return marks.startswith(self._header()) and len(marks) == len(self._header()) + _chunks(self.remote.size)

    def _header(self) -> bytes:
        identity = {"etag": self.remote.etag, "size": self.remote.size, "chunk_bytes": CHUNK_BYTES}
        return json.dumps(identity, sort_keys=True).encode() + b"\n"


def _chunks(size: int) -> int:
    return -(-size // CHUNK_BYTES)
