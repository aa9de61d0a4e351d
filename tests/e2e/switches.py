"""A real model that is switched from version to version under constant load, and what its clients notice of it."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.e2e import specs
from tests.e2e.service import Isvc, eventually
from tests.e2e.traffic import Answer, Stream, Traffic

PREFIX = "all-minilm-l6-v2"
BODY = {"input": "a gated pipe leads the water to the turbine"}
LOADED_WITHIN = 240.0
# Seconds since the action: what a move of the traffic is compared by.
WINDOWS = {"before": (-2.0, 0.0), "around": (0.0, 2.0), "after": (2.0, 4.0)}


@dataclass
class Move:
    """The traffic goes from one version to another by one action, while a stream of the old one is open."""

    verb: str
    source: str
    stream: Stream
    began: float  # just before the action was written
    moved: float = 0.0  # when the status told that it was done
    released: float | None = None  # when the hold was ended, and with it the old version's pods
    over: float = float("inf")  # when the next one began

    def seconds(self, answers: Sequence[Answer], window: tuple[float, float]) -> list[float]:
        """How long the requests took that were sent in the window."""
        begin, end = window
        return [a.took for a in answers if a.failure is None and begin <= a.sent - self.began < end]

    def last_fresh(self, answers: Sequence[Answer]) -> float:
        """Seconds from the action to the last request on a new connection that the old version answered, or 0."""
        return max((a.sent - self.began for a in self._old(answers) if a.is_fresh), default=0.0)

    def last_kept(self, answers: Sequence[Answer]) -> float | None:
        """The same for kept connections, from the end of the hold: they stay with the old pods for as long."""
        if self.released is None:
            return None
        released = self.released
        return max((a.sent - released for a in self._old(answers) if not a.is_fresh), default=0.0)

    def _old(self, answers: Sequence[Answer]) -> Iterator[Answer]:
        return (a for a in answers if a.version == self.source and self.began <= a.sent < self.over)


@dataclass
class UnderLoad:
    """The service, the version that has the traffic, the one to go back to, and the moves so far."""

    service: Isvc
    secret: str
    traffic: Traffic
    version: str
    stable: str
    stream_seconds: float  # how long the request takes that is open at each move
    moves: list[Move] = field(default_factory=list)

    def switch(self, version: str) -> Move:
        """Bring a version up in the idle slot, and send the traffic there. The old one stays up."""
        self.service.apply(_spec(self.secret, version))
        self.service.wait_for_phase("Waiting", within=LOADED_WITHIN)
        return self._move("promote", to=version, until="Holding")

    def keep(self) -> None:
        """End the hold: the old version's pods drain, with their stream still open."""
        self.moves[-1].released = time.monotonic()
        self.service.act("promote")
        self.service.wait_for_phase("Stable", within=60)
        self.stable = self.version

    def go_back(self) -> Move:
        """Lead the traffic back to the version before, which is still up."""
        return self._move("rollback", to=self.stable, until="RolledBack")

    def _move(self, verb: str, *, to: str, until: str) -> Move:
        stream = self.traffic.upload(self.stream_seconds)
        # So long is looked at before the action.
        eventually(lambda: stream.seconds > -WINDOWS["before"][0], self.service, within=10)
        move = Move(verb, self.version, stream, began=time.monotonic())
        for earlier in self.moves[-1:]:
            earlier.over = move.began
        self.moves.append(move)
        self.service.act(verb)
        self.service.wait_for_phase(until, within=60)
        move.moved, self.version = time.monotonic(), to
        # What comes next would be seen in the latencies after this move.
        eventually(lambda: time.monotonic() > move.began + WINDOWS["after"][1], self.service, within=10)
        return move


@contextmanager
def under_load(service: Isvc, secret: str, *, stream_seconds: float) -> Iterator[UnderLoad]:
    """Version v1 of the model, rolled out, and clients that ask it without end."""
    service.apply(_spec(secret, "v1"))
    eventually(service.is_rolled_out, service, within=LOADED_WITHIN)
    url = f"{service.url()}/v1/embeddings"
    with Traffic(url, BODY, clients=3, fresh=2, pause_seconds=0.1, version_of=model) as traffic:
        yield UnderLoad(service, secret, traffic, "v1", "v1", stream_seconds)


def _spec(secret: str, version: str) -> dict[str, Any]:
    # Nothing moves by itself: the test says when.
    rollout = specs.blue_green(hold=3600, autoPromote=False)
    return {**specs.versioned(specs.model(f"s3://models/{PREFIX}", secret), version), "rollout": rollout}


def model(answer: str) -> str:
    """The version that answered, which its name of the model tells."""
    return str(json.loads(answer)["model"])
