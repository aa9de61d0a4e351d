"""What a slot is to run: what the policy decides, and what the Deployment is built from."""

from dataclasses import dataclass

from penstock.api.rollout import Way


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """`way` and `max_surge` say how its pods are replaced when its revision changes."""

    revision: str
    replicas: int
    way: Way = "RollingUpdate"
    max_surge: int | None = None  # 1: one more, none missing; 0: none more, one missing; None: the spec's pace
    is_paused: bool = False
