"""What every Kubernetes object has: metadata (the part we read) and conditions."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from pydantic import Field

from penstock.api.schema import Message, Model, Observation

ConditionStatus = Literal["True", "False", "Unknown"]


class ObjectMeta(Model):
    """The part of an object's metadata that the operator reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    annotations: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    deletion_timestamp: datetime | None = None


class Condition(Observation):
    """One observation about the service, with the time of its last change."""

    type: str = Field(max_length=64, description="What is observed, such as Ready.")
    status: ConditionStatus = Field(description="True, False, or Unknown while it is not known.")
    reason: str = Field(max_length=128, description="One word in CamelCase that says why, made for programs.")
    message: Message = Field(description="The same for people, with the details.")
    last_transition_time: datetime = Field(description="When `status` last changed.")
    observed_generation: int | None = Field(
        default=None, description="The metadata.generation that this condition was computed from."
    )


def keep_times(old: Iterable[Condition], new: Iterable[Condition]) -> list[Condition]:
    """The new conditions, in their order; one whose status did not change keeps the time of its last change."""
    before = {condition.type: condition for condition in old}
    return [_keep_time(before.get(condition.type), condition) for condition in new]


def _keep_time(old: Condition | None, new: Condition) -> Condition:
    if old is None or old.status != new.status:
        return new
    return new.model_copy(update={"last_transition_time": old.last_transition_time})
