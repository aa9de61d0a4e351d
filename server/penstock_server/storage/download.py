"""A model from a bucket: list, fetch in parallel, verify, list again, publish.

The second listing makes the result one state of the bucket: an object that changed after it was fetched is seen there,
and one that changes while it is fetched fails its If-Match.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import structlog

from penstock_server.storage.cache import Cache, disk_error
from penstock_server.storage.errors import Progress, Reason, StorageError
from penstock_server.storage.partial import Chunk, PartialFile
from penstock_server.storage.s3 import PIECE_BYTES, RemoteFile, Source, SourceChanged
from penstock_server.storage.selection import check_loadable, is_wanted
from penstock_server.storage.uri import Bucket
from penstock_server.storage.workers import PARALLELISM, Workers

_ROUNDS = 3  # states of the bucket that may vanish under the download before it gives up
_CUTS = 5  # connections in a row that end without a byte
_NAMES_IN_LOG = 20

_log = structlog.get_logger()


def download(
    location: Bucket, *, into: Path, progress: Callable[[Progress], None], env: Mapping[str, str], stall_seconds: float
) -> Path:
    """Return a directory below `into` with the model's files; see `fetch`."""
    workers = Workers(progress, stall_seconds)
    # A quarter: a connection that hangs is replaced several times before the whole download counts as stalled.
    source = Source(location, env, connections=PARALLELISM, read_seconds=stall_seconds / 4, check=workers.check)
    try:
        return _Download(source, Cache(into, source.address), workers).run()
    except OSError as error:
        raise disk_error(error, into) from error
    finally:
        source.close()


class _Download:
    def __init__(self, source: Source, cache: Cache, workers: Workers) -> None:
        self._source = source
        self._cache = cache
        self._workers = workers
        self._log = _log.bind(source=source.address)

    def run(self) -> Path:
        finished = self._cache.finished(self._listing(log_skipped=True))
        if finished:
            return finished
        with self._cache.locked(waiting=self._workers.report):
            for _ in range(_ROUNDS):
                directory = self._round()
                if directory:
                    return directory
                self._log.warning("the model changed during its download")
        raise self._failed(f"changed {_ROUNDS} times while it was downloaded; is an upload running?")

    def _round(self) -> Path | None:
        """One attempt at one state of the bucket; None when that state is gone."""
        listing = self._listing()
        finished = self._cache.finished(listing)
        if finished:
            return finished
        try:
            self._fill(self._cache.parts(listing))
        except SourceChanged:
            return None
        return self._cache.publish(listing) if self._listing() == listing else None

    def _listing(self, *, log_skipped: bool = False) -> list[RemoteFile]:
        found = self._source.files()
        check_loadable((file.path for file in found), self._source.address)
        skipped = [file.path for file in found if not is_wanted(file.path)]
        if skipped and log_skipped:
            self._log.info("files left in the bucket", count=len(skipped), files=skipped[:_NAMES_IN_LOG])
        return [file for file in found if is_wanted(file.path)]

    def _fill(self, parts: Sequence[PartialFile]) -> None:
        started = time.monotonic()
        missing = [(part, chunk) for part in parts for chunk in part.missing()]
        total = sum(part.remote.size for part in parts)
        to_fetch = sum(chunk.end - chunk.start for _, chunk in missing)
        self._log.info("model download started", bytes=total, bytes_present=total - to_fetch)
        self._workers.expect(present=total - to_fetch, total=total)
        self._workers.for_each(missing, lambda item: self._receive(*item))
        self._workers.for_each(parts, self._verify)
        seconds = round(time.monotonic() - started, 3)
        self._log.info("model download finished", bytes=total, bytes_fetched=to_fetch, seconds=seconds)

    def _receive(self, part: PartialFile, chunk: Chunk) -> None:
        position, cuts = chunk.start, 0
        with part.receiving(chunk) as descriptor:
            while position < chunk.end:
                before = position
                for piece in self._source.pieces(part.remote, position, chunk.end):
                    os.pwrite(descriptor, piece, position)
                    position += len(piece)
                    self._workers.alive(len(piece))
                cuts = 0 if position > before else cuts + 1
                if cuts == _CUTS:
                    raise self._failed(f"the connection for {part.remote.path} is cut again and again")

    def _verify(self, part: PartialFile) -> None:
        checksum = self._source.checksum(part.remote)
        if checksum is None or checksum.matches(self._read(part.data)):
            return
        part.discard()
        raise self._failed(
            f"{part.remote.path} differs from its {checksum.algorithm} checksum; it is fetched anew next time"
        )

    def _read(self, path: Path) -> Iterator[bytes]:
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                self._workers.alive()
                yield piece

    def _failed(self, message: str) -> StorageError:
        return StorageError(Reason.MODEL_DOWNLOAD_FAILED, f"{self._source.address}: {message}")
