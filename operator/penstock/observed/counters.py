"""What pods have counted themselves: a Prometheus exposition parsed to Counters, and two of these make a Window."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

Buckets = tuple[tuple[float, float], ...]  # (upper bound in seconds, requests that took no longer), bounds rising


_REQUESTS: Final = "inference_requests"


_DURATIONS: Final = "inference_request_duration_seconds"


_TOO_MANY_REQUESTS: Final = "429"


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


def _is_ours(line: str) -> bool:
    name = line.removeprefix("# TYPE ")
    return len(line) <= _LONGEST_LINE and name.startswith((_REQUESTS, _DURATIONS))


def _counters(samples: list[Sample]) -> Counters:
    """Raises ValueError or LookupError if a sample makes no sense."""
    answered = [sample for sample in samples if sample.name == f"{_REQUESTS}_total"]
    timed = [sample for sample in samples if sample.name == f"{_DURATIONS}_bucket"]
    return Counters(
        requests=sum(_count(sample) for sample in answered),
        errors=sum(_count(sample) for sample in answered if _is_error(sample.labels["code"])),
        # A refusal is quick: beside it, a slow success would not be seen. Older servers do not tell them apart.
        buckets=_summed(
            (_bound(sample), _count(sample)) for sample in timed if sample.labels.get("code_class", "2xx") == "2xx"
        ),
        refused=sum(_count(sample) for sample in answered if _is_refusal(sample.labels["code"])),
    )


def _is_error(code: str) -> bool:
    return code.startswith("5") or code == _TOO_MANY_REQUESTS


def _is_refusal(code: str) -> bool:
    return code.startswith("4") and code != _TOO_MANY_REQUESTS


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
