"""What pods have answered is used for what it was asked for, and counted once."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest
from penstock.api.rollout import AbTestMetric
from penstock.api.status import AbTestArm, AbTestStatus, AnalysisStatus, RolloutStatus
from penstock.kube.pod_access import Address
from penstock.observed.answers import Answers, Verdict
from penstock.observed.counters import Counters
from penstock.observed.values import Seen
from penstock.pod_metrics import PodMetrics
from penstock.pods import significance
from penstock.pods.checks import Checks
from penstock.pods.client import NoPodClient
from penstock.rollout.decision import Asks
from penstock.watch.store import Key

from tests.builders import T0, at, decided, during, ready_pod, rolled_out, under_way
from tests.virtual_time import virtual_time

CHAT = Key("ml", "chat")
MEASURE = Asks(measure=True)


class Pods(NoPodClient):
    """Pods that have answered a hundred more requests at each measurement."""

    can_reach_pods = True

    def __init__(self) -> None:
        self.measurements = 0

    async def counters(self, pods: Sequence[Address], metrics: PodMetrics | None = None) -> dict[str, Counters]:
        del metrics
        self.measurements += bool(pods)
        return {pod.name: Counters(100 * self.measurements) for pod in pods}


def holding(last_sample_at: datetime | None) -> RolloutStatus:
    """A revision that serves, and is measured since T0 if ever."""
    told = AnalysisStatus(started_at=T0, last_sample_at=last_sample_at) if last_sample_at else None
    return under_way(strategy="BlueGreen", phase="Holding", analysis=told)


def about(status: RolloutStatus) -> Seen:
    return during(status, rolled_out("v2"), replace(ready_pod("new", "v2"), ip="10.0.0.1"))


def ask(checks: Checks, status: RolloutStatus, asks: Asks) -> None:
    """At the end of a pass that has recorded this status."""
    seen = about(status)
    checks.ask(CHAT, seen, None, replace(decided(seen), rollout=status, asks=asks))


async def answered(checks: Checks, status: RolloutStatus) -> Answers | None:
    """In a pass that begins with this status, a while later."""
    await asyncio.sleep(1)
    return checks.answers(CHAT, about(status), None)


def requests(answers: Answers | None) -> float | None:
    return answers.measured[0].requests if answers is not None and answers.measured is not None else None


@virtual_time
async def test_a_measurement_counts_from_the_last_one_that_was_recorded() -> None:
    checks = Checks(Pods(), lambda _: None)
    ask(checks, holding(None), MEASURE)
    base = await answered(checks, holding(None))
    assert base is not None
    checks.keep(CHAT, base)
    ask(checks, holding(T0), MEASURE)
    assert requests(await answered(checks, holding(T0))) == 100
    # Its status was not written: another operator may have written one, and the next measurement has it all.
    assert await answered(checks, holding(at(1))) is None
    ask(checks, holding(at(1)), MEASURE)
    assert requests(await answered(checks, holding(at(1)))) == 200


@virtual_time
async def test_a_measurement_of_an_earlier_attempt_is_not_one_of_this() -> None:
    checks = Checks(Pods(), lambda _: None)
    ask(checks, holding(None), MEASURE)
    assert await answered(checks, under_way(since=at(1), strategy="BlueGreen", phase="Holding")) is None


class TestJudging:
    COMPLETE = AbTestStatus(started_at=T0, last_sample_at=at(60), ends_at=at(60), message="all counted")
    WON = Verdict("B", 0.01, -9.0)

    @pytest.fixture(autouse=True)
    def judged(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """How many judgements are being made, at each begin of one."""
        now, begun = [0], []

        async def judged(metric: AbTestMetric, a: AbTestArm, b: AbTestArm) -> Verdict:
            del metric, a, b
            now[0] += 1
            begun.append(now[0])
            await asyncio.sleep(14.5)
            now[0] -= 1
            return self.WON

        monkeypatch.setattr(significance, "judged", judged)
        return begun

    def status(self) -> RolloutStatus:
        return under_way(strategy="BlueGreen", phase="Waiting", ab_test=self.COMPLETE)

    @virtual_time
    async def test_a_judgement_takes_longer_than_an_interval_and_is_made_once(self, judged: list[int]) -> None:
        checks = Checks(Pods(), lambda _: None)
        ask(checks, self.status(), Asks(judge=self.COMPLETE))
        for _ in range(14):
            assert await answered(checks, self.status()) is None
            ask(checks, self.status(), Asks())
            ask(checks, self.status(), Asks(judge=self.COMPLETE.model_copy(update={"message": "as it was read"})))
        found = await answered(checks, self.status())
        assert found is not None
        assert (found.verdict, judged) == (self.WON, [1])

    @virtual_time
    async def test_one_is_made_at_a_time(self, judged: list[int]) -> None:
        checks = Checks(Pods(), lambda _: None)
        seen = about(self.status())
        decision = replace(decided(seen), rollout=self.status(), asks=Asks(judge=self.COMPLETE))
        for number in range(3):
            checks.ask(Key("ml", f"chat-{number}"), seen, None, decision)
        await asyncio.sleep(60)
        assert judged == [1, 1, 1]
