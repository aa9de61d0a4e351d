"""The last step of a pass: the status is written, and what it tells for the first time becomes an Event."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from pydantic import ValidationError

from penstock import errors
from penstock.api.meta import Condition
from penstock.api.v1alpha1 import InferenceService
from penstock.controller.deferred_status import DeferredStatus
from penstock.controller.events import Recorder
from penstock.kinds import INFERENCE_SERVICE, Manifest
from penstock.kube.api_server import Cluster
from penstock.status import conditions, status
from penstock.status.conditions import Facts
from penstock.watch.store import Key, Store

log = structlog.get_logger(__name__)


class Reporter:
    """`patience` is how long a status that nobody waits for may be put off."""

    def __init__(
        self, cluster: Cluster, store: Store, recorder: Recorder, clock: Callable[[], datetime], patience: timedelta
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._deferred = DeferredStatus(store, clock, patience)

    def service(self, key: Key) -> InferenceService | None:
        """The service as the next pass goes on from it. Raises ValidationError."""
        return self._deferred.service(key)

    def due_in(self, key: Key) -> timedelta | None:
        """After how long a pass has to write what is put off."""
        return self._deferred.due_in(key)

    def forget(self, key: Key) -> None:
        """When the service is gone."""
        self._deferred.forget(key)

    async def report(self, key: Key, facts: Facts, now: datetime, *, at_once: bool = False) -> bool:
        """Write the status if it differs, and tell its transitions as Events. False if the service changed meanwhile.

        `at_once` puts nothing off: a pass that fails does not say when the next one is to be.
        The answer to our write holds the user's newest edit too, and the store has then seen all that the watch will
        tell: nothing else would wake the next pass.
        """
        service = facts.seen.service
        new = status.status(facts, now)
        patch = status.merge_patch(self._store.raw_status(key), new.to_dict())
        if patch and not at_once and self._deferred.defer(key, service, new):
            return True
        old = self._deferred.written(key, service)
        self._deferred.forget(key)
        if not patch:
            return True
        body = {"metadata": {"uid": service.metadata.uid}, "status": patch}
        try:
            written = await self._cluster.merge(INFERENCE_SERVICE, *key, body, subresource="status")
        except errors.NotFound:
            return True
        self._store.put(INFERENCE_SERVICE, written)
        for transition in status.transitions(old, new):
            await self._recorder.record(service, transition, now)
        return _is_still(service, written)

    async def report_unreadable(self, key: Key, error: ValidationError) -> None:
        """Only an older version of the schema, or of this operator, can bring a spec here that does not parse."""
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        told = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
        raw = self._store.raw_status(key)
        old = [Condition.model_validate(each) for each in raw.get("conditions", [])]
        new = conditions.unreadable(old, told, self._clock().replace(microsecond=0))
        patch = status.merge_patch(raw, {**raw, "conditions": [each.to_dict() for each in new]})
        if patch:
            await self._cluster.merge(INFERENCE_SERVICE, *key, {"metadata": {}, "status": patch}, subresource="status")
            log.error("a spec that makes no sense", service=str(key), reason=told)


def _is_still(service: InferenceService, written: Manifest) -> bool:
    """Whether the object is the one that the pass decided on, its status aside."""
    live, known = written["metadata"], service.metadata
    is_going = "deletionTimestamp" in live
    return (live.get("generation"), live.get("annotations") or {}, is_going) == (
        known.generation,
        known.annotations,
        False,
    )
