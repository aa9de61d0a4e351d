"""What pods have counted themselves: a Prometheus exposition parsed to Counters, and two of these make a Window."""

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from penstock.pod_metrics import Durations, Outcomes, PodMetrics

_OURS: Final = PodMetrics()

Buckets = tuple[tuple[float, float], ...]  # (upper bound in seconds, requests that took no longer), bounds rising


# Escaped, the longest name of a model is half of it. The parser's time grows with the square of a line.
_LONGEST_LINE: Final = 1024


@dataclass(frozen=True, slots=True)
class Counters:
    """What one pod has counted since its server started, over all routes."""

    requests: float = 0
    errors: float = 0  # answered with a 5xx status, or 429: the server's own fault, or that of its size
    buckets: Buckets = ()  # of those answered with a 2xx status; of all, where the server does not tell them apart
    refused: float = 0  # answered with any other 4xx status


@dataclass(frozen=True, slots=True)
class Window:
    """What the pods of one slot have counted from one measurement to the next."""

    requests: float = 0
    errors: float = 0
    buckets: Buckets = ()
    refused: float = 0

    @property
    def error_percent(self) -> float:
        return 100 * self.errors / self.requests if self.requests else 0.0

    @property
    def refused_percent(self) -> float:
        return 100 * self.refused / self.requests if self.requests else 0.0

    @property
    def successes(self) -> float:
        return self.requests - self.errors - self.refused


def parse(text: str, metrics: PodMetrics = _OURS) -> Counters | None:
    """The counters in a server's Prometheus exposition; None when they are not there, or make no sense.

    A server that has answered nothing yet may declare them without a sample: that is a count of zero.
    """
    families = {_family(outcomes.series) for outcomes in metrics.outcomes}
    wanted = (*families, *([metrics.durations.series] if metrics.durations else []))
    ours = "\n".join(line for line in text.split("\n") if _is_wanted(line, wanted))
    try:
        found = list(text_string_to_metric_families(ours))
        if not any(_family(family.name) in families for family in found):
            return None
        return _counters([sample for family in found for sample in family.samples], metrics)
    except (ValueError, LookupError, ArithmeticError):
        return None


def window(before: Mapping[str, Counters], now: Mapping[str, Counters]) -> Window:
    """What was counted between two measurements of a slot's pods.

    A pod whose counters went down was restarted, and counts from zero. A pod that is seen for the first time counts
    for nothing yet: counting it from zero would be right if it started after the last measurement, but nothing
    distinguishes it from one that did not answer then, whose counters may hold weeks of another time's requests. What a
    new pod has counted before its first measurement is, besides, our own smoke test.
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


def _family(series: str) -> str:
    """The name by which the parser knows it, whose counters end in _total whatever the server calls them."""
    return series.removesuffix("_total").removesuffix("_count")


def _is_wanted(line: str, families: tuple[str, ...]) -> bool:
    return len(line) <= _LONGEST_LINE and line.removeprefix("# TYPE ").startswith(families)


def _counters(samples: list[Sample], metrics: PodMetrics) -> Counters:
    """Raises ValueError or LookupError if a sample makes no sense."""
    by_name = {name: each for each in metrics.outcomes for name in (each.series, f"{each.series}_total")}
    ended = [(sample, by_name[sample.name]) for sample in samples if sample.name in by_name]
    counted = [(_outcome(sample, outcomes), _count(sample)) for sample, outcomes in ended if _is_of(sample, outcomes)]
    return Counters(
        requests=sum(count for _, count in counted),
        errors=sum(count for outcome, count in counted if outcome == "error"),
        buckets=_buckets(samples, metrics.durations) if metrics.durations else (),
        refused=sum(count for outcome, count in counted if outcome == "refused"),
    )


def _is_of(sample: Sample, outcomes: Outcomes) -> bool:
    return outcomes.only is None or _matches(outcomes.only[1], sample.labels.get(outcomes.only[0], ""))


def _outcome(sample: Sample, outcomes: Outcomes) -> str:
    value = sample.labels[outcomes.label] if outcomes.label else ""
    if _matches(outcomes.errors, value):
        return "error"
    return "refused" if _matches(outcomes.refused, value) else "answered"


def _matches(pattern: str, value: str) -> bool:
    return bool(pattern and re.fullmatch(pattern, value))


def _buckets(samples: Iterable[Sample], durations: Durations) -> Buckets:
    """Of the successes, where the server tells them apart: beside a refusal, which is quick, a slow one is not seen."""
    label, value = durations.only or ("", "")
    timed = [sample for sample in samples if sample.name == f"{durations.series}_bucket"]
    return _summed(
        (_bound(sample) / durations.per_second, _count(sample))
        for sample in timed
        if sample.labels.get(label, value) == value
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
        refused=sum(pod.refused for pod in pods),
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
    return Counters(now.requests - before.requests, now.errors - before.errors, buckets, now.refused - before.refused)


def _was_restarted(before: Counters, now: Counters) -> bool:
    later = dict(now.buckets)
    fell = now.requests < before.requests or now.errors < before.errors or now.refused < before.refused
    return fell or any(later.get(bound, 0) < count for bound, count in before.buckets)
