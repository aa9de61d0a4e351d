"""Threads that work off a list, watched from the thread that started them."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from penstock_server.storage.errors import Progress, Reason, StorageError

PARALLELISM = 8
_TICK_SECONDS = 0.2
_Item = TypeVar("_Item")


class Stopped(Exception):
    """Ends a worker whose download was given up elsewhere."""


class Workers:
    """A stop signal, a count of bytes and a watch for stalls, shared by the threads of one download."""

    def __init__(self, progress: Callable[[Progress], None], stall_seconds: float) -> None:
        self._progress = progress
        self._stall_seconds = stall_seconds
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._present = 0
        self._total: int | None = None
        self._last_sign_of_life = time.monotonic()

    def expect(self, *, present: int, total: int) -> None:
        """Begin the count at `present` of `total` bytes."""
        with self._lock:
            self._present, self._total = present, total

    def alive(self, received: int = 0) -> None:
        """Called by a worker for every piece of work; raises Stopped when it should end."""
        self.check()
        with self._lock:
            self._present += received
            self._last_sign_of_life = time.monotonic()

    def check(self) -> None:
        """Raise Stopped when the download was given up."""
        if self._stop.is_set():
            raise Stopped

    def report(self) -> None:
        """Call the download's `progress` with the count."""
        self._progress(Progress(self._present, self._total))

    def for_each(self, items: Sequence[_Item], work: Callable[[_Item], None]) -> None:
        """Run `work` on every item; the first error, a stall, or an exception of `progress` ends all of them."""
        waiting: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        for item in items:
            waiting.put(item)
        self.alive()
        try:
            with ThreadPoolExecutor(PARALLELISM, thread_name_prefix="download") as pool:
                pending = {pool.submit(self._work_off, waiting, work) for _ in range(min(PARALLELISM, len(items)))}
                self._watch(pending)
        finally:
            self._stop.clear()  # All workers have ended; the caller may start over with another list.

    def _watch(self, pending: "set[Future[None]]") -> None:
        try:
            while pending:
                done, pending = wait(pending, timeout=_TICK_SECONDS, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
                self.report()
                self._check_stalled()
        except BaseException:
            self._stop.set()
            raise

    def _work_off(self, waiting: "queue.SimpleQueue[_Item]", work: Callable[[_Item], None]) -> None:
        while True:
            self.check()
            try:
                item = waiting.get_nowait()
            except queue.Empty:
                return
            work(item)

    def _check_stalled(self) -> None:
        if time.monotonic() - self._last_sign_of_life < self._stall_seconds:
            return
        raise StorageError(
            Reason.MODEL_DOWNLOAD_STALLED,
            f"no byte arrived for {self._stall_seconds:g} s, after {self._present} of {self._total}; "
            "what has arrived is kept for the next attempt",
        )
