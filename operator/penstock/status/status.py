"""The whole status of a service, computed anew in every pass. Pure.

Ready is honest: it rests on a pod that is ready *and* behind the active Service now, and the server's readiness
includes a real inference. Nothing here remembers: what did not change keeps its time from the status before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from penstock import names
from penstock.api.status import (
    Address,
    Blocker,
    Components,
    Download,
    FailureInfo,
    InferenceServiceStatus,
    ModelCopies,
    ModelState,
    ModelStates,
    ModelStatus,
    Phase,
    PredictorStatus,
    RolloutPhase,
    RolloutStatus,
    TransitionStatus,
)
from penstock.kinds import HTTP_ROUTE
from penstock.observed.causes import Cause
from penstock.observed.values import Seen
from penstock.rollout.decision import Decision
from penstock.status import conditions
from penstock.status.autoscaling import autoscaling
from penstock.status.conditions import Facts

_MOST_BLOCKERS = 32


def status(facts: Facts, now: datetime) -> InferenceServiceStatus:
    """The status to report for these facts."""
    seen, old = facts.seen, facts.seen.service.status
    metadata = seen.service.metadata
    url = names.url(metadata.name, metadata.namespace)
    serving = facts.deployments
    return InferenceServiceStatus(
        observed_generation=metadata.generation,
        conditions=conditions.conditions(facts, now),
        phase=_phase(facts),
        url=url,
        address=Address(url=url),
        replicas=sum(deployment.replicas for deployment in serving),
        ready_replicas=sum(deployment.ready for deployment in serving),
        selector=_selector(metadata.name, facts.decision),
        model_status=_model_status(facts, now),
        components=Components(predictor=_predictor(facts, url)),
        rollout=facts.decision.rollout,
        autoscaling=autoscaling(facts),
        wake_requested_at=old.wake_requested_at,
        download=_download(seen),
        blocked_by=_blockers(facts, old.blocked_by, now),
    )


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) that turns `old` into `new`; empty when they are the same."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = merge_patch(before, value)
            if inner:
                patch[key] = inner
        elif key not in old or before != value:
            patch[key] = value
    return patch


# How far a rollout is: its words and numbers change as it goes, and a later pass computes them again.
_IN_PASSING: Final = (
    "active_slot",
    "available_replicas",
    "deadline_at",
    "gate_opens_at",
    "loaded_bytes",
    "message",
    "paused_at",
    "preview_slot",
    "progressed_at",
    "tested_at",
)


def can_wait(old: InferenceServiceStatus, new: InferenceServiceStatus) -> bool:
    """Whether the new one says nothing yet that somebody waits for, or that must outlive the operator."""
    return _news(old, old) == _news(new, old)


def _news(status: InferenceServiceStatus, old: InferenceServiceStatus) -> tuple[object, ...]:
    rollout, before = status.rollout or RolloutStatus(), old.rollout or RolloutStatus()
    model, sleep = status.model_status or ModelStatus(), status.autoscaling and status.autoscaling.sleep
    # That pods are tested, or the traffic is on its way, is news only if it takes long.
    phase = before.phase if rollout.phase in ("Testing", "Switching") else rollout.phase
    # One pod is what a switch needs that knows of no number.
    latched = rollout.latched_replicas or 1
    return (
        status.observed_generation,
        status.phase,
        [(condition.type, condition.status, condition.reason) for condition in status.conditions],
        [blocker.reason for blocker in status.blocked_by],
        sleep and sleep.port,  # The routers have to know it before requests are led there.
        (model.transition_status, model.last_failure_info),
        rollout.model_copy(update={**dict.fromkeys(_IN_PASSING), "phase": phase, "latched_replicas": latched}),
    )


@dataclass(frozen=True, slots=True)
class Transition:
    """Something worth an Event: it happened between two statuses."""

    reason: str
    message: str
    is_warning: bool = False


def transitions(old: InferenceServiceStatus, new: InferenceServiceStatus) -> list[Transition]:
    """What becomes an Event. A first deployment that simply works makes none: the conditions show it."""
    found: list[Transition] = []
    before, after = (conditions.by_type(each.conditions) for each in (old, new))
    stalled, was_stalled = after.get(names.Condition.STALLED), before.get(names.Condition.STALLED)
    if stalled and stalled.status == "True" and (not was_stalled or was_stalled.reason != stalled.reason):
        found.append(Transition(stalled.reason, stalled.message, is_warning=True))
    known = {blocker.reason for blocker in old.blocked_by} | {transition.reason for transition in found}
    found += [Transition(b.reason, f"{b.object}: {b.message}", True) for b in new.blocked_by if b.reason not in known]
    return found + _rollout_transitions(old.rollout or RolloutStatus(), new.rollout or RolloutStatus())


def _rollout_transitions(old: RolloutStatus, new: RolloutStatus) -> list[Transition]:
    if not old.stable_revision:
        return []
    if new.started_at is not None and new.started_at != old.started_at:
        message = f"revision {new.current_revision} is replacing {new.stable_revision} by {new.plan or new.strategy}"
        # The one plan that interrupts the service is announced.
        return [Transition(names.Reason.ROLLOUT_STARTED, message, is_warning=new.strategy == "Recreate")]
    if new.phase == "Stable" and new.stable_revision != old.stable_revision:
        return [Transition(names.Reason.ROLLOUT_COMPLETED, new.message)]
    return []


def _selector(name: str, decision: Decision) -> str:
    slot = "" if decision.is_shared else f",{names.LABEL_SLOT}={decision.active}"
    return f"{names.LABEL_SERVICE}={name}{slot}"


# The phase of a service that answers, by its rollout's: all others are progress.
_SERVING: Mapping[RolloutPhase, Phase] = {
    "Stable": "Ready",
    "RolledBack": "Ready",
    "Deploying": "Ready",
    "RolloutPaused": "Paused",
}


def _phase(facts: Facts) -> Phase:
    if facts.paused is not None:
        return "Paused"
    if facts.scale.off is not None:
        return "Asleep" if facts.scale.off is names.Reason.ASLEEP else "Suspended"
    if facts.stalled is not None:
        return "Degraded"
    if facts.is_serving:
        return _SERVING.get(facts.decision.phase, "Progressing")
    is_failing = bool(facts.causes) or any(pod.is_started and not pod.is_leaving for pod in facts.seen.pods)
    if facts.decision.phase == "Stable" and is_failing and not facts.is_scaling_up:
        return "Degraded"
    is_running = any(pod.running_since and not pod.is_leaving for pod in facts.seen.pods)
    return "Loading" if is_running and not facts.causes else "Pending"


def _predictor(facts: Facts, url: str) -> PredictorStatus:
    old = facts.seen.service.status.components
    before = old.predictor if old else PredictorStatus()
    decision = facts.decision
    is_moved = decision.stable is not None and before.latest_rolledout_revision not in (None, decision.stable)
    return PredictorStatus(
        latest_created_revision=decision.current,
        latest_ready_revision=_latest_ready(facts) or before.latest_ready_revision,
        latest_rolledout_revision=decision.stable,
        previous_rolledout_revision=(
            before.latest_rolledout_revision if is_moved else before.previous_rolledout_revision
        ),
        url=url,
    )


def _latest_ready(facts: Facts) -> str | None:
    """The revision of the pods that serve; the newer one while two do."""
    serving = {pod.revision for pod in facts.seen.pods if pod.name in facts.serving}
    if facts.decision.target in serving:
        return facts.decision.target
    return min(serving, default=None)


def _model_status(facts: Facts, now: datetime) -> ModelStatus:
    old = facts.seen.service.status.model_status
    # A webhook's container may keep a pod from serving, but that is no failure of the model.
    causes = [cause for cause in facts.causes if not cause.container]
    failure = _failure(causes, old.last_failure_info if old else None, now)
    has_failed = facts.decision.has_failed or any(cause.is_of_the_pod_itself for cause in causes)
    keeps_failure = has_failed or facts.decision.phase != "Stable"
    pods = [pod for pod in facts.seen.pods if not pod.is_leaving]
    return ModelStatus(
        transition_status=_transition_status(facts, has_failed=has_failed),
        states=ModelStates(
            active_model_state="Loaded" if facts.is_serving else None,
            target_model_state=_target_state(facts, has_failed=has_failed),
        ),
        last_failure_info=failure if keeps_failure else None,
        copies=ModelCopies(
            total_copies=sum(pod.is_ready for pod in pods if pod.slot in facts.decision.selected),
            failed_copies=sum(pod.ended is not None and not pod.container for pod in pods),
        ),
    )


def _transition_status(facts: Facts, *, has_failed: bool) -> TransitionStatus:
    if facts.problem is not None:
        return "InvalidSpec"
    if has_failed:
        return "BlockedByFailedLoad"
    is_there = facts.is_serving or facts.scale.off is names.Reason.ASLEEP
    return "UpToDate" if facts.decision.phase == "Stable" and is_there else "InProgress"


def _target_state(facts: Facts, *, has_failed: bool) -> ModelState:
    if has_failed:
        return "FailedToLoad"
    target = facts.decision.target
    if any(pod.name in facts.serving and pod.revision == target for pod in facts.seen.pods):
        return "Loaded"
    is_running = any(pod.running_since and pod.revision == target for pod in facts.seen.pods)
    return "Loading" if is_running else "Pending"


def _failure(causes: Sequence[Cause], old: FailureInfo | None, now: datetime) -> FailureInfo | None:
    """The first cause that is a failure of a pod; the last one known while none is there."""
    cause = next((cause for cause in causes if cause.exit_code is not None), causes[0] if causes else None)
    if cause is None:
        return old
    is_same = old is not None and (old.reason, old.message) == (cause.reason, cause.message)
    return FailureInfo(
        reason=cause.reason,
        message=cause.message,
        model_revision_name=cause.revision or None,
        exit_code=cause.exit_code,
        time=old.time if is_same and old else cause.at or now,
    )


def _download(seen: Seen) -> Download | None:
    progress = seen.progress
    if progress is None or (not progress.bytes and not progress.total_bytes):
        return None
    return Download(bytes=progress.bytes, total_bytes=progress.total_bytes, bytes_per_second=progress.bytes_per_second)


def _blockers(facts: Facts, old: Sequence[Blocker], now: datetime) -> list[Blocker]:
    since = {blocker.reason: blocker.since for blocker in old}
    found = [(cause.reason, cause.object, cause.message) for cause in facts.causes]
    if (route := _refused_route(facts.seen)) is not None:
        found.append(route)
    if facts.problem is not None:
        found.insert(
            0, (facts.problem.reason, f"{names.KIND}/{facts.seen.service.metadata.name}", facts.problem.message)
        )
    return [
        Blocker(reason=reason, object=where, message=message, since=since.get(reason) or now)
        for reason, where, message in found[:_MOST_BLOCKERS]
    ]


def _refused_route(seen: Seen) -> tuple[names.Reason, str, str] | None:
    """A gateway that takes no requests for the service keeps no pod from serving, but clients from being served."""
    if seen.route is None or seen.route.refusal is None or not seen.route.is_taken:
        return None
    return names.Reason.ROUTE_NOT_ACCEPTED, f"{HTTP_ROUTE}/{seen.service.metadata.name}", seen.route.refusal
