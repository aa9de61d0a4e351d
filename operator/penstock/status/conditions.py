"""The six conditions of a service, each from the same facts. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from penstock.api import meta
from penstock.api.meta import ConditionStatus
from penstock.api.predictor import Predictor
from penstock.api.v1alpha1 import InferenceServiceSpec
from penstock.names import ANNOTATION_PAUSED, Condition, Reason
from penstock.observed.causes import Cause, most_telling
from penstock.observed.values import Seen, SeenAutoscaler, SeenDeployment
from penstock.rollout.decision import Decision
from penstock.scaling.replicas import Scale
from penstock.scaling.schedule import Least
from penstock.scaling.sleep import NO_ROUTER, Sleep


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the children could not be written: the user's turn, or a name that is taken."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Facts:
    """What a status is computed from."""

    seen: Seen
    decision: Decision
    scale: Scale
    causes: list[Cause]
    least: Least  # pods
    problem: Problem | None = None
    paused: str | None = None  # the user's reason, when the user said hands off
    sleep: Sleep | None = None  # of a service that may sleep
    handover: str | None = None  # what has to go before another autoscaler may come

    @cached_property
    def serving(self) -> frozenset[str]:
        """Pods that answer now: ready by the kubelet *and* behind the active Service, or behind the routers there."""
        ready = {pod.name for pod in self.seen.pods if pod.could_answer}
        if self.sleep is not None and self.seen.has_router_slice and self.seen.routers and self.scale.off is None:
            selected = {slot.value for slot in self.seen.selected_slots}
            return frozenset(pod.name for pod in self.seen.pods if pod.name in ready and pod.slot in selected)
        return self.seen.endpoints.ready & ready

    @property
    def is_serving(self) -> bool:
        return bool(self.serving)

    @property
    def is_waking(self) -> bool:
        """Requests are held until its first pod answers."""
        return self.sleep is not None and self.sleep.status.state == "Waking" and self.sleep.is_redirected

    @property
    def deployments(self) -> list[SeenDeployment]:
        """Those of the slots that serve, by what was decided."""
        return [each for slot, each in self.seen.slots.items() if slot in self.decision.selected]

    @property
    def is_scaling_up(self) -> bool:
        """Pods are wanted that nobody has had the time to create yet."""
        deployment = self.seen.deployment
        return deployment is None or not deployment.is_observed or deployment.replicas < deployment.wanted

    @property
    def stalled(self) -> tuple[Reason, str] | None:
        """Why it cannot go on by itself, if so."""
        if self.problem is not None:
            return self.problem.reason, self.problem.message
        if self.decision.has_failed:
            return _why_failed(self.decision), self.decision.message
        if self.decision.is_overdue:
            return Reason.PROGRESS_DEADLINE_EXCEEDED, self.decision.message
        return None


def _why_it_ended(decision: Decision) -> Reason | None:
    """Why nothing is on its way; None while something is."""
    if decision.phase == "Stable":
        return Reason.STABLE
    if decision.has_failed:
        return _why_failed(decision)
    if decision.is_overdue:
        return Reason.PROGRESS_DEADLINE_EXCEEDED
    return Reason.ROLLOUT_PAUSED if decision.phase == "RolloutPaused" else None


def _why_failed(decision: Decision) -> Reason:
    """Why the current revision was given up; a wiped status has forgotten it."""
    reason = decision.rollout.reason
    return Reason(reason) if reason in tuple(Reason) else Reason.ROLLED_BACK


StatusAndReason = tuple[ConditionStatus, Reason, str]  # of one condition, and its message


def conditions(facts: Facts, now: datetime) -> list[meta.Condition]:
    """All six, in a fixed order; one whose status did not change keeps its time."""
    ready = _ready(facts)
    values: dict[Condition, StatusAndReason] = {
        Condition.READY: ready,
        Condition.PREDICTOR_READY: ready,
        Condition.PROGRESSING: _progressing(facts),
        Condition.AUTOSCALING_ACTIVE: _autoscaling_active(facts),
        Condition.RECONCILING: _reconciling(facts),
        Condition.STALLED: _stalled(facts),
    }
    service = facts.seen.service
    new = [_condition(kind, value, service.metadata.generation, now) for kind, value in values.items()]
    return meta.keep_times(service.status.conditions, new)


def undecided(
    old: Sequence[meta.Condition], problem: Problem, generation: int, now: datetime, *, is_serving: bool
) -> list[meta.Condition]:
    """The conditions after a pass that came to no decision: all else stays as it was last reported."""
    stalled: StatusAndReason = ("True", problem.reason, problem.message)
    ready: StatusAndReason = ("True", Reason.READY, "a pod answers") if is_serving else ("False", *stalled[1:])
    values = {Condition.READY: ready, Condition.PREDICTOR_READY: ready, Condition.STALLED: stalled}
    new = by_type(old) | {kind: _condition(kind, value, generation, now) for kind, value in values.items()}
    return meta.keep_times(old, new.values())


def _condition(kind: Condition, value: StatusAndReason, generation: int, now: datetime) -> meta.Condition:
    status, reason, message = value
    return meta.Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=now,
        observed_generation=generation,
    )


def by_type(found: Iterable[meta.Condition]) -> dict[str, meta.Condition]:
    return {condition.type: condition for condition in found}


def _ready(facts: Facts) -> StatusAndReason:
    if facts.is_serving:
        return "True", Reason.READY, _proof(facts.seen.service.spec.predictor)
    if facts.scale.off is Reason.ASLEEP and not facts.seen.routers:
        return "False", Reason.NO_ROUTER, NO_ROUTER
    if kept_asleep := _kept_asleep(facts):
        return "False", Reason.PAUSED_BY_USER, kept_asleep
    if facts.scale.off is not None:
        return "True" if facts.scale.off is Reason.ASLEEP else "False", facts.scale.off, _OFF[facts.scale.off]
    if facts.problem is not None:
        return "False", facts.problem.reason, facts.problem.message
    return _ready_soon(facts)


def _kept_asleep(facts: Facts) -> str:
    """That a service without pods is not to be touched; empty for all others."""
    is_wanted = any(found.wanted for found in facts.seen.slots.values())
    sleeps = facts.scale.off is Reason.ASLEEP or (facts.is_waking and not is_wanted)
    if facts.paused is None or not sleeps:
        return ""
    return f"it sleeps, and nothing wakes it: {_hands_off(facts.paused)}"


def _ready_soon(facts: Facts) -> StatusAndReason:
    """While pods are on their way."""
    cause = most_telling(facts.causes, facts.decision.target)
    if cause is not None:
        return "False", cause.reason, f"{cause.object}: {cause.message}"
    if facts.is_waking and not facts.seen.routers:
        return "False", Reason.NO_ROUTER, NO_ROUTER
    if facts.is_waking:
        return "True", Reason.WAKING, "the first pod is on its way; requests are held until it answers"
    return "False", Reason.WAITING_FOR_PODS, "no pod is ready yet"


def _proof(predictor: Predictor) -> str:
    """What Ready rests on; without a readiness probe of its own, a foreign server has only shown an open port."""
    if predictor.model is not None:
        return "the model answers"
    container = (predictor.containers or [{}])[0]
    return "its readiness probe passes" if container.get("readinessProbe") else "its port accepts connections"


_OFF = {
    Reason.ASLEEP: "no pods while nobody asks; the next request wakes it, and is held until a pod answers",
    Reason.SUSPENDED: "spec.suspend is true; set it to false to go on",
    Reason.SCALED_TO_ZERO_BY_USER: "spec.replicas is 0; scale to 1 or more to go on",
}


def _progressing(facts: Facts) -> StatusAndReason:
    decision = facts.decision
    ended = _why_it_ended(decision)
    if ended is not None:
        return "False", ended, decision.message
    if facts.problem is not None:
        return "False", facts.problem.reason, facts.problem.message
    if facts.paused is not None or facts.scale.off is not None:
        return "False", facts.scale.off or Reason.PAUSED_BY_USER, "the rollout stands still, and so does its deadline"
    return "True", Reason.ROLLOUT_IN_PROGRESS, decision.message


def _autoscaling_active(facts: Facts) -> StatusAndReason:
    service = facts.seen.service
    if facts.scale.off is not None:
        return "False", facts.scale.off, _kept_asleep(facts) or _OFF[facts.scale.off]
    if not service.spec.predictor.autoscales:
        why = "autoscaling is off because maxReplicas is not above minReplicas"
        return "False", Reason.FIXED_SIZE, f"{_fixed_size(service.spec)}; {why}{_scheduled(facts.least)}"
    if facts.handover is not None:
        return "Unknown", Reason.AUTOSCALER_CHANGING, facts.handover
    status, reason, message = _as_the_autoscaler_says(service.spec, facts.seen.autoscaler)
    return status, reason, f"{message}{_scheduled(facts.least)}"


def _as_the_autoscaler_says(spec: InferenceServiceSpec, scaler: SeenAutoscaler | None) -> StatusAndReason:
    if spec.autoscaling.provider == "None":
        return "Unknown", Reason.SCALED_BY_OTHERS, _scaled_by_others(spec.predictor)
    status, _, message = scaler.conditions.get("ScalingActive", ("", "", "")) if scaler else ("", "", "")
    if status == "True":
        return "True", Reason.READY, f"scaling on {spec.predictor.scale_metric}"
    if status == "False":
        return "False", Reason.METRIC_MISSING, message
    return "Unknown", Reason.WAITING_FOR_AUTOSCALER, f"{_object(spec)} has not been acted on yet"


def _scheduled(least: Least) -> str:
    """What a schedule adds to the message while it is in force."""
    if not least.is_scheduled:
        return ""
    until = f" until {least.until:%Y-%m-%dT%H:%M:%SZ}" if least.until else ""
    return f"; at least {_pods(least.pods)} by schedule{until}"


def _object(spec: InferenceServiceSpec) -> str:
    return "KEDA's ScaledObject" if spec.autoscaling.provider == "KEDA" else "the HorizontalPodAutoscaler"


def _scaled_by_others(predictor: Predictor) -> str:
    bounds = f"{predictor.least_awake} to {predictor.replica_limit} pods"
    return f"whoever writes /scale decides, from {bounds}: spec.autoscaling.provider is None"


def _fixed_size(spec: InferenceServiceSpec) -> str:
    """Which number rules, and why."""
    asked, least = spec.replicas, spec.predictor.least_awake
    if asked is None:
        return f"{_pods(least)} by minReplicas: spec.replicas is not set"
    if asked < least:
        return f"{_pods(least)} by minReplicas: spec.replicas is {asked}, which is below it"
    why = "as minReplicas asks" if asked == least else f"which is above minReplicas ({least})"
    return f"{_pods(asked)} by spec.replicas, {why}"


def _pods(number: int) -> str:
    return "1 pod" if number == 1 else f"{number} pods"


def _hands_off(why: str) -> str:
    told = f": {why}" if why else ""
    return f"the annotation {ANNOTATION_PAUSED} keeps Penstock's hands off{told}"


def _reconciling(facts: Facts) -> StatusAndReason:
    if facts.paused is not None:
        return "False", Reason.PAUSED_BY_USER, _hands_off(facts.paused)
    if facts.stalled is not None:
        return "False", facts.stalled[0], facts.stalled[1]
    if _progressing(facts)[0] == "True":
        return "True", Reason.ROLLOUT_IN_PROGRESS, facts.decision.message
    return "False", Reason.RECONCILED, "everything is as the spec asks"


def _stalled(facts: Facts) -> StatusAndReason:
    if facts.stalled is None:
        return "False", Reason.RECONCILED, "nothing stands in the way"
    return "True", *facts.stalled
