"""One thread, one bounded queue, one heartbeat: what both engines run on."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import structlog

from penstock_server.engine.protocol import EngineError, EngineFailed, EngineStats, QueueFull

IDLE_BEAT_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Job(Protocol):
    """A unit of work that can fail."""

    def fail(self, error: EngineError) -> None:
        """Deliver `error`. Called from any thread; a second outcome is ignored."""


J = TypeVar("J", bound=Job)


class Worker(Generic[J]):
    """Runs `run` in a thread on what `pick` takes from the queue.

    Args:
        pick: takes at least one job off the left of a queue that is not empty. Called under the lock: keep it short.
        run: one round of work. It reports failures of single jobs itself; what it raises fails the jobs it was given.
        limit: how many jobs may wait.
    """

    def __init__(
        self, name: str, *, limit: int, pick: Callable[[deque[J]], list[J]], run: Callable[[list[J]], None]
    ) -> None:
        self._limit = limit
        self._pick = pick
        self._run = run
        self._waiting: deque[J] = deque()
        self._running: list[J] = []
        self._changed = threading.Condition()
        self._closing = False
        self._beat = time.monotonic()
        # A daemon only so that a crash elsewhere ends the process. torch aborts (exit code 134) when its thread
        # outlives the interpreter, so `close` must always be called, and joins it.
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: J) -> None:
        """Queue a job. Raises QueueFull, or EngineFailed when the worker has ended."""
        with self._changed:
            if self._closing or not self._thread.is_alive():
                raise EngineFailed("the engine has stopped")
            if len(self._waiting) >= self._limit:
                raise QueueFull(f"{len(self._waiting)} requests are already waiting")
            self._waiting.append(job)
            self._changed.notify()

    def discard(self, job: J) -> None:
        """Take a job off the queue if it has not started."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)

    def beat(self) -> None:
        """Record that the round in flight makes progress."""
        self._beat = time.monotonic()

    @property
    def closing(self) -> bool:
        """Whether a long round should end early."""
        return self._closing

    def stats(self) -> EngineStats:
        """The state of this moment, without waiting for the round in flight."""
        return EngineStats(
            waiting=len(self._waiting),
            running=len(self._running),
            heartbeat_age=time.monotonic() - self._beat,
            alive=self._thread.is_alive(),
        )

    def close(self) -> None:
        """End after the step in flight, join the thread, fail what is left."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._fail_all(EngineFailed("the engine has stopped"))

    def _loop(self) -> None:
        while True:
            with self._changed:
                if self._closing:
                    return  # What was running may have been cut short: `close` fails it.
                self._running = []
                while not self._waiting and not self._closing:
                    self.beat()
                    self._changed.wait(IDLE_BEAT_SECONDS)
                if self._closing:
                    return
                self._running = self._pick(self._waiting)
            self.beat()
            self._round()

    def _round(self) -> None:
        try:
            self._run(self._running)
        except Exception as error:  # One failed round must not end the engine for the other requests.
            log.exception("a step of the engine failed")
            failure = error if isinstance(error, EngineFailed) else EngineFailed("the model failed on this request")
            for job in self._running:
                job.fail(failure)

    def _fail_all(self, error: EngineError) -> None:
        for job in [*self._running, *self._waiting]:
            job.fail(error)
        self._running = []
        self._waiting.clear()
