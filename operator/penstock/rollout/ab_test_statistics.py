"""An A/B test: the requests of two revisions, counted side by side until one statistical test says which does better.

Both arms' windows are `counted`; once the test `is_complete`, its verdict is made elsewhere and `concluded` here. What
follows is decided in ab_test.py. Until then the status shows counts alone: whoever stops a test at the moment that its
figures please finds a difference where there is none (https://www.evanmiller.org/how-not-to-run-an-ab-test.html).
"""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from typing import Final, Literal

from penstock.api.rollout import AbTest, AbTestMetric
from penstock.api.status import AbTestArm, AbTestFigures, AbTestResult, AbTestStatus
from penstock.observed.answers import Verdict
from penstock.observed.counters import Buckets, Window, quantile
from penstock.rollout.analysis import rise_in_refusals

LEVEL: Final = 0.05
_MOST_BOUNDS: Final = 64  # as the status allows
_MOST: Final = 2**53 - 1  # the largest count that every reader of JSON has exactly


def begun(spec: AbTest, now: datetime) -> AbTestStatus:
    """The test when its traffic is first split. The measurement of that moment is the base of the next one."""
    return _with_message(
        AbTestStatus(mark=mark(spec), started_at=now, last_sample_at=now, ends_at=_end(now, spec)), spec
    )


def mark(spec: AbTest) -> str:
    """What tells a request of arm B from one of arm A."""
    if spec.header is not None:
        return f"header {spec.header.name}: {spec.header.value}"
    return f"cookie {spec.cookie.name}={spec.cookie.value}" if spec.cookie else ""


def counted(was: AbTestStatus, spec: AbTest, a: Window, b: Window, now: datetime) -> AbTestStatus:
    """The test after a measurement that has shown what each arm's pods counted since the last one."""
    bounds = _common_bounds(was, a, b)
    known = {
        "bounds": list(bounds),
        "a": _added(was.a, was.bounds, a, bounds),
        "b": _added(was.b, was.bounds, b, bounds),
        "ends_at": _end(was.started_at or now, spec),
        "last_sample_at": now,
    }
    return _with_message(was.model_copy(update=known), spec)


def is_complete(status: AbTestStatus, spec: AbTest) -> bool:
    """The time is over, both arms have enough requests, and nobody has judged them yet: no measurement follows."""
    return _has_enough(status, spec, spec.metric)


def judged_by_refusals(status: AbTestStatus, spec: AbTest, most_points: float) -> AbTestStatus:
    """With its result, where B refuses so much more than A that no comparison of the rest can make it the better one.

    Else a revision that answers nothing but 404 would have the lowest error rate, or never be timed at all.
    """
    if not _has_enough(status, spec, "ErrorRate"):
        return status
    a, b = (Window(arm.requests, arm.errors, refused=arm.refused) for arm in (status.a, status.b))
    found = rise_in_refusals(b, a, most_points, stable="A")
    return status if found is None else _with_result(status, spec, "A", f"A is better: with B {found}")


def concluded(status: AbTestStatus, spec: AbTest, verdict: Verdict) -> AbTestStatus:
    """The test with its result, which stands until the test begins anew."""
    a, b = (_figures(arm, status.bounds, spec.metric) for arm in (status.a, status.b))
    message = _sentence(verdict, spec.metric, a, b)
    return _with_result(
        status,
        spec,
        verdict.winner or "None",
        message,
        p_value=_rounded(verdict.p_value),
        effect=_rounded(verdict.effect),
    )


def _has_enough(status: AbTestStatus, spec: AbTest, metric: AbTestMetric) -> bool:
    """Time and, for a comparison by `metric`, requests; and nobody has judged the test yet."""
    if status.result is not None or status.started_at is None or status.last_sample_at is None:
        return False
    is_over = status.last_sample_at >= _end(status.started_at, spec)
    return is_over and all(_samples(arm, metric) >= spec.min_samples_per_arm for arm in (status.a, status.b))


def _with_result(
    status: AbTestStatus, spec: AbTest, winner: Literal["A", "B", "None"], message: str, **tested: float
) -> AbTestStatus:
    a, b = (_figures(arm, status.bounds, spec.metric) for arm in (status.a, status.b))
    result = AbTestResult(winner=winner, metric=spec.metric, a=a, b=b, message=message, **tested)
    return status.model_copy(update={"result": result, "message": ""})


def _end(started_at: datetime, spec: AbTest) -> datetime:
    return started_at + timedelta(seconds=spec.duration_seconds)


def _with_message(status: AbTestStatus, spec: AbTest) -> AbTestStatus:
    """With what it waits for: counts alone, nothing that tells who is ahead."""
    a, b = _samples(status.a, spec.metric), _samples(status.b, spec.metric)
    kind = "timed requests" if spec.metric == "Latency" else "requests"
    message = f"{a} {kind} of A and {b} of B, of {spec.min_samples_per_arm} that each needs"
    if status.ends_at is not None and status.last_sample_at is not None and status.last_sample_at < status.ends_at:
        message += f"; it lasts until {status.ends_at:%Y-%m-%d %H:%M:%S} UTC at least"
    return status.model_copy(update={"message": message})


def _samples(arm: AbTestArm, metric: AbTestMetric) -> int:
    return sum(arm.buckets) if metric == "Latency" else arm.requests


def _common_bounds(was: AbTestStatus, a: Window, b: Window) -> tuple[float, ...]:
    """The bounds that all that was timed has in common.

    A count of "so long or less" is exact at each bound that every pod has; at one that some lack it would miss theirs.
    So buckets are joined where the bounds differ, which loses detail but tells nothing wrong.
    """
    known = [frozenset(was.bounds)] if was.a.buckets or was.b.buckets else []
    known += [frozenset(_cumulative(window)) - {math.inf} for window in (a, b) if _cumulative(window)]
    common = sorted(frozenset.intersection(*known)) if known else []
    return tuple(common[:: math.ceil(len(common) / _MOST_BOUNDS) or 1])


def _cumulative(window: Window) -> Mapping[float, int]:
    """How many requests took no longer than each bound; empty where nothing was timed, or not all of it."""
    if not window.buckets or not math.isinf(window.buckets[-1][0]) or not window.buckets[-1][1]:
        return {}
    counts = [_whole(count) for _, count in window.buckets]
    # As in quantile(): a sum over pods with other bounds may fall somewhere, which no such count does.
    return dict(zip((bound for bound, _ in window.buckets), accumulate(counts, max), strict=True))


def _added(was: AbTestArm, bounds: list[float], window: Window, common: tuple[float, ...]) -> AbTestArm:
    requests = _whole(window.requests)
    errors = min(_whole(window.errors), requests)
    return AbTestArm(
        requests=_whole(was.requests + requests),
        # A pod that counts nonsense must not bring more failures than requests into the test.
        errors=_whole(was.errors + errors),
        refused=_whole(was.refused + min(_whole(window.refused), requests - errors)),
        buckets=_joined(dict(zip([*bounds, math.inf], accumulate(was.buckets), strict=False)), window, common),
    )


def _joined(before: Mapping[float, int], window: Window, common: tuple[float, ...]) -> list[int]:
    """The buckets between the common bounds; none while nothing was timed."""
    new = _cumulative(window)
    if not before and not new:
        return []
    ends = [_whole(before.get(bound, 0) + new.get(bound, 0)) for bound in (*common, math.inf)]
    return [high - low for low, high in pairwise([0, *ends])]


def _whole(count: float) -> int:
    return int(min(count, _MOST))


def _figures(arm: AbTestArm, bounds: list[float], metric: AbTestMetric) -> AbTestFigures:
    buckets: Buckets = tuple(zip([*bounds, math.inf], map(float, accumulate(arm.buckets)), strict=False))
    p50, p95 = quantile(0.5, buckets), quantile(0.95, buckets)
    return AbTestFigures(
        samples=_samples(arm, metric),
        error_rate_percent=_rounded(100 * arm.errors / arm.requests) if arm.requests else None,
        p50_seconds=None if p50 is None else _rounded(p50),
        p95_seconds=None if p95 is None else _rounded(p95),
    )


def _sentence(verdict: Verdict, metric: AbTestMetric, a: AbTestFigures, b: AbTestFigures) -> str:
    found = f"{verdict.winner} is better" if verdict.winner else f"no significant difference at {100 * LEVEL:g} %"
    message = _failed(a, b) if metric == "ErrorRate" else _took(verdict.effect, a, b)
    return f"{found}: {message}, p {verdict.p_value:.2g}"


def _failed(a: AbTestFigures, b: AbTestFigures) -> str:
    ours, theirs = (f"{figures.error_rate_percent or 0:.4g} % of {figures.samples}" for figures in (a, b))
    return f"{ours} requests failed with A, {theirs} with B"


def _took(effect: float, a: AbTestFigures, b: AbTestFigures) -> str:
    ours, theirs = ("unknown" if figures.p50_seconds is None else f"{figures.p50_seconds:.4g} s" for figures in (a, b))
    medians = f"the median of {a.samples} is {ours} with A, of {b.samples} {theirs} with B"
    return f"a request takes longer with B than with A at a probability of {effect:.3g}, {medians}"


def _rounded(value: float) -> float:
    """To six digits: more would only make the status harder to read."""
    return float(f"{value:.6g}")
