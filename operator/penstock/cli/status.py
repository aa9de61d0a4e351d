"""What `penstock status` shows of a service: its status and its Deployments as lines. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from penstock import names
from penstock.cli import objects, scaling
from penstock.cli.layout import Colour, Paint, between, columns, plain, relative
from penstock.cli.objects import AbTest, LastAction, Rollout, Service, SlotPods, condition
from penstock.names import Condition, Slot


@dataclass(frozen=True, slots=True)
class Shown:
    """A service at one moment: the object, and what runs in its slots."""

    service: Service
    slots: Mapping[Slot, SlotPods]

    @property
    def rollout(self) -> Rollout:
        return self.service.rollout


@dataclass(frozen=True, slots=True)
class Row:
    """A line with its label; without one it continues the line above."""

    label: str
    text: str
    colour: Colour | None = None


_PHASES: Final[Mapping[str, Colour]] = {"Ready": "good", "Stable": "good", "Degraded": "bad", "RolledBack": "bad"}


def lines(shown: Shown, now: datetime, paint: Paint = plain) -> list[str]:
    """All that is shown, a line each."""
    metadata, status = shown.service.metadata, shown.service.status
    phase = status.phase or "no operator has reported on it yet"
    head = f"{metadata.namespace}/{metadata.name}  {paint(phase, _PHASES.get(phase, 'busy'))}"
    rows = [*_readiness(shown, now), *_rollout(shown, now), *_slots(shown), *_tests(shown.rollout, now)]
    rows += [
        *_countdowns(shown.rollout, now),
        *_autoscaling(shown, now),
        *_blockers(shown, now),
        *_conditions(shown),
        *_actions(shown, now),
    ]
    width = max((len(row.label) for row in rows), default=0)
    return [head, *(line for row in rows for line in _row(row, width, paint))]


def summary(shown: Shown) -> str:
    """The rollout in one line, without what changes by the second."""
    rollout = shown.rollout
    pods = ", ".join(f"{slot} {role(slot, rollout)} {pods.ready}/{pods.wanted}" for slot, pods in shown.slots.items())
    parts = [rollout.phase or "no rollout yet", rollout.message, f"[{pods}]" if pods else ""]
    return " ".join("  ".join(part for part in parts if part).splitlines())


def document(shown: Shown) -> dict[str, Any]:
    """The same for programs."""
    metadata = shown.service.metadata
    return {
        "namespace": metadata.namespace,
        "name": metadata.name,
        "generation": metadata.generation,
        "status": shown.service.source.get("status") or {},
        "slots": {
            slot.value: {
                "role": role(slot, shown.rollout),
                "revision": pods.revision,
                "ready": pods.ready,
                "wanted": pods.wanted,
            }
            for slot, pods in shown.slots.items()
        },
    }


def is_up_to_date(service: Service) -> bool:
    """Whether the status is about the spec and the action that are there now."""
    status = service.status
    return (status.observed_generation or 0) >= service.metadata.generation and pending_action(service) is None


def is_at_rest(service: Service) -> bool:
    """Whether the rollout has ended, so that there is nothing to wait for."""
    return service.rollout.phase in ("Stable", "RolledBack") and is_up_to_date(service)


def has_succeeded(service: Service) -> bool:
    return is_at_rest(service) and service.rollout.phase == "Stable"


def pending_action(service: Service) -> str | None:
    """The action `<verb>:<id>` that was asked for and that no operator has answered yet."""
    asked = service.metadata.annotations.get(names.ANNOTATION_ACTION)
    if not asked:
        return None
    done = service.rollout.last_action
    return None if done is not None and done.id == (asked.partition(":")[2] or asked) else asked


def _readiness(shown: Shown, now: datetime) -> Iterator[Row]:
    """Ready and, if it cannot go on, Stalled."""
    ready, stalled = condition(shown.service, Condition.READY), condition(shown.service, Condition.STALLED)
    if ready is not None:
        yield Row("Ready", _worded(ready, now), "good" if ready.status == "True" else "bad")
    if stalled is not None and stalled.status == "True":
        yield Row("Stalled", _worded(stalled, now), "bad")


def _worded(found: objects.Condition, now: datetime) -> str:
    reason = "" if found.reason == found.type else f" {found.reason}"
    return f"{found.status}{reason} for {between(found.last_transition_time, now)}: {found.message}"


def _rollout(shown: Shown, now: datetime) -> Iterator[Row]:
    rollout = shown.rollout
    if rollout.phase is None:
        return
    way = f" by {rollout.strategy}" if rollout.strategy else ""
    begun = f", begun {relative(rollout.started_at, now)}" if rollout.started_at else ""
    yield Row("Rollout", f"{rollout.phase}{way}{begun}", _PHASES.get(rollout.phase, "busy"))
    if rollout.message:
        yield Row("", rollout.message)
    if rollout.plan:
        yield Row("Plan", rollout.plan)
    if rollout.canary is not None and rollout.canary.share:
        yield Row("Canary", rollout.canary.share)
    compared = _comparison(rollout.ab_test) if rollout.ab_test else ""
    if compared and compared not in rollout.message:
        yield Row("A/B test", compared)
    named = {"stable": rollout.stable_revision, "wanted": rollout.current_revision, "failed": rollout.failed_revision}
    yield Row("Revisions", ", ".join(f"{word} {revision}" for word, revision in named.items() if revision))


def _comparison(test: AbTest) -> str:
    return test.message if test.result is None else test.result.message


def _slots(shown: Shown) -> Iterator[Row]:
    rows = [
        (slot.value, role(slot, shown.rollout), pods.revision, f"{pods.ready}/{pods.wanted} ready")
        for slot, pods in shown.slots.items()
    ]
    yield from _labelled("Slots", columns(rows) if rows else ["no Deployment yet"])


def role(slot: Slot, rollout: Rollout) -> str:
    if slot == rollout.active_slot:
        return "active"
    if rollout.shared_revision:
        return "canary"
    return "preview" if slot == rollout.preview_slot else "idle"


def _tests(rollout: Rollout, now: datetime) -> Iterator[Row]:
    """The smoke test and the analysis of the new revision."""
    smoke, analysis = rollout.smoke_test, rollout.analysis
    if smoke is not None:
        failed = f", {smoke.failures} failed attempts: {smoke.message}" if smoke.failures else ""
        passed = "1 pod" if len(smoke.passed) == 1 else f"{len(smoke.passed)} pods"
        yield Row("Smoke test", f"{passed} passed{failed}", "bad" if smoke.failures else None)
    if analysis is not None:
        passed = f"{analysis.successes} measurements passed"
        counts = f"{passed}, {analysis.failures} failed, {analysis.inconclusive} saw too little"
        last = f"; last measurement {relative(analysis.last_sample_at, now)}" if analysis.last_sample_at else ""
        yield Row("Analysis", f"{counts}{last}", "bad" if analysis.failures else None)
        if analysis.message:
            yield Row("", analysis.message)


def _countdowns(rollout: Rollout, now: datetime) -> Iterator[Row]:
    if rollout.gate_opens_at is not None and rollout.gate_opens_at > now:
        yield Row("Gate", f"opens {relative(rollout.gate_opens_at, now)}")
    if rollout.hold_ends_at is not None and rollout.hold_ends_at > now:
        yield Row("Hold", f"ends {relative(rollout.hold_ends_at, now)}")
    if rollout.paused_at is not None:
        yield Row("Deadline", f"stands still for {between(rollout.paused_at, now)}")
    elif rollout.deadline_at is not None and rollout.phase not in ("Stable", "RolledBack"):
        yield Row("Deadline", relative(rollout.deadline_at, now))


def _autoscaling(shown: Shown, now: datetime) -> Iterator[Row]:
    """What the autoscaler sees and wants, what keeps it from having it, and whether the service sleeps."""
    seen, asleep = scaling.of_autoscaler(shown.service, now), scaling.of_sleep(shown.service, now)
    active = condition(shown.service, Condition.AUTOSCALING_ACTIVE)
    if seen:
        is_off = active is not None and active.status == "False"
        yield Row("Autoscaling", seen, "bad" if is_off else None)
        if active is not None and is_off:
            yield Row("", active.message)
    if asleep:
        yield Row("Sleep", asleep)


def _blockers(shown: Shown, now: datetime) -> Iterator[Row]:
    texts = [
        f"{each.reason} on {each.object}{f' for {between(each.since, now)}' if each.since else ''}: {each.message}"
        for each in shown.service.status.blocked_by
    ]
    yield from _labelled("Blocked by", texts, "bad")


def _conditions(shown: Shown) -> Iterator[Row]:
    rows = [(each.type, each.status, each.reason) for each in shown.service.status.conditions]
    yield from _labelled("Conditions", columns(rows))


def _actions(shown: Shown, now: datetime) -> Iterator[Row]:
    last, pending = shown.rollout.last_action, pending_action(shown.service)
    if last is not None:
        yield Row("Last action", outcome(last, now), "bad" if last.result == "Refused" else None)
    if pending is not None:
        yield Row("Action", f"{pending} waits for the operator", "busy")


def outcome(action: LastAction, now: datetime) -> str:
    when = f" {relative(action.time, now)}" if action.time else ""
    return f"{action.verb} {action.result}{when}: {action.message}"


def _row(row: Row, width: int, paint: Paint) -> Iterator[str]:
    """A text of several lines, such as a server's last words, stays in its column."""
    for number, line in enumerate(row.text.splitlines() or [""]):
        yield f"{('' if number else row.label).ljust(width)}  {paint(line, row.colour)}"


def _labelled(label: str, texts: list[str], colour: Colour | None = None) -> Iterator[Row]:
    """One row each, of which the first bears the label."""
    for number, text in enumerate(texts):
        yield Row("" if number else label, text, colour)
