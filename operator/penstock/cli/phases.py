"""What ends each phase of a rollout: by itself, at which time, and by which action. Pure.

A word in braces is a command, which explain.py writes out. Every phase is in PHASE_ENDS.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from penstock.cli.layout import relative
from penstock.cli.objects import AbTest, Rollout


@dataclass(frozen=True, slots=True)
class Case:
    """A rollout and what its ending is computed from."""

    rollout: Rollout
    now: datetime

    @property
    def stable(self) -> str:
        return f"revision {self.rollout.stable_revision}" if self.rollout.stable_revision else "the stable revision"

    @property
    def deadline(self) -> str:
        """What happens if it does not end."""
        if self.rollout.paused_at is not None:
            return "Its deadline stands still."
        if self.rollout.deadline_at is None:
            return ""
        return f"Without progress it is given up {when(self.rollout.deadline_at, self.now)}."

    @property
    def way_back(self) -> str:
        return f"{{abort}} goes back to {self.stable} now."


def _deploying(case: Case) -> str:
    return (
        "It ends when the first pods are ready. There is no earlier revision to go back to, so it is kept trying; "
        "a changed spec replaces it."
    )


def _stable(case: Case) -> str:
    return "Nothing is on its way. A changed spec begins the next one, and so does {restart}."


def _progressing(case: Case) -> str:
    return f"It ends when every pod is of the new revision and available. {case.deadline} {case.way_back}"


def _preparing(case: Case) -> str:
    return f"It goes on when the new pods are available. {case.deadline} {case.way_back}"


def _testing(case: Case) -> str:
    return (
        "It goes on when every new pod has passed spec.rollout.smokeTest; a test that fails again and again ends the "
        f"rollout. {case.deadline} {case.way_back}"
    )


def _waiting(case: Case) -> str:
    opens = case.rollout.gate_opens_at
    is_canary = case.rollout.canary is not None
    if case.rollout.ab_test is not None and case.rollout.tested_at is None:
        return _compared(case.rollout.ab_test, case)
    if case.rollout.strategy == "BlueGreen" and case.rollout.tested_at is None:
        begins = "Its A/B test begins when the gateway sends marked requests to the new pods"
        return f"{begins}. {case.deadline} {case.way_back}"
    if opens is None:
        why = "this step has pause: true" if is_canary else "spec.rollout.blueGreen.autoPromote is false"
        return f"It goes on with {{promote}}: {why}. {case.way_back}"
    if is_canary and opens <= case.now:
        return _unproven("The step's time is over", "ends the step all the same", case)
    return f"It goes on by itself {when(opens, case.now)}, or now with {{promote}}. {case.way_back}"


def _compared(test: AbTest, case: Case) -> str:
    if test.result is not None:
        return f"The A/B test is over and you decide: {{promote}}, or {{retry}} to test again. {case.way_back}"
    ends = f" {when(test.ends_at, case.now)} at the earliest" if test.ends_at and test.ends_at > case.now else ""
    enough = f"The A/B test ends{ends} when both revisions have had enough requests"
    return f"{enough}; {{promote}} leaves it out. {case.way_back}"


def _scaling(case: Case) -> str:
    if case.rollout.canary is not None:
        return f"It goes on when the step's pods answer. {case.deadline} {case.way_back}"
    latched = case.rollout.latched_replicas
    needed = f"{latched} pods" if latched else "as many pods as the old revision has"
    return f"The traffic is switched when {needed} of the new revision are available. {case.deadline} {case.way_back}"


def _switching(case: Case) -> str:
    return f"It goes on when all traffic reaches the new revision. {case.deadline} {case.way_back}"


def _holding(case: Case) -> str:
    ends = case.rollout.hold_ends_at
    if ends is not None and ends <= case.now and case.rollout.analysis is not None:
        return _unproven("The hold is over", "takes the new revision as it is", case)
    over = when(ends, case.now) if ends is not None else "when spec.rollout.blueGreen.holdSeconds are over"
    return f"The old pods go {over}, or now with {{promote}}. {case.way_back}"


def _unproven(what: str, promote: str, case: Case) -> str:
    return (
        f"{what}, and the analysis has not passed yet: it goes on with traffic, {{promote}} {promote}, {{retry}} "
        f"starts the analysis afresh. {case.way_back}"
    )


def _aborting(case: Case) -> str:
    return f"It ends when {case.stable} answers all requests again. No action is needed."


def _rolled_back(case: Case) -> str:
    failed = case.rollout.failed_revision
    given_up = f"revision {failed}" if failed else "the revision that was given up"
    return f"A changed spec is tried; {{retry}} tries {given_up} again. Until then {case.stable} serves."


def _paused(case: Case) -> str:
    return f"It stands still, and so does its deadline, until {{resume}}. {case.way_back}"


PHASE_ENDS: Final[Mapping[str, Callable[[Case], str]]] = {
    "Deploying": _deploying,
    "Stable": _stable,
    "Progressing": _progressing,
    "Preparing": _preparing,
    "Testing": _testing,
    "Waiting": _waiting,
    "Scaling": _scaling,
    "Switching": _switching,
    "Holding": _holding,
    "Aborting": _aborting,
    "RolledBack": _rolled_back,
    "RolloutPaused": _paused,
}


def when(then: datetime, now: datetime) -> str:
    return f"at {then:%H:%M:%S} UTC ({relative(then, now)})"
