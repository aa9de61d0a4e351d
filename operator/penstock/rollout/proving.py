"""What a new revision has to show before it gets traffic, and while it does: the smoke test, and the analysis."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from penstock.api.rollout import Analysis
from penstock.api.status import RolloutPhase
from penstock.names import Reason
from penstock.rollout import analysis, rollback, smoke
from penstock.rollout.analysis import Outcome
from penstock.rollout.decision import Asks, Decision, Situation

_TEST_AGAIN_AFTER: Final = timedelta(seconds=5)

# A step in which nothing moves: from the situation, its phase, and what it waits for.
Stay = Callable[[Situation, RolloutPhase, str], Decision]


def tested(s: Situation, *, then: Callable[[Situation], Decision], stay: Stay) -> Decision:
    """On with `then` once every pod of the idle slot has passed; a test that fails three times in a row is the end."""
    untested = _untested(s)
    if not untested:
        return then(s)
    status = s.recorded.smoke_test
    heard = s.seen.answers.smoke if s.seen.answers is not None else {}
    results = {pod: text for pod, text in heard.items() if pod in untested}
    if results:
        status = smoke.record(status, results)
        s = s.remembering(smoke_test=status.model_copy(update={"last_attempt_at": s.now}))
        if smoke.has_failed(status):
            why = f"revision {s.current} failed its smoke test: {status.message}"
            return rollback.fail(s, Reason.SMOKE_TEST_FAILED, why)
        if not _untested(s):
            return then(s)
    because = f": {status.message}" if status is not None and status.failures else ""
    on = stay(s, "Testing", f"{len(untested)} pods still have to pass the smoke test{because}")
    last = s.recorded.smoke_test.last_attempt_at if s.recorded.smoke_test else None
    if s.is_halted or on.phase != "Testing":
        return on
    if last is not None and s.now < last + _TEST_AGAIN_AFTER:
        again = last + _TEST_AGAIN_AFTER
        return replace(on, requeue_at=min(on.requeue_at or again, again))
    return replace(on, asks=Asks(smoke=untested))


def _untested(s: Situation) -> frozenset[str]:
    """Pods of the new revision that have not passed; none where there is no test, or nobody to make it.

    Of more pods than the status has room for, the others rely on their readiness, as all later ones do.
    """
    if not s.seen.is_smoke_tested:
        return frozenset()
    passed = frozenset(s.recorded.smoke_test.passed) if s.recorded.smoke_test else frozenset()
    ready = frozenset(pod.name for pod in s.seen.ready(s.seen.idle) if pod.revision == s.current)
    return ready - passed if len(ready & passed) < smoke.MOST_PASSED else frozenset()


def analysed(s: Situation, spec: Analysis | None) -> tuple[Situation, datetime | None, Outcome]:
    """The analysis with what this pass has looked at, when to measure again, and what it says."""
    if spec is None:
        return s, None, "passed"
    status, measured = s.recorded.analysis, s.seen.answers.measured if s.seen.answers else None
    if status is None and measured is None:
        return s, s.now, "running"
    # The first measurement is the base of the next one: what it counts may be from before the traffic came.
    if status is None:
        status = analysis.record(None, None, s.now).model_copy(update={"last_sample_at": s.now})
    elif measured is not None:
        status = analysis.record(status, analysis.judge(*measured, spec, stable=_stable(s)), s.now)
    verdict = analysis.outcome(status, spec, s.now)
    # What has passed is looked at as long as its step or its hold lasts: it may fail yet.
    return (
        s.remembering(analysis=status),
        analysis.next_measurement_at(status, spec) if verdict != "failed" else None,
        verdict,
    )


def _stable(s: Situation) -> str:
    return f"revision {s.recorded.stable_revision}" if s.recorded.stable_revision else "the stable revision"


def stopped(s: Situation) -> str | None:
    """Why none of the new revision's pods answers any more, if the cause is their own; None if it is not.

    A pod that is leaving, waits for a node or comes up again says nothing about its revision: it is waited for.
    """
    cause = next((each for each in s.causes if each.revision == s.current and each.is_of_the_pod_itself), None)
    return f"no pod of revision {s.current} answers any more: {cause.reason}: {cause.message}" if cause else None


def failed_analysis(s: Situation) -> Decision:
    """Back to the stable revision, with what the last measurement found."""
    found = s.recorded.analysis.message if s.recorded.analysis else ""
    return rollback.fail(s, Reason.ANALYSIS_FAILED, f"revision {s.current} failed its analysis: {found}")


def measuring(s: Situation, on: Decision, ends_at: datetime | None, measure_again: datetime | None) -> Decision:
    """The step with a measurement of the counters, when it is due and this pass has not had it, until its end."""
    if s.is_halted:
        return on
    has_measured = s.seen.answers is not None and s.seen.answers.measured is not None
    is_due = measure_again is not None and s.now >= measure_again and not has_measured
    wake = min((at for at in (ends_at, measure_again) if at is not None and at > s.now), default=None)
    return replace(on, asks=Asks(measure=is_due), requeue_at=wake)


NO_DATA: Final = "the analysis has seen too few requests: it waits for traffic, or the action promote, retry or abort"
