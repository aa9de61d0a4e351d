"""The reconcile arrow, on one screen: observe -> decide -> desired -> apply -> report.

Level-triggered: every pass reads all it needs and would act the same whatever woke it. A second pass over the same
observation writes nothing. All waiting is a time in the status.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from pydantic import ValidationError

from penstock import errors, names
from penstock.api.status import PredictorStatus
from penstock.api.v1alpha1 import InferenceService
from penstock.controller import handover, requeue, sleeping
from penstock.controller.apply import Vanished, apply
from penstock.controller.deferred_status import PATIENCE
from penstock.controller.events import Recorder
from penstock.controller.gather import Gathered, gather
from penstock.controller.report import Reporter
from penstock.controller.sleeping import Sleepers
from penstock.desired import children, history, validation
from penstock.desired.children import ServicePlan
from penstock.desired.gateway import Routes
from penstock.desired.history import Stored
from penstock.desired.installation import Installation, forbidden_routes, missing_prometheus
from penstock.kinds import DEPLOYMENT, HTTP_ROUTE, INFERENCE_SERVICE, SERVICE, Kind
from penstock.kube.api_server import Cluster
from penstock.names import Reason, Slot
from penstock.observed import causes as pod_causes
from penstock.observed import parse
from penstock.observed.values import Seen
from penstock.pods.checks import Checks
from penstock.pods.client import PodClient
from penstock.pods.idleness import Idleness
from penstock.rollout import memory
from penstock.rollout.decide import decide
from penstock.rollout.decision import Decision, changed
from penstock.scaling import replicas
from penstock.scaling.replicas import Scale
from penstock.scaling.sleep import Sleep
from penstock.status import conditions
from penstock.status.conditions import Facts, Problem
from penstock.watch.store import Key, ObjectId, Store

log = structlog.get_logger(__name__)


_REFUSALS: Final = frozenset(
    {
        Reason.INVALID_SPEC,
        Reason.NAME_CONFLICT,
        Reason.QUOTA_EXCEEDED,
        Reason.GATEWAY_API_MISSING,
    }  # A model need not wait for KEDA or a VPA to be updated.
)


class Reconciler:
    """One pass over one service.

    `installation` is what holds for all services; `patience` is how long a status that nobody waits for may be put off.
    A pass waits for no pod: `wake` is called with the service's key when its pods have answered, and the next pass
    decides with that. `on_internal_error` hears of each pass in which the operator itself failed.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        *,
        pod_client: PodClient,
        wake: Callable[[Key], None],
        recorder: Recorder,
        clock: Callable[[], datetime],
        installation: Installation,
        patience: timedelta = PATIENCE,
        on_internal_error: Callable[[], None] = lambda: None,
    ) -> None:
        self._reporter = Reporter(cluster, store, recorder, clock, patience)
        self._checks = Checks(pod_client, wake)
        self._sleepers = Sleepers(store, Idleness(pod_client, wake, clock), installation)
        self._seeded: dict[Key, str] = {}  # the version that the last seed was decided from
        self._cluster = cluster
        self._store = store
        self._clock = clock
        self._installation = installation
        self._on_internal_error = on_internal_error

    async def __call__(self, key: Key) -> timedelta | None:
        """Make one pass. Returns after how long to look again, or None.

        Raises what the API server's failures raise; and any other error, once the service's own status tells of it.
        """
        try:
            return await self._pass(key)
        except (errors.ApiError, errors.Unreachable, Vanished):
            raise
        except Exception as error:
            self._on_internal_error()
            why = f"the operator failed on this service: {type(error).__name__}: {error}"
            await self._reporter.report_undecided(key, Problem(Reason.INTERNAL_ERROR, why))
            raise

    async def _pass(self, key: Key) -> timedelta | None:
        try:
            service, version = self._reporter.service(key), self._store.version(key)
        except ValidationError as error:
            await self._reporter.report_undecided(key, _unreadable(error))
            return requeue.REFUSED_AGAIN_AFTER
        if service is None or service.metadata.deletion_timestamp is not None:
            self._checks.forget(key)
            self._sleepers.forget(key)
            self._reporter.forget(key)
            self._seeded.pop(key, None)
            self._store.waiting_for_room.discard(key)
            return None
        # Whole seconds, as the API has them: a deadline must be the same after a round trip through the status.
        now = self._clock().replace(microsecond=0)
        gathered = gather(
            self._store,
            key,
            service,
            self._checks,
            now,
            idleness=self._sleepers.idleness,
            installation=self._installation,
        )
        facts = _decide(gathered, now, self._sleepers.sleep(key, gathered.seen, gathered.least, now))
        try:
            problem = await self._write(service, gathered, facts)
        except errors.ApiError as error:
            # Ready would outlive the pods otherwise, for as long as a webhook that one child needs is down.
            if service.status.observed_generation == service.metadata.generation and error.status >= 500:
                await self._reporter.report(key, facts, now, at_once=True)
                self._heard(key, gathered, facts)
            raise
        facts = _with_problem(facts, problem, now)
        if problem is not None and problem.reason is Reason.INTERNAL_ERROR:
            self._on_internal_error()
        if facts.scale.seed is not None and facts.paused is None and problem is None:
            # Our own write wakes the next pass, which then reports on the object as it is by then.
            await self._seed(service, facts.scale.seed, version)
            return None
        is_current = await self._reporter.report(key, facts, now)
        self._heard(key, gathered, facts)
        # What stood still because it was refused goes on with the next pass, which nothing else need wake.
        is_free_again = facts.problem is None and _is_refused(service)
        if not is_current or is_free_again:
            return timedelta()
        return requeue.soonest(requeue.look_again(facts, now), self._reporter.due_in(key))

    def _heard(self, key: Key, gathered: Gathered, facts: Facts) -> None:
        """After the report: the answers that it rests on count once, and the pods are asked what is wanted next."""
        if gathered.seen.answers is not None:
            self._checks.keep(key, gathered.seen.answers)
        self._checks.ask(key, gathered.seen, gathered.smoke_test, facts.decision)

    async def close(self) -> None:
        """Ask the pods nothing any more."""
        await self._checks.close()
        await self._sleepers.idleness.close()

    async def _seed(self, service: InferenceService, replicas: int, version: str) -> None:
        """Give the autoscaler a first number: without one `GET /scale` fails and it never starts.

        Guarded by the version that we decided from, so that it can never overwrite an autoscaler's own write.
        """
        key = Key(service.metadata.namespace, service.metadata.name)
        if self._seeded.get(key) == version:
            return  # The watch has not shown it yet.
        patch = {"metadata": {"uid": service.metadata.uid, "resourceVersion": version}, "spec": {"replicas": replicas}}
        await self._cluster.merge(INFERENCE_SERVICE, *key, patch, subresource="scale", manager=names.SEED_FIELD_MANAGER)
        self._seeded[key] = version
        log.info("seeded replicas for the autoscaler", service=str(key), replicas=replicas)

    async def _write(self, service: InferenceService, gathered: Gathered, facts: Facts) -> Problem | None:
        if facts.paused is not None:
            return await sleeping.follow_routers(self._cluster, self._store, gathered.seen, facts.sleep)
        if gathered.problem is not None and gathered.template is None:
            return gathered.problem  # There is nothing yet that could go on.
        decision, stored = facts.decision, _stored(gathered, facts.decision)
        gone = next((pods.revision for pods in decision.slots.values() if pods.revision not in stored), None)
        if gone is not None:
            message = f"the stored template of revision {gone} is gone; change the spec to go on"
            return gathered.problem or Problem(Reason.INVALID_SPEC, message)
        switched = await self._confirm(service, gathered, facts)
        plan = ServicePlan(
            active=decision.active,
            slots=decision.slots,
            stored=stored,
            preview=self._preview(service, decision),
            annotations=_remembered(facts),
            is_shared=decision.is_shared,
            routes=Routes(decision.shares, decision.variant),
            least=gathered.least.pods,
            ports=_ports(gathered.seen, decision, stored),
            redirection=sleeping.redirection(gathered.seen, facts.sleep),
            prometheus=self._installation.prometheus_address,
        )
        # While the spec is refused nothing is taken away: what runs goes on as it did.
        refused = await self._apply(service, plan, guard=switched, prunes=gathered.problem is None)
        before = self._as_it_runs(service, plan, gathered.seen) if refused is not None else None
        if before is not None:
            await self._apply(service, before, prunes=False)
        return gathered.problem or refused

    def _as_it_runs(self, service: InferenceService, plan: ServicePlan, seen: Seen) -> ServicePlan | None:
        """The plan with what runs in the slots whose new template was refused; None if none was.

        The number of the active slot's pods need not be refused with it; a slot beside it stays as it is.
        """
        live = self._store.children(service.metadata.uid)
        slots = dict(plan.slots)
        for slot, pods in plan.slots.items():
            found, child = (
                seen.slots.get(slot),
                live.get((DEPLOYMENT.name, names.deployment(service.metadata.name, slot))),
            )
            if found is None or child is None or found.revision not in plan.stored:
                continue
            if parse.deployment(child.manifest()).revision != pods.revision:
                number = pods.replicas if slot is seen.active else found.wanted
                slots[slot] = replace(pods, revision=found.revision, replicas=number)
        return replace(plan, slots=slots) if slots != plan.slots else None

    async def _apply(
        self, service: InferenceService, plan: ServicePlan, *, guard: str | None = None, prunes: bool
    ) -> Problem | None:
        wanted = children.children(service, plan)
        if not validation.can_be_autoscaled(service) or missing_prometheus(service, self._installation):
            # The autoscaler that is there has a metric.
            wanted = [each for each in wanted if each["kind"] not in handover.SCALERS]
        wanted, obstacle = await handover.one_at_a_time(
            self._cluster, self._store, service, wanted, least=children.least(service, plan)
        )
        forbidden = forbidden_routes(service, self._installation)
        if forbidden:
            wanted = [each for each in wanted if each["kind"] != HTTP_ROUTE.name]
        problem = await apply(self._cluster, self._store, service, wanted, guard=guard, prunes=prunes) or obstacle
        if problem is None and forbidden:
            return Problem(Reason.ROUTE_NOT_ALLOWED, "; ".join(f"{each.field}: {each.message}" for each in forbidden))
        return problem

    def _preview(self, service: InferenceService, decision: Decision) -> Slot | None:
        """What the preview Service is to select: made where there is time to look, and then kept to save writes."""
        rollout, name = decision.rollout, names.preview(service.metadata.name)
        is_there = (SERVICE.name, name) in self._store.children(service.metadata.uid)
        is_wanted = rollout.strategy == "Canary" or service.spec.rollout.is_shown_first
        return Slot(rollout.preview_slot) if rollout.preview_slot and (is_there or is_wanted) else None

    async def _confirm(self, service: InferenceService, gathered: Gathered, facts: Facts) -> str | None:
        """Before traffic moves or pods go: look whether what that rests on is still so. Raises Vanished if not.

        Returns the version that the active Service must still have when it is written, where the traffic is to move.
        """
        name, namespace = service.metadata.name, service.metadata.namespace
        seen, decision = gathered.seen, facts.decision
        to = sleeping.redirection(seen, facts.sleep)
        is_redirection = (to is not None and to.is_alone) is not seen.is_redirected
        is_move = decision.is_shared is not seen.is_shared or decision.active is not seen.active or is_redirection
        takes_pods_away = _takes_pods_away(seen, decision)
        if facts.sleep is not None and facts.sleep.is_asleep and any(found.wanted for found in seen.slots.values()):
            # A router may have asked for the pods a moment ago.
            await self._look(INFERENCE_SERVICE, namespace, name)
        held = self._store.held(ObjectId(SERVICE.name, namespace, name))  # as it was decided from
        if not is_move:
            if takes_pods_away:
                await self._look(SERVICE, namespace, name)
                await self._look(DEPLOYMENT, namespace, names.deployment(name, seen.active))
            return None
        for slot in decision.selected - seen.selected_slots:
            await self._look(DEPLOYMENT, namespace, names.deployment(name, slot))
        return held

    async def _look(self, kind: Kind, namespace: str, name: str) -> None:
        """Raises Vanished if the object is not what the store has."""
        live = await self._cluster.get(kind, namespace, name)
        if live is None:
            self._store.drop(ObjectId(kind.name, namespace, name))
        if live is None or self._store.put(kind, live):
            raise Vanished(f"{kind} {name} has changed")


def _unreadable(error: ValidationError) -> Problem:
    """Only an older version of the schema, or of this operator, can bring a spec here that does not parse."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return Problem(
        Reason.INVALID_SPEC, "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
    )


def _decide(gathered: Gathered, now: datetime, sleep: Sleep | None) -> Facts:
    seen, service = gathered.seen, gathered.seen.service
    causes = pod_causes.causes(seen, now)
    scale = replicas.scale(service, sum(found.ready for found in seen.serving), least=gathered.least.pods)
    if sleep is not None and sleep.is_asleep and scale.off is None:
        scale = Scale(0, off=Reason.ASLEEP)
    paused = service.metadata.annotations.get(names.ANNOTATION_PAUSED)
    is_stopped = paused is not None or scale.off is not None or gathered.problem is not None or _is_refused(service)
    decision = decide(seen, causes, now, wanted=scale.replicas, is_stopped=is_stopped)
    return Facts(
        seen=seen, decision=decision, scale=scale, causes=causes, paused=paused, sleep=sleep, least=gathered.least
    )


def _takes_pods_away(seen: Seen, decision: Decision) -> bool:
    """Whether a slot is to lose all its pods while others are to stay."""
    if not any(pods.replicas for pods in decision.slots.values()):
        return False
    return any(
        found.wanted > 0 and (slot not in decision.slots or decision.slots[slot].replicas == 0)
        for slot, found in seen.slots.items()
    )


def _with_problem(facts: Facts, problem: Problem | None, now: datetime) -> Facts:
    """A rollout that is refused stands still from now on: see `_is_refused`."""
    if problem is not None and problem.reason is Reason.AUTOSCALER_CHANGING:
        return replace(facts, handover=problem.message)  # It passes by itself.
    rollout = facts.decision.rollout
    is_halted = problem is not None and problem.reason in _REFUSALS
    if not is_halted or rollout.deadline_at is None:
        return replace(facts, problem=problem)
    stopped = changed(rollout, paused_at=rollout.paused_at or now)
    decision = replace(facts.decision, rollout=stopped, is_overdue=False, requeue_at=None)
    return replace(facts, problem=problem, decision=decision)


def _is_refused(service: InferenceService) -> bool:
    """The last pass could not write what this spec asks for: its revision never ran, so its deadline must not pass."""
    stalled = conditions.by_type(service.status.conditions).get(names.Condition.STALLED)
    is_current = service.status.observed_generation == service.metadata.generation
    return is_current and stalled is not None and stalled.status == "True" and stalled.reason in _REFUSALS


def _stored(gathered: Gathered, decision: Decision) -> dict[str, Stored]:
    """The templates to keep, those of every revision that runs, or that it may go back to, among them."""
    service, current = gathered.seen.service, decision.current
    templates = {**gathered.running, **({current: gathered.template} if gathered.template else {})}
    rolled_out = service.status.components.predictor if service.status.components else PredictorStatus()
    in_use = {
        current,
        decision.stable,
        rolled_out.latest_rolledout_revision,
        rolled_out.previous_rolledout_revision,
        *(pods.revision for pods in decision.slots.values()),
        *(found.revision for found in gathered.seen.slots.values()),
        *(pod.revision for pod in gathered.seen.pods if not pod.is_leaving),
    }
    limit = service.spec.rollout.revision_history_limit
    return history.kept(
        gathered.stored, templates, current=current, in_use={each for each in in_use if each}, limit=limit
    )


def _ports(seen: Seen, decision: Decision, stored: Mapping[str, Stored]) -> dict[Slot, str]:
    """The port on which most of a slot's pods answer; the wanted one where as many do.

    Where none answers, that of those which still might: they are on their way out, or were up and may be again. Where
    there are none, that of the Deployment as it is: a new template may be refused.
    """
    found = {}
    for slot, wanted in decision.slots.items():
        mine = [pod for pod in seen.pods if pod.slot == slot and pod.revision in stored]
        answering = (
            [pod for pod in mine if pod.could_answer],
            [pod for pod in mine if pod.is_ready],
            [pod for pod in mine if pod.is_started and not pod.is_leaving],
            [pod for pod in mine if not pod.is_leaving],
        )
        revisions = [pod.revision for pod in next(filter(None, answering), [])]
        if not revisions and slot in seen.slots and seen.slots[slot].revision in stored:
            revisions = [seen.slots[slot].revision]
        port = children.serving_port(stored[wanted.revision].template)
        ports = Counter(children.serving_port(stored[revision].template) for revision in revisions)
        found[slot] = max(ports, key=lambda name: (ports[name], name == port), default=port)
    return found


def _remembered(facts: Facts) -> Mapping[str, str]:
    """What the active Service carries for the case that the status is wiped.

    A first deployment needs none: with nothing to go back to, a wiped status is rebuilt from the Deployment alone.
    """
    decision = facts.decision
    is_first = decision.phase == "Stable" and decision.rollout.last_action is None and decision.active is Slot.BLUE
    if decision.stable is None or (is_first and names.ANNOTATION_STABLE not in facts.seen.annotations):
        return {}
    return memory.notes(decision.rollout)
