"""Why a service is not Ready, what it waits for, and what would unblock it: sentences from its status. Pure.

What a vertical autoscaler recommends is no part of that; it comes from that autoscaler's own object.

The sentences themselves are in ways_out.py, by reason, and in phases.py, by the rollout's phase.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from penstock import names
from penstock.cli import objects, scaling
from penstock.cli.layout import between
from penstock.cli.objects import Service, condition
from penstock.cli.phases import PHASE_ENDS, Case
from penstock.cli.status import outcome, pending_action
from penstock.cli.ways_out import NEED_NOTHING, WAYS_OUT
from penstock.kinds import Manifest
from penstock.names import Condition, Reason

_NOBODY: Final = "Is the operator running, and does it serve this namespace?"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is so, and what ends it; empty where there is nothing to do about it."""

    what: str
    way_out: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    verdict: str
    findings: tuple[Finding, ...]

    def lines(self) -> list[str]:
        return [self.verdict, *(line for finding in self.findings for line in _item(finding))]

    def document(self) -> dict[str, Any]:
        findings = [{"what": finding.what, "wayOut": finding.way_out} for finding in self.findings]
        return {"verdict": self.verdict, "findings": findings}


def explain(service: Service, now: datetime, vertical: Manifest | None = None) -> Explanation:
    """`vertical` is the service's VerticalPodAutoscaler, where it has one."""
    words = _Words(service)
    if not service.status.conditions:
        return Explanation(f"{words.where} has no status yet.", (Finding("no operator has looked at it", _NOBODY),))
    found = [
        *_lag(service),
        *_troubles(service, words, now),
        *_rollout(service, words, now),
        *_scaling(service, now),
        *_vertical(service, vertical),
        *_action(service, now),
    ]
    return Explanation(_verdict(service, words, now), tuple(found))


class _Words:
    """The commands that a sentence may name, written so that they can be copied: `{retry}`, `{logs}`."""

    def __init__(self, service: Service) -> None:
        self.name, self.namespace = service.metadata.name, service.metadata.namespace
        self.where = f"{self.namespace}/{self.name}"
        self._kubectl = {
            "logs": f"logs -l {names.LABEL_SERVICE}={self.name} --prefix",
            "scale_up": f"scale isvc {self.name} --replicas=1",
            "unpause": f"annotate isvc {self.name} {names.ANNOTATION_PAUSED}-",
        }

    def __getitem__(self, word: str) -> str:
        if word in self._kubectl:
            return f"`kubectl {self._kubectl[word]} -n {self.namespace}`"
        return f"`penstock {word.replace('_', '-')} {self.name} -n {self.namespace}`"

    def fill(self, sentence: str) -> str:
        return sentence.format_map(self)


def _verdict(service: Service, words: _Words, now: datetime) -> str:
    ready = condition(service, Condition.READY)
    if ready is None:
        return f"{words.where}: nobody knows whether it is Ready."
    since = between(ready.last_transition_time, now)
    if ready.status == "True":
        return f"{words.where} is Ready, for {since}: {ready.message}."
    return f"{words.where} is not Ready, for {since}."


def _lag(service: Service) -> Iterator[Finding]:
    """What follows is old news then."""
    if (service.status.observed_generation or 0) < service.metadata.generation:
        yield Finding("the spec was changed after this status was written", _NOBODY)


def _troubles(service: Service, words: _Words, now: datetime) -> Iterator[Finding]:
    """Each reason once: `blockedBy` has it with the object, so it is taken from there where both have it."""
    explained = set()
    for each in service.status.blocked_by:
        since = f" for {between(each.since, now)}" if each.since else ""
        explained.add(each.reason)
        yield Finding(f"{each.reason} on {each.object}{since}: {each.message}", _way_out(each.reason, words))
    for found in _unhappy(service):
        if found.reason not in explained:
            explained.add(found.reason)
            since = between(found.last_transition_time, now)
            yield Finding(f"{found.reason} for {since}: {found.message}", _way_out(found.reason, words))


def _unhappy(service: Service) -> Iterator[objects.Condition]:
    """The conditions whose reason somebody may want to do something about."""
    happy = {
        Condition.READY: "True",
        Condition.STALLED: "False",
        Condition.RECONCILING: None,  # Either may be as it is for a reason.
        Condition.AUTOSCALING_ACTIVE: "True",
    }
    for kind, status in happy.items():
        found = condition(service, kind)
        if found is not None and found.status != status and found.reason not in NEED_NOTHING:
            yield found


def _way_out(reason: str, words: _Words) -> str:
    """Empty for a reason of a newer version."""
    known = Reason(reason) if reason in tuple(Reason) else None
    return words.fill(WAYS_OUT.get(known, "")) if known else ""


def _rollout(service: Service, words: _Words, now: datetime) -> Iterator[Finding]:
    rollout = service.rollout
    if rollout.phase is None:
        return
    message = f": {rollout.message}" if rollout.message else ""
    # A phase of a newer version has none here.
    ending = PHASE_ENDS[rollout.phase](Case(rollout, now)) if rollout.phase in PHASE_ENDS else ""
    yield Finding(f"the rollout is {rollout.phase}{message}", " ".join(words.fill(ending).split()))


def _scaling(service: Service, now: datetime) -> Iterator[Finding]:
    """How many pods there are to be, and whether it sleeps."""
    told = [
        ("autoscaling", scaling.of_autoscaler(service, now)),
        ("sleep", scaling.of_sleep(service, now)),
    ]
    found = [f"{what}: {text}" for what, text in told if text]
    for number, text in enumerate(found, start=1):
        yield Finding(text, scaling.way_out(service) if number == len(found) else "")


def _vertical(service: Service, vertical: Manifest | None) -> Iterator[Finding]:
    if vertical is not None and service.vertical_mode is not None:
        yield Finding(f"vertical autoscaler: {scaling.of_vertical(service, vertical)}")


def _action(service: Service, now: datetime) -> Iterator[Finding]:
    pending = pending_action(service)
    if pending is not None:
        yield Finding(f"the action {pending} has not been answered", _NOBODY)
    last = service.rollout.last_action
    if last is not None and last.result == "Refused":
        yield Finding(f"the last action: {outcome(last, now)}")


def _item(finding: Finding) -> Iterator[str]:
    first, *more = finding.what.splitlines() or [""]
    yield f"- {first}"
    yield from (f"  {line}" for line in more)
    if finding.way_out:
        yield f"  -> {finding.way_out}"
