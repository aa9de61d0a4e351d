"""The A/B test of a BlueGreen rollout: before the gate, a gateway sends marked requests to the new revision, arm B.

The test begins when the gateway has taken the route, measures both arms' counters until it is complete, and is judged
once. The rule for marked requests stays until the switch, so that whoever met the new revision goes on meeting it.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from penstock.api.rollout import AbTest, Analysis
from penstock.api.status import AbTestStatus, RolloutPhase
from penstock.names import Reason, Slot
from penstock.observed.answers import Answers, Verdict
from penstock.rollout import ab_test_statistics, rollback, route_weights
from penstock.rollout.decision import Asks, Decision, Situation

AbTestOutcome = Literal["running", "promote", "give-up", "ask"]

_NOT_BEGUN: Final = "the A/B test begins when the gateway sends marked requests to revision"


class GatedStay(Protocol):
    """A step in which nothing moves; at a gate the deadline's clock stands still."""

    def __call__(self, s: Situation, phase: RolloutPhase, message: str, /, *, at_a_gate: bool) -> Decision: ...


def compared(s: Situation, *, then: Callable[[Situation], Decision], stay: GatedStay) -> Decision:
    """On with `then` once the new revision has won, or without a test to make; if it has lost, that is the end."""
    spec = s.seen.service.spec.rollout.ab_test
    if spec is None or not s.is_by_route:
        return then(s.remembering(ab_test=None))
    if s.recorded.is_promoted:
        return then(s)
    was = s.recorded.ab_test
    # A definition older than this field does not keep it.
    is_other = was is not None and was.mark not in (None, ab_test_statistics.mark(spec))
    if was is None or is_other:
        # Counts of other requests are not this test's, and the route is only written with this decision.
        s = s.remembering(ab_test=None)
        waits = "its mark has changed" if is_other else route_weights.lacks_variant(s)
        if waits is not None or s.is_halted:
            on = stay(s, "Waiting", f"{_NOT_BEGUN} {s.current}: {waits or 'it stands still'}", at_a_gate=False)
            return on if s.is_halted or on.target != s.current else replace(on, variant=s.seen.idle)
    s = s.remembering(ab_test=_measured(s, spec))
    test = s.recorded.ab_test or AbTestStatus()
    follows = outcome(test, auto_promote=s.seen.service.spec.rollout.blue_green.auto_promote)
    if follows == "promote":
        return then(s)
    if follows == "give-up":
        why = f"revision {s.current} lost its A/B test: {standing(test)}"
        return rollback.fail(s, Reason.AB_TEST_LOST, why)
    on = stay(s, "Waiting", f"A/B test: {standing(test)}{_asked(s, test, follows)}", at_a_gate=True)
    return on if s.is_halted or follows == "ask" else _asking(s, on, spec)


def because(s: Situation) -> str:
    """What a test that could not begin has waited for in vain, if that is it."""
    is_due = s.available > 0 and s.recorded.ab_test is None and s.seen.service.spec.rollout.ab_test is not None
    waits = route_weights.lacks_variant(s) if is_due and s.is_by_route else None
    return f": {waits}" if waits else ""


def _asked(s: Situation, test: AbTestStatus, follows: AbTestOutcome) -> str:
    """What only a person can do now."""
    if follows == "ask":
        return "; the actions promote, abort and retry say what follows"
    is_silent = test.a.requests == 0 and test.b.requests == 0 and test.ends_at is not None and s.now >= test.ends_at
    return "; no pod has counted a request: the actions promote and abort end it" if is_silent else ""


def variant(s: Situation) -> Slot | None:
    """Where marked requests go in a step of the way to the switch: on to where they went, while it answers."""
    is_marked = s.recorded.ab_test is not None or (s.seen.route is not None and s.seen.route.variant is s.seen.idle)
    return s.seen.idle if is_marked and s.available and s.seen.service.spec.rollout.ab_test else None


def _measured(s: Situation, spec: AbTest) -> AbTestStatus | None:
    """The test with what this pass has looked at, and with its verdict."""
    test, answers = s.recorded.ab_test, s.seen.answers
    if answers is None or (test is None and answers.arms is None):
        return test
    if test is None:
        return ab_test_statistics.begun(spec, s.now)
    if answers.arms is not None:
        test = ab_test_statistics.counted(test, spec, *answers.arms, s.now)
    most_points = (s.seen.service.spec.rollout.analysis or Analysis()).max_refused_increase_percent
    test = ab_test_statistics.judged_by_refusals(test, spec, most_points)
    if answers.verdict is None or test.result is not None:
        return test
    if isinstance(answers.verdict, Verdict):
        return ab_test_statistics.concluded(test, spec, answers.verdict)
    return not_judged(test, answers.verdict, s.now)


def _asking(s: Situation, on: Decision, spec: AbTest) -> Decision:
    """A measurement of the arms, or the judgement, when it is due and this pass has not had it."""
    test, answers = s.recorded.ab_test, s.seen.answers or Answers()
    if test is None:
        return replace(on, asks=Asks(arms=True))
    again = next_measurement_at(test, s.seen.service.spec.rollout.analysis)
    # Once it is due, the answer wakes the next pass, not the time.
    wake, has_measured = again if again > s.now else None, answers.arms is not None
    if ab_test_statistics.is_complete(test, spec):
        is_due = answers.verdict is None and (has_measured or s.now >= again)
        return replace(on, asks=Asks(judge=test if is_due else None), requeue_at=wake)
    return replace(on, asks=Asks(arms=s.now >= again and not has_measured), requeue_at=wake)


def next_measurement_at(status: AbTestStatus, analysis: Analysis | None) -> datetime:
    """When to measure again, or to try again what could not be judged. Raises ValueError.

    One measurement falls on the end, so that a test is no longer than it has to be.
    """
    if status.last_sample_at is None:
        raise ValueError("the A/B test has not begun")
    again = status.last_sample_at + timedelta(seconds=(analysis or Analysis()).interval_seconds)
    if status.ends_at is None or status.ends_at <= status.last_sample_at:
        return again
    return min(again, status.ends_at)


def not_judged(status: AbTestStatus, why: str, now: datetime) -> AbTestStatus:
    """The test could not be made: the counts stay as they are, and it is tried again after an interval."""
    message = f"the A/B test has all its requests but could not be judged, and is tried again: {why}"
    return status.model_copy(update={"last_sample_at": now, "message": message})


def outcome(status: AbTestStatus, *, auto_promote: bool) -> AbTestOutcome:
    """What follows: without a winner, or where nothing is promoted by itself, a person is asked."""
    if status.result is None:
        return "running"
    if not auto_promote or status.result.winner == "None":
        return "ask"
    return "promote" if status.result.winner == "B" else "give-up"


def standing(status: AbTestStatus) -> str:
    """How the test stands, in a sentence for people."""
    return status.message if status.result is None else status.result.message
