"""BlueGreen: the new revision comes up in the slot without traffic, is tested, and takes over by one selector write.

    Preparing -> Testing -> Waiting (A/B test, soak, or the action promote) -> Scaling -> Switching -> Holding -> Stable

The stable revision's slot is not touched before the hold is over, so that going back is one write as well. A stable
revision that answers nothing never blocks the fix: then the first pod of the new one that is ready takes over.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from penstock.api.status import RolloutPhase
from penstock.names import Reason, Slot
from penstock.observed import causes
from penstock.rollout import ab_test, analysis, deadline, rollback, route_weights, smoke
from penstock.rollout.decision import Decision, Situation, at, beside, changed, slot_plan
from penstock.slot_plan import SlotPlan


def forward(s: Situation) -> Decision:
    """On to the current revision, one step."""
    return _switched(s) if s.active is not None and s.active.revision == s.current else _coming(s)


def needs_room(s: Situation) -> bool:
    """Whether this pass decides how many pods the new revision is to have before it takes over."""
    new = s.idle
    if new is None or new.revision != s.current or s.recorded.latched_replicas or s.recorded.switched_at:
        return False
    return _preview(s) <= new.available_of_revision < s.wanted


def _coming(s: Situation) -> Decision:
    """Before the switch: the new revision is in the idle slot."""
    latched = s.recorded.latched_replicas
    if latched is not None:
        return _scaling(s, latched)
    if causes.is_broken(s.seen, s.seen.active, s.now) and s.available > 0 and not s.is_halted:
        return _scaling(s, 1)
    if route_weights.may_get_requests(s):
        # Neither its own pods' fault nor their time.
        return _step(s, "Preparing", f"revision {s.current} waits for its place", at_a_gate=True)
    # Once it was tested, one that an autoscaler wants more is no reason to begin again.
    needed = _preview(s) if s.recorded.tested_at is None and s.recorded.ab_test is None else 1
    if s.available < needed:
        return _step(s, "Preparing", f"{_count(s, needed)} are available")
    return smoke.tested(s, then=lambda s: ab_test.compared(s, then=_at_the_gate, stay=_step), stay=_step)


def _at_the_gate(s: Situation) -> Decision:
    """Soak time, or the action promote."""
    options = s.seen.service.spec.rollout.blue_green
    tested_at = s.recorded.tested_at or s.now
    opens_at = tested_at + timedelta(seconds=options.auto_promote_after_seconds) if options.auto_promote else None
    s = s.remembering(tested_at=tested_at, gate_opens_at=opens_at)
    is_open = s.recorded.is_promoted or (opens_at is not None and s.now >= opens_at)
    if is_open and not s.is_halted:
        return _scaling(s, _latch(s))
    gate = f"at {opens_at:%H:%M:%S} UTC, or with the action promote" if opens_at else "with the action promote"
    on = _step(s, "Waiting", f"revision {s.current} is tested and takes over {gate}", at_a_gate=True)
    return replace(on, requeue_at=None if s.is_halted else opens_at)


def _latch(s: Situation) -> int:
    """Pods the new revision needs before it takes over, fixed once: a moving autoscaler must not deadlock it."""
    room = s.seen.room.more if s.seen.room else 0
    return max(len(s.seen.ready(s.seen.active)), min(s.wanted, s.available + room), 1)


def _scaling(s: Situation, latched: int) -> Decision:
    """As many as the old slot had; then the switch."""
    s = s.remembering(latched_replicas=latched)
    if s.available < latched or s.is_halted:
        return _step(s, "Scaling", f"{_count(s, latched)} that it needs are available", replicas=latched)
    # It has all that it needs, however late: no deadline ends it here.
    on = _step(s, "Switching", f"traffic is sent to revision {s.current}", replicas=latched, at_a_gate=True)
    switched = changed(on.rollout, is_promoted=None)
    return replace(on, active=s.seen.idle, variant=None, rollout=switched, requeue_at=on.rollout.deadline_at)


def _switched(s: Situation) -> Decision:
    """The selector selects the new revision."""
    home = s.idle is not None and s.idle.revision == s.stable
    if home and s.wanted and not s.is_stopped and not s.seen.ready(s.seen.active) and s.seen.ready(s.seen.idle):
        return _silent(s)
    if s.recorded.switched_at is None and not rollback.is_reached(s, _needed(s)):
        return _post(s, "Switching", f"waiting until all traffic reaches revision {s.current}", clock=True)
    return _holding(s)


def _silent(s: Situation) -> Decision:
    """None of the new pods answers, and old ones do: these get the traffic, for good or for the time being."""
    stopped = rollback.stopped(s)
    if stopped is not None:
        return rollback.fail(s, Reason.STOPPED_SERVING, stopped)
    if s.recorded.switched_at is not None:
        # What the clock showed before the hold is not the time that this takes.
        s = s.remembering(switched_at=None, hold_ends_at=None, analysis=None, progressed_at=s.now)
    waits = f"no pod of revision {s.current} answers for the moment; {s.stable} has the traffic until enough of them do"
    return replace(_post(s, "Scaling", waits, clock=True), active=s.seen.idle)


def _holding(s: Situation) -> Decision:
    """The old pods stay up while the new ones prove themselves."""
    switched_at = s.recorded.switched_at or s.now
    ends_at = switched_at + timedelta(seconds=s.seen.service.spec.rollout.blue_green.hold_seconds)
    s = s.remembering(switched_at=switched_at, hold_ends_at=ends_at)
    s, measure_again, verdict = analysis.analysed(s, s.seen.service.spec.rollout.analysis)
    if verdict == "failed":
        return analysis.failed_analysis(s)
    is_over = s.now >= ends_at and verdict == "passed" and _can_do_alone(s)
    if (is_over or s.recorded.is_promoted or s.recorded.is_fully_promoted) and not s.is_halted:
        return rollback.promoted(s)
    message = f"{_answering(s)}; {s.stable} stays up until {ends_at:%H:%M:%S} UTC, or the action promote"
    if s.now >= ends_at and not _can_do_alone(s):
        message = f"{_answering(s)}: {s.stable} stays up until {_needed(s)} do, or the action promote"
    if verdict == "no-data":
        message = analysis.NO_DATA
    on = _post(s, "Holding", message, clock=False)
    return analysis.measuring(s, on, ends_at, measure_again)


def _step(
    s: Situation,
    phase: RolloutPhase,
    message: str,
    *,
    replicas: int | None = None,
    at_a_gate: bool = False,
) -> Decision:
    """A step before the switch: the old slot serves as ever, and the new one has so many pods."""
    marked, is_overdue = deadline.ticked(s, s.recorded, s.incoming, is_halted=s.is_halted or at_a_gate)
    if is_overdue:
        return rollback.fail(s, Reason.PROGRESS_DEADLINE_EXCEEDED, f"{deadline.timed_out(s)}{ab_test.because(s)}")
    asked = _preview(s) if replicas is None else replicas
    there = beside(s, s.current, asked if s.wanted else 0)
    serving = s.active.revision if s.active else s.stable
    return Decision(
        rollout=at(s, changed(marked, preview_slot=s.seen.idle.value), phase, message),
        target=s.current,
        active=s.seen.active,
        slots={s.seen.active: slot_plan(s, serving, s.wanted), s.seen.idle: there},
        variant=ab_test.variant(s),
        requeue_at=None if s.is_halted or at_a_gate else marked.deadline_at,
    )


def _post(s: Situation, phase: RolloutPhase, message: str, *, clock: bool) -> Decision:
    """A step after the switch: the new slot follows what is wanted, the old one stays as large as it was."""
    marked, is_overdue = changed(s.recorded, deadline_at=None, paused_at=None), False
    if clock:
        marked, is_overdue = deadline.ticked(s, s.recorded, s.active, is_halted=s.is_halted)
    if is_overdue and s.seen.ready(s.seen.idle):
        return rollback.fail(s, Reason.PROGRESS_DEADLINE_EXCEEDED, deadline.timed_out(s))
    latched = s.recorded.latched_replicas or s.wanted
    # Until all traffic has arrived the number stays: an autoscaler may want fewer than what takes over.
    wanted = 0 if s.wanted == 0 else s.wanted if s.recorded.switched_at else max(s.wanted, latched)
    return Decision(
        rollout=at(s, marked, phase, message),
        target=s.current,
        active=s.seen.active,
        slots={s.seen.active: slot_plan(s, s.current, wanted), **_held(s)},
        requeue_at=marked.deadline_at if clock and not s.is_halted and not is_overdue else None,
        is_overdue=is_overdue,
    )


def _held(s: Situation) -> Mapping[Slot, SlotPlan]:
    """The old slot with as many pods as it had at the switch."""
    if s.idle is None or s.idle.revision not in s.seen.templates:
        return {}
    kept = s.idle.wanted if s.idle.revision == s.stable and s.wanted else 0
    return {s.seen.idle: SlotPlan(s.idle.revision, kept)}


def _needed(s: Situation) -> int:
    """Pods of the new revision that have to answer."""
    return min(s.recorded.latched_replicas or 1, s.wanted or 1)


def _answering(s: Situation) -> str:
    """That the new revision serves, and with how many pods and why where these are fewer than are wanted."""
    ready = len(s.seen.ready(s.seen.active))
    if ready >= s.wanted:
        return f"revision {s.current} serves"
    cause = next((each for each in s.causes if each.revision == s.current), None)
    because = f" ({cause.reason}: {cause.message})" if cause else ""
    return f"{ready} of the {s.wanted} pods of revision {s.current} answer{because}"


def _can_do_alone(s: Situation) -> bool:
    """As many answer as took over, but for those that wait for room: the old pods may have what they wait for."""
    ready = len(s.seen.ready(s.seen.active))
    return ready > 0 and ready + causes.unplaced(s.seen, s.seen.active) >= _needed(s)


def _preview(s: Situation) -> int:
    asked = s.seen.service.spec.rollout.blue_green.preview_replicas
    return max(min(asked or s.wanted, s.wanted), 1)


def _count(s: Situation, needed: int) -> str:
    return f"{s.available} of the {needed} pods of revision {s.current}"
