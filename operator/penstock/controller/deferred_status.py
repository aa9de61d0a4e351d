"""Statuses that are written a moment later: what comes in between often says it all in one write.

A write of the status costs the API server more than any other of ours. The status is the memory of a rollout as well,
so a pass goes on from the one that is put off; if the operator ends meanwhile, it is as if it had ended just before it
wrote, and `can_wait` lets nothing wait that must not be lost so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from penstock.api.status import InferenceServiceStatus
from penstock.api.v1alpha1 import InferenceService
from penstock.kinds import Manifest
from penstock.status.status import can_wait
from penstock.watch.store import Key, Store

PATIENCE: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class _Status:
    uid: str  # of the service
    under: Manifest  # what the API server had when it was put off
    written: InferenceServiceStatus  # the same, parsed
    decided: InferenceServiceStatus
    until: datetime


class DeferredStatus:
    """What each service's status is to be, where that is not written yet."""

    def __init__(self, store: Store, clock: Callable[[], datetime], patience: timedelta) -> None:
        self._store = store
        self._clock = clock
        self._patience = patience
        self._waiting: dict[Key, _Status] = {}

    def service(self, key: Key) -> InferenceService | None:
        """The service with the status that was decided last. Raises ValidationError.

        Somebody else's write of the status counts: then nothing is put off any more.
        """
        service = self._store.service(key)
        waiting = self._waiting.get(key)
        if waiting is None:
            return service
        if service is None or service.metadata.uid != waiting.uid or self._store.raw_status(key) != waiting.under:
            self.forget(key)
            return service
        return service.model_copy(update={"status": waiting.decided})

    def written(self, key: Key, service: InferenceService) -> InferenceServiceStatus:
        """The status that the API server has of this service."""
        waiting = self._waiting.get(key)
        return waiting.written if waiting else service.status

    def defer(self, key: Key, service: InferenceService, new: InferenceServiceStatus) -> bool:
        """Whether the new status may wait; it is then the one to go on from.

        Not if the service has gone, or its status was written by somebody else, since the pass began.
        """
        written, left = self.written(key, service), self._left(key)
        live = self._store.service(key)
        is_same = live is not None and (live.metadata.uid, live.status) == (service.metadata.uid, written)
        if left <= timedelta() or not is_same or not can_wait(written, new):
            return False
        raw = self._store.raw_status(key)
        self._waiting[key] = _Status(service.metadata.uid, raw, written, new, self._clock() + left)
        return True

    def due_in(self, key: Key) -> timedelta | None:
        """After how long what is put off is to be written."""
        return max(self._left(key), timedelta()) if key in self._waiting else None

    def _left(self, key: Key) -> timedelta:
        """How much longer it may wait; a clock that was set back makes that no longer."""
        waiting = self._waiting.get(key)
        return min(waiting.until - self._clock(), self._patience) if waiting else self._patience

    def forget(self, key: Key) -> None:
        """When a status was written, or the service is gone."""
        self._waiting.pop(key, None)
