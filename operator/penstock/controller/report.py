"""The last step of a pass: the status is written, and what it tells for the first time becomes an Event."""

from collections.abc import Callable
from datetime import datetime, timedelta

from pydantic import ValidationError

from penstock import errors
from penstock.api.status import InferenceServiceStatus
from penstock.api.v1alpha1 import InferenceService
from penstock.controller.deferred_status import DeferredStatus
from penstock.controller.events import Recorder
from penstock.kinds import INFERENCE_SERVICE, Manifest
from penstock.kube.api_server import Cluster
from penstock.status import conditions, status
from penstock.status.conditions import Facts, Problem
from penstock.watch.store import Key, Store


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
        The answer to our write holds the user's newest edit too, and what a router asks for, and the store has then
        seen all that the watch will tell: nothing else would wake the next pass.
        """
        service = facts.seen.service
        new = status.status(facts, now)
        patch = status.merge_patch(self._store.raw_status(key), new.to_dict())
        patch.pop("wakeRequestedAt", None)  # The routers' to write, at any time.
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
            await self._recorder.record(service.metadata, transition, now)
        return _is_still(service, written)

    async def report_undecided(self, key: Key, problem: Problem) -> None:
        """Report a pass that came to no decision: why, and whether pods answer. All else stays as reported last."""
        known = self._store.metadata(key)
        if known is None or known.deletion_timestamp is not None:
            return
        now, raw = self._clock().replace(microsecond=0), self._store.raw_status(key)
        old = _readable(raw)
        serving = self._store.endpoints(key).ready & {pod.name for pod in self._store.pods(key) if pod.could_answer}
        found = conditions.undecided(old.conditions, problem, known.generation, now, is_serving=bool(serving))
        new = InferenceServiceStatus(conditions=found, phase="Degraded", observed_generation=known.generation)
        changes = {name: new.to_dict()[name] for name in ("conditions", "phase", "observedGeneration")}
        patch = status.merge_patch(raw, {**raw, **changes})
        if not patch:
            return
        body = {"metadata": {"uid": known.uid}, "status": patch}
        self._store.put(
            INFERENCE_SERVICE, await self._cluster.merge(INFERENCE_SERVICE, *key, body, subresource="status")
        )
        for transition in status.transitions(old, new):
            await self._recorder.record(known, transition, now)


def _readable(raw: Manifest) -> InferenceServiceStatus:
    try:
        return InferenceServiceStatus.model_validate(raw)
    except ValidationError:
        return InferenceServiceStatus()


def _is_still(service: InferenceService, written: Manifest) -> bool:
    """Whether the object is the one that the pass decided on, aside from what we write of its status."""
    live, known = written["metadata"], service.metadata
    is_going = "deletionTimestamp" in live
    asked_at = InferenceServiceStatus(wakeRequestedAt=written["status"].get("wakeRequestedAt")).wake_requested_at
    return (live.get("generation"), live.get("annotations") or {}, is_going, asked_at) == (
        known.generation,
        known.annotations,
        False,
        service.status.wake_requested_at,
    )
