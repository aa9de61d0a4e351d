"""Whether a new revision does well, from what its pods count themselves: no Prometheus is needed.

A pod's metrics are `parse`d to Counters; two measurements of a slot's pods make a Window; a Window is `judge`d; the
results are `record`ed, and their `outcome` ends the analysis. First what a step makes of that, then the checks.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from penstock.api.rollout import Analysis
from penstock.api.status import AnalysisStatus
from penstock.names import Reason
from penstock.observed.counters import Window, quantile
from penstock.rollout import rollback
from penstock.rollout.decision import Asks, Decision, Situation

MeasurementResult = Literal["success", "failure", "inconclusive"]
AnalysisOutcome = Literal["running", "passed", "failed", "no-data"]

_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_COMPARED: Final = "p95"
_STABLE: Final = "the stable revision"
NO_DATA: Final = "the analysis has seen too few requests: it waits for traffic, or the action promote, retry or abort"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one measurement has shown."""

    result: MeasurementResult
    message: str


def analysed(s: Situation, spec: Analysis | None) -> tuple[Situation, datetime | None, AnalysisOutcome]:
    """The analysis with what this pass has looked at, when to measure again, and what it says."""
    if spec is None:
        return s, None, "passed"
    status, measured = s.recorded.analysis, s.seen.answers.measured if s.seen.answers else None
    if status is None and measured is None:
        return s, s.now, "running"
    # The first measurement is the base of the next one: what it counts may be from before the traffic came.
    if status is None:
        status = record(None, None, s.now).model_copy(update={"last_sample_at": s.now})
    elif measured is not None:
        stable = f"revision {s.recorded.stable_revision}" if s.recorded.stable_revision else _STABLE
        status = record(status, judge(*measured, spec, stable=stable), s.now)
    found = outcome(status, spec, s.now)
    # What has passed is looked at as long as its step or its hold lasts: it may fail yet.
    return (
        s.remembering(analysis=status),
        next_measurement_at(status, spec) if found != "failed" else None,
        found,
    )


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


def judge(new: Window, old: Window, spec: Analysis, *, stable: str = _STABLE) -> Measurement:
    """What a measurement of the new revision's pods shows, beside what those of the `stable` one have counted."""
    measurements = (check(new, old, spec, stable) for check in _CHECKS)
    return next(
        (measurement for measurement in measurements if measurement is not None), Measurement("success", _summary(new))
    )


def tells(new: Window, old: Window, spec: Analysis) -> bool:
    """Whether a measurement proves anything: one that does not is to be added to the next one."""
    return judge(new, old, spec).result != "inconclusive"


def rise_in_refusals(new: Window, old: Window, limit: float, *, stable: str) -> str | None:
    """What to say where the new revision refuses too many requests that the stable one would have answered."""
    rise = new.refused_percent - old.refused_percent
    if rise <= limit:
        return None
    than = f"{rise:.3g} points more than {stable}'s {old.refused_percent:.3g} %"
    return f"{_refused(new)}, {than}; at most {limit:g} are allowed"


def record(before: AnalysisStatus | None, measurement: Measurement | None, now: datetime) -> AnalysisStatus:
    """The analysis after a measurement; without one it begins, if it has not."""
    was = before or AnalysisStatus(started_at=now)
    if measurement is None:
        return was
    counted = {
        "success": {"successes": was.successes + 1},
        "failure": {"failures": was.failures + 1},
        "inconclusive": {"inconclusive": was.inconclusive + 1},
    }[measurement.result]
    return was.model_copy(update={**counted, "last_sample_at": now, "message": measurement.message})


def outcome(status: AnalysisStatus, spec: Analysis, now: datetime) -> AnalysisOutcome:
    """What the measurements so far come to. `onNoData` promotes only time without any data: a failed one is data."""
    if status.failures >= spec.failure_limit:
        return "failed"
    if status.started_at is None or now < status.started_at + timedelta(seconds=spec.duration_seconds):
        return "running"
    is_promoted_unseen = spec.on_no_data == "Promote" and not status.failures
    return "passed" if status.successes or is_promoted_unseen else "no-data"


def next_measurement_at(status: AnalysisStatus, spec: Analysis) -> datetime:
    """When to measure again. The first is due at once: it sets the base of the second. Raises ValueError."""
    if status.last_sample_at is not None:
        return status.last_sample_at + timedelta(seconds=spec.interval_seconds)
    if status.started_at is None:
        raise ValueError("the analysis has not begun")
    return status.started_at


def _too_few_requests(new: Window, _: Window, spec: Analysis, __: str) -> Measurement | None:
    if new.requests >= spec.min_requests:
        return None
    return Measurement(
        "inconclusive", f"{new.requests:g} requests are too few to tell: minRequests is {spec.min_requests}"
    )


def _too_many_errors(new: Window, _: Window, spec: Analysis, __: str) -> Measurement | None:
    limit = spec.max_error_rate_percent
    if new.error_percent <= limit:
        return None
    failed = f"{new.error_percent:.3g} % of {new.requests:g} requests failed (5xx or 429)"
    return Measurement("failure", f"{failed}; at most {limit:g} % are allowed")


def _more_refusals_than_before(new: Window, old: Window, spec: Analysis, stable: str) -> Measurement | None:
    """Bad requests are the clients' fault; that there are so many more of them is the new revision's."""
    limit = spec.max_refused_increase_percent
    if old.requests >= spec.min_requests:
        found = rise_in_refusals(new, old, limit, stable=stable)
        return Measurement("failure", found) if found else None
    if new.refused_percent <= limit:
        return None
    return Measurement("inconclusive", f"{_refused(new)}; {stable} has answered too few to compare with")


def _too_few_successes(new: Window, _: Window, spec: Analysis, __: str) -> Measurement | None:
    """To time: a request that is refused, or fails, takes no time worth comparing."""
    is_timed = spec.max_latency_seconds is not None or spec.max_latency_increase_percent is not None
    if not is_timed or new.successes >= spec.min_requests:
        return None
    counts = f"{new.successes:g} of {new.requests:g} requests succeeded"
    return Measurement(
        "inconclusive", f"{counts}: too few to tell how long they take: minRequests is {spec.min_requests}"
    )


def _too_slow(new: Window, _: Window, spec: Analysis, __: str) -> Measurement | None:
    limit = spec.max_latency_seconds
    if limit is None:
        return None
    took = quantile(_QUANTILES[limit.quantile], new.buckets)
    if took is None:
        return _UNTIMED
    message = f"the {limit.quantile} of {new.successes:g} successes is {took:.4g} s; it may be {limit.seconds:g} s"
    return Measurement("failure", message) if took > limit.seconds else None


def _slower_than_before(new: Window, old: Window, spec: Analysis, stable: str) -> Measurement | None:
    limit = spec.max_latency_increase_percent
    base = quantile(_QUANTILES[_COMPARED], old.buckets)
    if limit is None or base is None or old.successes < spec.min_requests:
        return None  # What cannot be compared is left out: the other bounds hold.
    took = quantile(_QUANTILES[_COMPARED], new.buckets)
    if took is None:
        return _UNTIMED
    message = f"the {_COMPARED} is {took:.4g} s, more than {limit:g} % above {stable}'s {base:.4g} s"
    return Measurement("failure", message) if took > base * (1 + limit / 100) else None


_CHECKS: Final[tuple[Callable[[Window, Window, Analysis, str], Measurement | None], ...]] = (
    _too_few_requests,
    _too_many_errors,
    _more_refusals_than_before,
    _too_few_successes,
    _too_slow,
    _slower_than_before,
)
_UNTIMED: Final = Measurement("inconclusive", "the pods count requests, but not how long they took")


def _summary(seen: Window) -> str:
    took = quantile(_QUANTILES[_COMPARED], seen.buckets)
    timed = "" if took is None else f", {_COMPARED} {took:.4g} s"
    refused = f", {seen.refused_percent:.3g} % refused (4xx)" if seen.refused else ""
    return f"{seen.requests:g} requests, {seen.error_percent:.4g} % failed (5xx or 429){refused}{timed}"


def _refused(seen: Window) -> str:
    return f"{seen.refused_percent:.3g} % of {seen.requests:g} requests refused (4xx)"
