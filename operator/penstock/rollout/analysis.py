"""Whether a new revision does well, from what its pods count themselves: no Prometheus is needed.

A pod's metrics are `parse`d to Counters; two looks at a slot's pods make a Window; a Window is `judge`d; the verdicts
are `record`ed, and their `outcome` ends the analysis.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Final, Literal

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from penstock.api.rollout import Analysis
from penstock.api.status import AnalysisStatus

Verdict = Literal["success", "failure", "inconclusive"]
Outcome = Literal["running", "passed", "failed", "no-data"]
Buckets = tuple[tuple[float, float], ...]  # (upper bound in seconds, requests that took no longer), bounds rising

_REQUESTS: Final = "inference_requests"
_DURATIONS: Final = "inference_request_duration_seconds"
# Escaped, the longest name of a model is half of it. The parser's time grows with the square of a line.
_LONGEST_LINE: Final = 1024
_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_COMPARED: Final = "p95"


@dataclass(frozen=True, slots=True)
class Counters:
    """What one pod has counted since its server started, over all routes."""

    requests: float = 0
    errors: float = 0  # answered with a 5xx status
    buckets: Buckets = ()


@dataclass(frozen=True, slots=True)
class Window:
    """What the pods of one slot have counted from one look to the next."""

    requests: float = 0
    errors: float = 0
    buckets: Buckets = ()

    @property
    def error_percent(self) -> float:
        return 100 * self.errors / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Look:
    """What one look has shown."""

    verdict: Verdict
    message: str


def parse(text: str) -> Counters | None:
    """The counters in a Prometheus exposition of our server; None when they are not there, or make no sense.

    A server that has answered nothing yet declares them without a sample: that is a count of zero.
    """
    ours = "\n".join(line for line in text.split("\n") if _is_ours(line))
    try:
        families = list(text_string_to_metric_families(ours))
        if not any(family.name.removesuffix("_total") == _REQUESTS for family in families):
            return None
        return _counters([sample for family in families for sample in family.samples])
    except (ValueError, LookupError, ArithmeticError):
        return None


def window(before: Mapping[str, Counters], now: Mapping[str, Counters]) -> Window:
    """What was counted between two looks at a slot's pods.

    A pod whose counters went down was restarted, and counts from zero. A pod that is seen for the first time counts
    for nothing yet: counting it from zero would be right if it started after the last look, but nothing tells it from
    one that did not answer then, whose counters may hold weeks of another time's requests. What a new pod has counted
    before its first look is, besides, our own smoke test.
    """
    since = [_since(before[pod], counted) for pod, counted in now.items() if pod in before]
    return _together(since)


def lifetime(now: Mapping[str, Counters]) -> Window:
    """What a slot's pods have counted since they started."""
    return _together(now.values())


def quantile(rank: float, buckets: Buckets) -> float | None:
    """The duration, in seconds, that the share `rank` of the requests did not exceed; None if there is none to tell.

    As Prometheus' histogram_quantile estimates it (https://prometheus.io/docs/prometheus/latest/querying/functions/):
    requests are taken to lie evenly within their bucket, the first of which begins at 0. One beyond the last finite
    bound counts as being there: how much longer it took is not known.
    """
    # Pods with other bounds may make the sum fall somewhere, which no count of "so long or less" does.
    counts = list(accumulate((count for _, count in buckets), max))
    if len(buckets) < 2 or not math.isinf(buckets[-1][0]) or not counts[-1]:
        return None
    wanted = rank * counts[-1]
    found = next(index for index, count in enumerate(counts) if count >= wanted)
    if found == len(buckets) - 1:
        return buckets[-2][0]
    start, below = (buckets[found - 1][0], counts[found - 1]) if found else (0.0, 0.0)
    return start + (buckets[found][0] - start) * (wanted - below) / (counts[found] - below)


def judge(new: Window, old: Window, spec: Analysis) -> Look:
    """What a look at the new revision's pods shows, beside what the old one's counted at the same time."""
    looks = (check(new, old, spec) for check in _CHECKS)
    return next((look for look in looks if look is not None), Look("success", _standing(new)))


def record(before: AnalysisStatus | None, look: Look | None, now: datetime) -> AnalysisStatus:
    """The analysis after a look; without one it begins, if it has not."""
    was = before or AnalysisStatus(started_at=now)
    if look is None:
        return was
    counted = {
        "success": {"successes": was.successes + 1},
        "failure": {"failures": was.failures + 1},
        "inconclusive": {"inconclusive": was.inconclusive + 1},
    }[look.verdict]
    return was.model_copy(update={**counted, "last_sample_at": now, "message": look.message})


def outcome(status: AnalysisStatus, spec: Analysis, now: datetime) -> Outcome:
    """What the looks so far come to. Only time without any data is `onNoData`'s to promote: a failed look is data."""
    if status.failures >= spec.failure_limit:
        return "failed"
    if status.started_at is None or now < status.started_at + timedelta(seconds=spec.duration_seconds):
        return "running"
    is_promoted_unseen = spec.on_no_data == "Promote" and not status.failures
    return "passed" if status.successes or is_promoted_unseen else "no-data"


def next_look_at(status: AnalysisStatus, spec: Analysis) -> datetime:
    """When to look again. The first look is due at once: it sets the base of the second. Raises ValueError."""
    if status.last_sample_at is not None:
        return status.last_sample_at + timedelta(seconds=spec.interval_seconds)
    if status.started_at is None:
        raise ValueError("the analysis has not begun")
    return status.started_at


def _too_few_requests(new: Window, _: Window, spec: Analysis) -> Look | None:
    if new.requests >= spec.min_requests:
        return None
    return Look("inconclusive", f"{new.requests:g} requests are too few to tell: minRequests is {spec.min_requests}")


def _too_many_errors(new: Window, _: Window, spec: Analysis) -> Look | None:
    limit = spec.max_error_rate_percent
    return Look("failure", f"{_standing(new)}: more than {limit:g} %") if new.error_percent > limit else None


def _too_slow(new: Window, _: Window, spec: Analysis) -> Look | None:
    limit = spec.max_latency_seconds
    if limit is None:
        return None
    took = quantile(_QUANTILES[limit.quantile], new.buckets)
    if took is None:
        return _UNTIMED
    told = f"the {limit.quantile} of {new.requests:g} requests is {took:.4g} s: more than {limit.seconds:g} s"
    return Look("failure", told) if took > limit.seconds else None


def _slower_than_the_old(new: Window, old: Window, spec: Analysis) -> Look | None:
    limit = spec.max_latency_increase_percent
    base = quantile(_QUANTILES[_COMPARED], old.buckets)
    if limit is None or base is None or old.requests < spec.min_requests:
        return None  # What cannot be compared is left out: the other bounds hold.
    took = quantile(_QUANTILES[_COMPARED], new.buckets)
    if took is None:
        return _UNTIMED
    told = f"the {_COMPARED} is {took:.4g} s: more than {limit:g} % above the old revision's {base:.4g} s"
    return Look("failure", told) if took > base * (1 + limit / 100) else None


_CHECKS: Final[tuple[Callable[[Window, Window, Analysis], Look | None], ...]] = (
    _too_few_requests,
    _too_many_errors,
    _too_slow,
    _slower_than_the_old,
)
_UNTIMED: Final = Look("inconclusive", "the pods count requests, but not how long they took")


def _standing(seen: Window) -> str:
    took = quantile(_QUANTILES[_COMPARED], seen.buckets)
    timed = "" if took is None else f", {_COMPARED} {took:.4g} s"
    return f"{seen.requests:g} requests, {seen.error_percent:.4g} % failed with a 5xx status{timed}"


def _is_ours(line: str) -> bool:
    name = line.removeprefix("# TYPE ")
    return len(line) <= _LONGEST_LINE and name.startswith((_REQUESTS, _DURATIONS))


def _counters(samples: list[Sample]) -> Counters:
    """Raises ValueError or LookupError if a sample makes no sense."""
    answered = [sample for sample in samples if sample.name == f"{_REQUESTS}_total"]
    timed = [sample for sample in samples if sample.name == f"{_DURATIONS}_bucket"]
    return Counters(
        requests=sum(_count(sample) for sample in answered),
        errors=sum(_count(sample) for sample in answered if sample.labels["code"].startswith("5")),
        buckets=_summed((_bound(sample), _count(sample)) for sample in timed),
    )


def _count(sample: Sample) -> float:
    if not 0 <= sample.value < math.inf:
        raise ValueError(f"{sample.name} is no count: {sample.value}")
    return float(sample.value)


def _bound(sample: Sample) -> float:
    bound = float(sample.labels["le"])
    if not bound > 0:
        raise ValueError(f"{sample.name} has a bound that is no duration: {bound}")
    return bound


def _together(pods: Collection[Counters]) -> Window:
    return Window(
        requests=sum(pod.requests for pod in pods),
        errors=sum(pod.errors for pod in pods),
        buckets=_summed(bucket for pod in pods for bucket in pod.buckets),
    )


def _summed(buckets: Iterable[tuple[float, float]]) -> Buckets:
    counts: defaultdict[float, float] = defaultdict(float)
    for bound, count in buckets:
        counts[bound] += count
    return tuple(sorted(counts.items()))


def _since(before: Counters, now: Counters) -> Counters:
    if _was_restarted(before, now):
        return now
    earlier = dict(before.buckets)
    buckets = tuple((bound, count - earlier.get(bound, 0)) for bound, count in now.buckets)
    return Counters(now.requests - before.requests, now.errors - before.errors, buckets)


def _was_restarted(before: Counters, now: Counters) -> bool:
    later = dict(now.buckets)
    fell = now.requests < before.requests or now.errors < before.errors
    return fell or any(later.get(bound, 0) < count for bound, count in before.buckets)
