"""Canary: both revisions serve, and the new one gets more of the traffic from step to step as it proves itself.

    Preparing -> Testing -> Scaling, Waiting (once for each step) -> Scaling -> Switching -> Stable

The share is made by the number of pods behind one Service, and by weight for the requests that come through a gateway.
The first pod is tested before the Service selects it; from then until one revision is left the Service selects both
slots, and no pod goes before another one answers in its place. Going back is the same way in the other direction. There
is no hold: the steps are the proof.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from penstock.api.rollout import Analysis, CanaryStep
from penstock.api.status import CanaryStatus, RolloutPhase
from penstock.names import Reason
from penstock.observed import causes
from penstock.rollout import analysis, canary_counts, deadline, rollback, route_weights, smoke
from penstock.rollout.canary_counts import Counts
from penstock.rollout.decision import Decision, Situation, at, beside, changed, parked, slot_plan

_STEP_LASTS: Final = 60  # seconds, where the step does not say
_ALL: Final = 100


def forward(s: Situation) -> Decision:
    """On to the current revision, one step."""
    if s.active is not None and s.active.revision == s.current:
        return _arriving(s)
    if causes.is_broken(s.seen, s.seen.active, s.now) and s.available > 0 and not s.is_halted:
        # A stable revision that answers nothing never blocks the fix.
        return _serving(_begun(s, len(_steps(s)) + 1))
    return _serving(s) if s.recorded.shared_revision else _preparing(s)


def is_under_way(s: Situation) -> bool:
    """The pods that share the traffic are this rollout's: they were tested before they got any.

    Pods whose Deployment was deleted with --cascade=orphan are its own again when it is back.
    """
    is_its_own = s.incoming is not None or s.idle is None
    return s.recorded.strategy == "Canary" and s.recorded.shared_revision == s.current and is_its_own


def _preparing(s: Situation) -> Decision:
    """The first pod of the new revision comes up, and is tested before it gets a request."""
    first = canary_counts.step_counts(s, _steps(s)[0].weight)
    pods = canary_counts.towards(s, Counts(first.stable, min(first.canary, 1)))
    if route_weights.may_get_requests(s):
        return _stay(s, pods, "Preparing", f"revision {s.current} waits for its place", at_a_gate=True)
    if s.available == 0:
        return _stay(s, pods, "Preparing", f"no pod of revision {s.current} is available yet")
    return smoke.tested(s, then=lambda s: _first(s, pods), stay=lambda s, *step: _stay(s, pods, *step))


def _first(s: Situation, pods: Counts) -> Decision:
    """The Service selects the tested pod too, unless nothing is to move now."""
    if s.is_halted:
        return _stay(s, pods, "Preparing", f"revision {s.current} is tested")
    return _serving(_begun(s, 1))


def _begun(s: Situation, step: int) -> Situation:
    """At the beginning of a step. What an earlier one has proved does not count for it."""
    canary = CanaryStatus(step=step, weight=_weight(s, step))
    return s.remembering(shared_revision=s.current, canary=canary, analysis=None, is_promoted=None, gate_opens_at=None)


def _serving(s: Situation) -> Decision:
    """Both revisions serve."""
    weight = _weight(s, s.recorded.canary.step if s.recorded.canary else 1)
    if s.recorded.canary is not None and s.recorded.canary.weight not in (None, weight):
        # The steps were edited: what the pods have shown was for another share.
        s = s.remembering(canary=CanaryStatus(step=s.recorded.canary.step), analysis=None, gate_opens_at=None)
    target = _target(s, weight)
    s = _routed(s, target, weight)
    status = s.recorded.canary or CanaryStatus()
    if not s.seen.ready(s.seen.idle):
        return _silent(s, target)
    if status.step > len(_steps(s)):
        return _ending(s, target)
    waits = _lacks(s, target)
    # Pods that come and go later leave a step that was reached as it is. One that no route serves proves nothing.
    if waits is not None and (status.reached_at is None or route_weights.lacks(s)):
        s = s.remembering(canary=status.model_copy(update={"reached_at": None}), analysis=None)
        return _stay(s, canary_counts.towards(s, target), "Scaling", f"{_step_with(s, target)}: {waits}")
    return _proving(s, target)


def _routed(s: Situation, target: Counts, weight: int) -> Situation:
    """With the step's share as pods and, behind a gateway, its route are to make it."""
    status = s.recorded.canary or CanaryStatus()
    low = _weight(s, status.step - 1) if status.step > 1 else 0
    status = status.model_copy(
        update={"weight": weight, "routed": route_weights.meant(s, target, low=low, high=weight)}
    )
    s = s.remembering(canary=status)
    return s.remembering(canary=status.model_copy(update={"share": route_weights.in_words(s, target)}))


def _lacks(s: Situation, target: Counts) -> str | None:
    """What the step's share still waits for."""
    if canary_counts.is_settled(s, target):
        return route_weights.lacks(s)
    there = canary_counts.answering(s)
    return f"{there.stable} old and {there.canary} new pods answer"


def _silent(s: Situation, target: Counts) -> Decision:
    """None of the new pods answers: the Service selects the old ones alone meanwhile, by itself."""
    stopped = rollback.stopped(s)
    if stopped is not None and s.seen.is_shared and s.seen.ready(s.seen.active) and not s.is_stopped:
        return rollback.fail(s, Reason.STOPPED_SERVING, stopped)
    others = "has all traffic until one does" if s.seen.ready(s.seen.active) else "answers nothing either"
    waits = f"no pod of revision {s.current} answers for the moment; {s.stable} {others}"
    return _stay(s, canary_counts.towards(s, target), "Scaling", f"{_step_of(s)}: {waits}")


def _target(s: Situation, weight: int) -> Counts:
    """The step's pods; a paused rollout stays at the share that it has, whatever the autoscaler wants meanwhile."""
    there = canary_counts.written(s)
    if not s.recorded.is_paused or there.total == 0:
        return canary_counts.step_counts(s, weight)
    if s.wanted <= there.total <= s.wanted + 1:
        return there
    routed = s.recorded.canary.routed if s.recorded.canary and s.is_by_route else None
    return canary_counts.step_counts(s, round(100 * there.canary / there.total) if routed is None else routed)


def _proving(s: Situation, target: Counts) -> Decision:
    """The step's pods answer: its time, and the analysis of what they answer."""
    status = s.recorded.canary or CanaryStatus()
    step, reached_at = _steps(s)[status.step - 1], status.reached_at or s.now
    seconds = _STEP_LASTS if step.pause_seconds is None else step.pause_seconds
    ends_at = None if step.pause else reached_at + timedelta(seconds=seconds)
    status = status.model_copy(update={"reached_at": reached_at})
    s = s.remembering(canary=status, gate_opens_at=ends_at)
    s, measure_again, verdict = analysis.analysed(s, s.seen.service.spec.rollout.analysis or Analysis())
    if verdict == "failed":
        return analysis.failed_analysis(s)
    is_over = ends_at is not None and s.now >= ends_at and verdict == "passed"
    if (is_over or s.recorded.is_promoted or s.recorded.is_fully_promoted) and not s.is_halted:
        return _serving(_begun(s, len(_steps(s)) + 1 if s.recorded.is_fully_promoted else status.step + 1))
    goes_on = f"at {ends_at:%H:%M:%S} UTC, or with the action promote" if ends_at else "with the action promote"
    waits = analysis.NO_DATA if verdict == "no-data" else f"it goes on {goes_on}"
    on = _stay(
        s,
        canary_counts.towards(s, target),
        "Waiting",
        f"{_step_with(s, target)}: {waits}",
        at_a_gate=True,
    )
    return analysis.measuring(s, on, ends_at, measure_again)


def _ending(s: Situation, target: Counts) -> Decision:
    """The last old pods go; then the Service selects the new ones alone."""
    pods, there = canary_counts.towards(s, target), canary_counts.answering(s)
    is_alone = canary_counts.written(s).stable == 0 and not s.seen.ready(s.seen.active) and there.canary > 0
    if not is_alone or s.is_halted:
        waits = f"{there.canary} of {target.canary} new pods answer, {there.stable} old ones still do"
        if there.canary >= target.canary and (untaken := route_weights.lacks(s)):
            waits = f"{waits}: {untaken}"
        return _stay(s, pods, "Scaling", f"revision {s.current} takes over: {waits}")
    # It has all that it needs, however late: no deadline ends it here.
    on = _stay(s, pods, "Switching", f"traffic is sent to revision {s.current} alone", at_a_gate=True)
    alone = changed(on.rollout, shared_revision=None)
    # The endpoints are the same before and after: no event would tell that the Service has been written.
    return replace(on, active=s.seen.idle, rollout=alone, shares={}, requeue_at=s.now)


def _arriving(s: Situation) -> Decision:
    """The selector names the new revision's slot alone."""
    if rollback.is_reached(s):
        return rollback.promoted(s)
    marked, is_overdue = deadline.ticked(s, s.recorded, s.active, is_halted=s.is_halted)
    if is_overdue:
        return rollback.fail(s, Reason.PROGRESS_DEADLINE_EXCEEDED, deadline.timed_out(s))
    message = f"waiting until all traffic reaches revision {s.current}"
    return Decision(
        rollout=at(s, marked, "Switching", message),
        target=s.current,
        active=s.seen.active,
        slots={s.seen.active: slot_plan(s, s.current, s.wanted), **parked(s)},
        requeue_at=None if s.is_halted else marked.deadline_at,
    )


def _stay(s: Situation, pods: Counts, phase: RolloutPhase, message: str, *, at_a_gate: bool = False) -> Decision:
    """With so many pods of each revision, until what the message says."""
    marked, is_overdue = deadline.ticked(s, s.recorded, s.incoming, is_halted=s.is_halted or at_a_gate)
    if is_overdue:
        untaken = route_weights.lacks(s) if s.recorded.shared_revision else None
        because = f": {untaken}" if untaken else ""
        return rollback.fail(s, Reason.PROGRESS_DEADLINE_EXCEEDED, f"{deadline.timed_out(s)}{because}")
    serving = s.active.revision if s.active else s.stable
    return Decision(
        rollout=at(s, changed(marked, preview_slot=s.seen.idle.value), phase, message),
        target=s.current,
        active=s.seen.active,
        slots={s.seen.active: slot_plan(s, serving, pods.stable), s.seen.idle: beside(s, s.current, pods.canary)},
        shares=route_weights.weights(s) if s.recorded.shared_revision else {},
        requeue_at=None if s.is_halted or at_a_gate else marked.deadline_at,
    )


def _steps(s: Situation) -> list[CanaryStep]:
    return s.seen.service.spec.rollout.canary.steps


def _weight(s: Situation, step: int) -> int:
    """In percent. A spec that has fewer steps by now is at its end."""
    steps = _steps(s)
    return steps[step - 1].weight if step <= len(steps) else _ALL


def _step_with(s: Situation, target: Counts) -> str:
    return f"{_step_of(s)} with {route_weights.in_words(s, target)}"


def _step_of(s: Situation) -> str:
    return f"step {s.recorded.canary.step if s.recorded.canary else 1} of {len(_steps(s))}"
