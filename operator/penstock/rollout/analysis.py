"""Whether a new revision does well, from what its pods count themselves: no Prometheus is needed.

A pod's metrics are `parse`d to Counters; two measurements of a slot's pods make a Window; a Window is `judge`d; the
verdicts are `record`ed, and their `outcome` ends the analysis.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from penstock.api.rollout import Analysis
from penstock.api.status import AnalysisStatus
from penstock.observed.counters import Window, quantile

Verdict = Literal["success", "failure", "inconclusive"]
Outcome = Literal["running", "passed", "failed", "no-data"]

_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_COMPARED: Final = "p95"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one look has shown."""

    verdict: Verdict
    message: str


def judge(new: Window, old: Window, spec: Analysis) -> Measurement:
    """What a measurement of the new revision's pods shows, beside what the old one's counted at the same time."""
    measurements = (check(new, old, spec) for check in _CHECKS)
    return next(
        (measurement for measurement in measurements if measurement is not None), Measurement("success", _standing(new))
    )


def record(before: AnalysisStatus | None, measurement: Measurement | None, now: datetime) -> AnalysisStatus:
    """The analysis after a measurement; without one it begins, if it has not."""
    was = before or AnalysisStatus(started_at=now)
    if measurement is None:
        return was
    counted = {
        "success": {"successes": was.successes + 1},
        "failure": {"failures": was.failures + 1},
        "inconclusive": {"inconclusive": was.inconclusive + 1},
    }[measurement.verdict]
    return was.model_copy(update={**counted, "last_sample_at": now, "message": measurement.message})


def outcome(status: AnalysisStatus, spec: Analysis, now: datetime) -> Outcome:
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


def _too_few_requests(new: Window, _: Window, spec: Analysis) -> Measurement | None:
    if new.requests >= spec.min_requests:
        return None
    return Measurement(
        "inconclusive", f"{new.requests:g} requests are too few to tell: minRequests is {spec.min_requests}"
    )


def _too_many_errors(new: Window, _: Window, spec: Analysis) -> Measurement | None:
    limit = spec.max_error_rate_percent
    return Measurement("failure", f"{_standing(new)}: more than {limit:g} %") if new.error_percent > limit else None


def _too_slow(new: Window, _: Window, spec: Analysis) -> Measurement | None:
    limit = spec.max_latency_seconds
    if limit is None:
        return None
    took = quantile(_QUANTILES[limit.quantile], new.buckets)
    if took is None:
        return _UNTIMED
    told = f"the {limit.quantile} of {new.requests:g} requests is {took:.4g} s: more than {limit.seconds:g} s"
    return Measurement("failure", told) if took > limit.seconds else None


def _slower_than_the_old(new: Window, old: Window, spec: Analysis) -> Measurement | None:
    limit = spec.max_latency_increase_percent
    base = quantile(_QUANTILES[_COMPARED], old.buckets)
    if limit is None or base is None or old.requests < spec.min_requests:
        return None  # What cannot be compared is left out: the other bounds hold.
    took = quantile(_QUANTILES[_COMPARED], new.buckets)
    if took is None:
        return _UNTIMED
    told = f"the {_COMPARED} is {took:.4g} s: more than {limit:g} % above the old revision's {base:.4g} s"
    return Measurement("failure", told) if took > base * (1 + limit / 100) else None


_CHECKS: Final[tuple[Callable[[Window, Window, Analysis], Measurement | None], ...]] = (
    _too_few_requests,
    _too_many_errors,
    _too_slow,
    _slower_than_the_old,
)
_UNTIMED: Final = Measurement("inconclusive", "the pods count requests, but not how long they took")


def _standing(seen: Window) -> str:
    took = quantile(_QUANTILES[_COMPARED], seen.buckets)
    timed = "" if took is None else f", {_COMPARED} {took:.4g} s"
    return f"{seen.requests:g} requests, {seen.error_percent:.4g} % failed with a 5xx status{timed}"
