"""The reconcile arrow, on one screen: observe -> decide -> desired -> apply -> report.

Level-triggered: every pass reads all it needs and would act the same whatever woke it. A second pass over the same
observation writes nothing. All waiting is a time in the status.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from penstock import conditions, errors, failures, names, revision, scaling, status, validation
from penstock.api.v1alpha1 import InferenceService
from penstock.apply import apply
from penstock.cluster import Cluster
from penstock.conditions import Facts, Problem
from penstock.desired import children, pod
from penstock.desired.children import Plan, Stored
from penstock.events import Recorder
from penstock.gather import Gathered, gather
from penstock.kinds import INFERENCE_SERVICE, Manifest
from penstock.names import Reason
from penstock.observe import Seen
from penstock.probes import Probes
from penstock.rollout.decide import Decision, decide
from penstock.store import Key, Store

log = structlog.get_logger(__name__)

# How often the pods of a loading model are asked for their progress.
_PROGRESS_EVERY = timedelta(seconds=3)
# A spec that the API server refuses will not mend itself; a quota might be raised.
_REFUSED_AGAIN_AFTER = timedelta(minutes=5)
# A foreign object bears no label that we watch by: only a look tells that it has gone.
_TAKEN_AGAIN_AFTER = timedelta(seconds=5)


_REFUSALS: Final = frozenset({Reason.INVALID_SPEC, Reason.NAME_CONFLICT, Reason.QUOTA_EXCEEDED})


class Reconciler:
    """One pass over one service; `server_image` is what a new revision's pods run unless the spec says otherwise."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        *,
        probes: Probes,
        recorder: Recorder,
        clock: Callable[[], datetime],
        server_image: str,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._probes = probes
        self._recorder = recorder
        self._clock = clock
        self._server_image = server_image

    async def __call__(self, key: Key) -> timedelta | None:
        """Make one pass. Returns after how long to look again, or None. Raises what the API server's failures raise."""
        service, version = self._store.service(key), self._store.version(key)
        if service is None or service.metadata.deletion_timestamp is not None:
            return None
        # Whole seconds, as the API has them: a deadline must be the same after a round trip through the status.
        now = self._clock().replace(microsecond=0)
        gathered = await gather(self._store, key, service, self._probes)
        facts = _decide(gathered.seen, now)
        if facts.paused is None:
            try:
                problem = await self._write(service, gathered, facts)
            except errors.ApiError as error:
                # Ready would outlive the pods otherwise, for as long as a webhook that one child needs is down.
                if service.status.observed_generation == service.metadata.generation and error.status >= 500:
                    await self._report(key, facts, now)
                raise
            facts = _with_problem(facts, problem, now)
            if facts.scale.seed is not None and problem is None:
                # Our own write wakes the next pass, which then reports on the object as it is by then.
                await self._seed(service, facts.scale.seed, version)
                return None
        is_current = await self._report(key, facts, now)
        return _look_again(facts, now) if is_current else timedelta()

    async def _seed(self, service: InferenceService, replicas: int, version: str) -> None:
        """Give the autoscaler a first number: without one `GET /scale` fails and it never starts.

        Guarded by the version that we decided from, so that it can never overwrite an autoscaler's own write.
        """
        key = Key(service.metadata.namespace, service.metadata.name)
        patch = {"metadata": {"uid": service.metadata.uid, "resourceVersion": version}, "spec": {"replicas": replicas}}
        await self._cluster.merge(INFERENCE_SERVICE, *key, patch, subresource="scale", manager=names.SEED_FIELD_MANAGER)
        log.info("seeded replicas for the autoscaler", service=str(key), replicas=replicas)

    async def _write(self, service: InferenceService, gathered: Gathered, facts: Facts) -> Problem | None:
        problems = validation.validate(service)
        if problems:
            told = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
            return Problem(Reason.INVALID_SPEC, told)
        stored = _stored(service, gathered, facts.decision, server_image=self._server_image)
        if facts.decision.target not in stored:
            message = f"the stored template of revision {facts.decision.target} is gone; change the spec to go on"
            return Problem(Reason.INVALID_SPEC, message)
        plan = Plan(
            slot=facts.decision.slot,
            strategy=facts.decision.strategy,
            replicas=facts.scale.replicas,
            revision=facts.decision.target,
            stored=stored,
            annotations=_remembered(facts),
        )
        return await apply(self._cluster, self._store, service, children.children(service, plan))

    async def _report(self, key: Key, facts: Facts, now: datetime) -> bool:
        """Write the status if it differs, and tell its transitions as Events. False if the service changed meanwhile.

        The answer to our write holds the user's newest edit too, and the store has then seen all that the watch will
        tell: nothing else would wake the next pass.
        """
        service = facts.seen.service
        new = status.status(facts, now)
        patch = status.merge_patch(self._store.raw_status(key), new.to_dict())
        if not patch:
            return True
        body = {"metadata": {"uid": service.metadata.uid}, "status": patch}
        try:
            written = await self._cluster.merge(INFERENCE_SERVICE, *key, body, subresource="status")
        except errors.NotFound:
            return True
        self._store.put(INFERENCE_SERVICE, written)
        for transition in status.transitions(service.status, new):
            await self._recorder.record(service, transition, now)
        return _is_still(service, written)


def _decide(seen: Seen, now: datetime) -> Facts:
    service = seen.service
    causes = failures.causes(seen, now)
    scale = scaling.scale(service, seen.deployment.ready if seen.deployment else 0)
    paused = service.metadata.annotations.get(names.ANNOTATION_PAUSED)
    is_stopped = paused is not None or scale.off is not None or _is_refused(service)
    decision = decide(seen, revision.of(service), causes, now, is_stopped=is_stopped)
    return Facts(seen=seen, decision=decision, scale=scale, causes=causes, paused=paused)


def _with_problem(facts: Facts, problem: Problem | None, now: datetime) -> Facts:
    """A rollout that is refused stands still from now on: see `_is_refused`."""
    if problem is None or facts.decision.deadline_at is None:
        return replace(facts, problem=problem)
    stopped = replace(facts.decision, paused_at=facts.decision.paused_at or now, is_overdue=False)
    return replace(facts, problem=problem, decision=stopped)


def _is_refused(service: InferenceService) -> bool:
    """The last pass could not write what this spec asks for: its revision never ran, so its deadline must not pass."""
    stalled = conditions.by_type(service.status.conditions).get(names.Condition.STALLED)
    is_current = service.status.observed_generation == service.metadata.generation
    return is_current and stalled is not None and stalled.status == "True" and stalled.reason in _REFUSALS


def _stored(
    service: InferenceService, gathered: Gathered, decision: Decision, *, server_image: str
) -> dict[str, Stored]:
    """The templates to keep: those in use and the newest others; the current one is added where it is missing."""
    stored = dict(gathered.stored)
    if decision.current not in stored:
        number = max((old.number for old in stored.values()), default=0) + 1
        stored[decision.current] = Stored(number, _template(service, gathered, decision, server_image=server_image))
    in_use = {decision.current, decision.target, decision.stable}
    others = sorted((key for key in stored if key not in in_use), key=lambda key: -stored[key].number)
    kept = in_use | set(others[: service.spec.rollout.revision_history_limit])
    return {key: old for key, old in stored.items() if key in kept}


def _template(
    service: InferenceService, gathered: Gathered, decision: Decision, *, server_image: str
) -> dict[str, object]:
    """A revision that runs already is stored as it runs: a fresh rendering might restart it."""
    running = gathered.seen.deployment
    if running is not None and running.revision == decision.current and gathered.live_template is not None:
        return gathered.live_template
    return pod.template(service, decision.current, server_image=server_image)


def _remembered(facts: Facts) -> Mapping[str, str]:
    """What the active Service carries for the case that the status is wiped.

    A first deployment needs none: with nothing to go back to, a wiped status is rebuilt from the Deployment alone.
    """
    decision = facts.decision
    if decision.phase == "Stable" and names.ANNOTATION_STABLE not in facts.seen.annotations:
        return {}
    pairs = ((names.ANNOTATION_STABLE, decision.stable), (names.ANNOTATION_FAILED, decision.failed))
    return {key: value for key, value in pairs if value}


def _is_still(service: InferenceService, written: Manifest) -> bool:
    """Whether the object is the one that the pass decided on, its status aside."""
    live, known = written["metadata"], service.metadata
    is_going = "deletionTimestamp" in live
    return (live.get("generation"), live.get("annotations") or {}, is_going) == (
        known.generation,
        known.annotations,
        False,
    )


def _look_again(facts: Facts, now: datetime) -> timedelta | None:
    """When time alone may change the outcome."""
    waits = [
        facts.decision.requeue_at - now if facts.decision.requeue_at else None,
        (patience - now) if (patience := failures.patience_ends(facts.seen, now)) else None,
        _after_problem(facts.problem) if facts.problem else None,
        _PROGRESS_EVERY if _is_loading(facts) else None,
    ]
    soonest = min((wait for wait in waits if wait is not None), default=None)
    return None if soonest is None else max(soonest, timedelta(milliseconds=100))


def _after_problem(problem: Problem) -> timedelta:
    return _TAKEN_AGAIN_AFTER if problem.reason is Reason.NAME_CONFLICT else _REFUSED_AGAIN_AFTER


def _is_loading(facts: Facts) -> bool:
    if facts.seen.service.spec.predictor.model is None:
        return False
    return any(pod.is_loading for pod in facts.seen.pods)
