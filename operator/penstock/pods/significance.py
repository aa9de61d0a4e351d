"""The statistical test of an A/B test, made in a process of its own.

`judged` starts `python -m penstock.pods.significance` with the counts on its standard input and reads the verdict from
its standard output. scipy takes seconds and a hundred megabytes to load and the test itself keeps a core busy: in a
child, the event loop waits for none of it, and the memory is given back.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import accumulate, pairwise
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, TypeAdapter, ValidationError

from penstock.api.rollout import AbTestMetric
from penstock.api.status import AbTestArm
from penstock.observed.answers import Verdict
from penstock.rollout.ab_test_statistics import LEVEL

_SECONDS: Final = 60.0  # A throttled container needs some of them to load scipy.
_LONGEST_QUESTION: Final = 16 * 1024
_LONGEST_COMPLAINT: Final = 1024
# Each arm's ranks are numbers in memory: a hundred thousand are 800 kB, and tell half a percentage point from none.
_MOST_RANKED: Final = 100_000
_CHILD: Final = ("-P", "-m", "penstock.pods.significance")
# One thread is enough for a sum, and each one of OpenBLAS' has a buffer of its own.
_ENVIRONMENT: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class CannotJudge(Exception):
    """Our turn: the child did not answer, or refused the counts. Trying again may help."""


async def judged(metric: AbTestMetric, a: AbTestArm, b: AbTestArm, *, seconds: float = _SECONDS) -> Verdict:
    """What one two-sided test at the 5 % level says of the stable revision's counts and the new one's.

    Raises CannotJudge, after `seconds` at the latest.
    """
    found = await _asked(question(metric, a, b), seconds)
    try:
        return _VERDICT.validate_json(found)
    except ValidationError as error:
        raise CannotJudge(f"the answer makes no sense: {error}") from error


def question(metric: AbTestMetric, a: AbTestArm, b: AbTestArm) -> bytes:
    """What the child reads."""
    return json.dumps({"metric": metric, "a": a.to_dict(), "b": b.to_dict()}).encode()


def answer(text: bytes) -> str:
    """What the child writes: the verdict as JSON. Raises ValueError for a question that has no answer."""
    if len(text) > _LONGEST_QUESTION:
        raise ValueError(f"the question is longer than {_LONGEST_QUESTION} bytes")
    asked = _Question.model_validate_json(text)
    return json.dumps(asdict(verdict(asked.metric, asked.a, asked.b)))


def verdict(metric: AbTestMetric, a: AbTestArm, b: AbTestArm) -> Verdict:
    """The same in this process, which loads scipy. Raises ValueError for counts that cannot be."""
    return _TESTS[metric](a, b)


async def _asked(text: bytes, seconds: float) -> bytes:
    """What the child writes. It never outlives the call, whichever way that ends."""
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *_CHILD,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **_ENVIRONMENT},
        )
    except OSError as error:
        raise CannotJudge(f"no process for it: {error}") from error
    try:
        async with asyncio.timeout(seconds):
            found, complaint = await child.communicate(text)
    except TimeoutError:
        raise CannotJudge(f"no answer within {seconds:g} s") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        raise CannotJudge(f"exit status {child.returncode}: {_last_line(complaint)}")
    return found


def _last_line(complaint: bytes) -> str:
    lines = complaint[-_LONGEST_COMPLAINT:].decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no word why"


def _error_rates(a: AbTestArm, b: AbTestArm) -> Verdict:
    """Two proportions, pooled: chi-squared of the 2x2 table without correction is the square of z."""
    from scipy import stats  # noqa: PLC0415 - only the child loads it.

    if 0 in (a.requests, b.requests):
        raise ValueError("an arm without requests has no share of errors")
    if a.errors + b.errors in (0, a.requests + b.requests):
        return Verdict(None, 1.0, 0.0)  # All were answered alike: z would be nothing by nothing.
    table = [[arm.errors, arm.requests - arm.errors] for arm in (a, b)]
    found = stats.chi2_contingency(table, correction=False)
    return _decided(float(found.pvalue), 100 * (b.errors / b.requests - a.errors / a.requests), none=0)


def _latencies(a: AbTestArm, b: AbTestArm) -> Verdict:
    """Mann and Whitney's U of the buckets that the requests fell into, which are full of ties."""
    from scipy import stats  # noqa: PLC0415 - only the child loads it.

    if len(a.buckets) != len(b.buckets) or 0 in (sum(a.buckets), sum(b.buckets)):
        raise ValueError("an arm without timed requests, or with buckets of its own, cannot be compared")
    if sum(map(bool, map(sum, zip(a.buckets, b.buckets, strict=True)))) == 1:
        return Verdict(None, 1.0, 0.5)  # All are in one bucket: their ranks do not vary.
    found = stats.mannwhitneyu(_ranked(b.buckets), _ranked(a.buckets), alternative="two-sided", method="asymptotic")
    return _decided(float(found.pvalue), _share_of_slower(a.buckets, b.buckets), none=0.5)


_TESTS: Final[Mapping[AbTestMetric, Callable[[AbTestArm, AbTestArm], Verdict]]] = {
    "ErrorRate": _error_rates,
    "Latency": _latencies,
}


def _decided(p_value: float, effect: float, *, none: float) -> Verdict:
    """Less is better, of errors as of time."""
    winner: Literal["A", "B"] = "B" if effect < none else "A"
    return Verdict(winner if p_value < LEVEL and effect != none else None, p_value, effect)


def _share_of_slower(a: Sequence[int], b: Sequence[int]) -> float:
    """Probability that a request of B takes longer than one of A, where the same bucket counts as a half.

    From all the requests, however many there are: only the p-value rests on the ranks.
    """
    doubled, quicker = 0, 0  # requests of A that were quicker than those of the bucket at hand
    for ours, theirs in zip(a, b, strict=True):
        doubled += theirs * (2 * quicker + ours)
        quicker += ours
    return doubled / (2 * sum(a) * sum(b))


def _ranked(buckets: Sequence[int]) -> list[int]:
    """The bucket of each request; of too many, of as many as fit, spread over the buckets as all of them are.

    Fewer than there were make a difference harder to find, not easier. Rounding what lies below each bound, rather than
    in each bucket, moves none of these shares by more than one request.
    """
    total = sum(buckets)
    ends = (end * min(total, _MOST_RANKED) // total for end in accumulate(buckets))
    return [index for index, (low, high) in enumerate(pairwise([0, *ends])) for _ in range(low, high)]


def _consistent(arm: AbTestArm) -> AbTestArm:
    if arm.errors > arm.requests:
        raise ValueError("more errors than requests")
    return arm


class _Question(BaseModel):
    """What the child is asked."""

    metric: AbTestMetric
    a: Annotated[AbTestArm, AfterValidator(_consistent)]
    b: Annotated[AbTestArm, AfterValidator(_consistent)]


_VERDICT: Final = TypeAdapter(Verdict)


def main() -> None:
    """The child: one question in, one verdict out; what is wrong goes to standard error."""
    try:
        found = answer(sys.stdin.buffer.read(_LONGEST_QUESTION + 1))
    except ValueError as error:  # pydantic's are among them
        sys.exit(" ".join(str(error).split()))
    sys.stdout.write(found)


if __name__ == "__main__":
    main()
