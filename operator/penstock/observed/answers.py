"""What pods answered to what a decision asked of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from penstock.observed.counters import Window


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the statistical test says. `effect` is B against A, as AbTestResult has it."""

    winner: Literal["A", "B"] | None
    p_value: float
    effect: float


@dataclass(frozen=True, slots=True)
class Answers:
    """What the pods have answered to what an earlier decision asked them; each is used in one pass."""

    smoke: Mapping[str, str | None] = field(default_factory=dict)  # pod -> what was wrong, None for nothing
    measured: tuple[Window, Window] | None = (
        None  # counters since the last measurement: the new revision's, the old one's
    )
    arms: tuple[Window, Window] | None = None  # the same of an A/B test: A's, the stable revision's, and B's
    verdict: Verdict | str | None = None  # of a complete A/B test, or why there is none
