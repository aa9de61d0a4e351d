"""Asking the pods what a decision needs to hear: the smoke test of new ones, and the counters of those that serve."""

import asyncio
from collections.abc import Iterable

from penstock.api.rollout import AbTest, Analysis
from penstock.api.status import AbTestStatus
from penstock.names import Slot
from penstock.observed.answers import Answers, Verdict
from penstock.observed.counters import Counters, Window, lifetime
from penstock.observed.values import Seen
from penstock.pods import significance
from penstock.pods.addresses import addresses
from penstock.pods.client import PodClient
from penstock.pods.samples import Samples
from penstock.rollout import analysis
from penstock.rollout.decision import Asks
from penstock.rollout.smoke import SmokeRequest
from penstock.watch.store import Key


class Checks:
    """With the services' pods; what they counted is remembered from one measurement to the next."""

    def __init__(self, pod_client: PodClient) -> None:
        self._pod_client = pod_client
        self._samples = Samples()
        self._arms = (Samples(), Samples())
        self._one_at_a_time = asyncio.Semaphore(1)  # of judgements: each takes a hundred megabytes

    async def answers(self, key: Key, seen: Seen, smoke_test: SmokeRequest | None, asks: Asks) -> Answers:
        """What was answered before in this pass, and what is asked now."""
        before = seen.answers or Answers()
        chosen = addresses(key.namespace, (pod for pod in seen.pods if pod.name in asks.smoke))
        smoke = await self._pod_client.smoke(smoke_test, chosen) if smoke_test and chosen else {}
        measured = await self._measure(key, seen) if asks.measure else before.measured
        arms = await self._compare(key, seen) if asks.arms else before.arms
        verdict = await self._judged(seen, asks.judge) if asks.judge else before.verdict
        return Answers({**before.smoke, **smoke}, measured, arms, verdict)

    def keep(self, key: Key) -> None:
        """When what this pass has heard is recorded: the next measurement counts from there."""
        for samples in (self._samples, *self._arms):
            samples.keep(key)

    def forget(self, key: Key) -> None:
        """When the service is gone."""
        for samples in (self._samples, *self._arms):
            samples.forget(key)

    async def _measure(self, key: Key, seen: Seen) -> tuple[Window, Window]:
        """What the new revision's pods counted since the last measurement, and the old one's while they served."""
        rollout = seen.service.status.rollout
        if rollout is None or rollout.analysis is None:
            # What was counted for an earlier analysis is no base for this one.
            self._samples.forget(key)
        new, old = await self._counters(key, seen, (seen.newest, seen.newest.other))
        spec = seen.service.spec.rollout.analysis or Analysis()
        # The old pods may get nothing any more: their base is all that they have answered.
        base = lifetime(old)
        return self._samples.measure(key, new, tells=lambda window: analysis.tells(window, base, spec)), base

    async def _compare(self, key: Key, seen: Seen) -> tuple[Window, Window]:
        """What the pods of both arms of an A/B test counted since the last measurement."""
        rollout = seen.service.status.rollout
        if rollout is None or rollout.ab_test is None:
            for samples in self._arms:
                samples.forget(key)
        found = await self._counters(key, seen, (seen.active, seen.idle))
        a, b = (samples.measure(key, each) for samples, each in zip(self._arms, found, strict=True))
        return a, b

    async def _counters(self, key: Key, seen: Seen, slots: Iterable[Slot]) -> list[dict[str, Counters]]:
        """Of each slot's pods."""
        asked = (self._pod_client.counters(addresses(key.namespace, seen.ready(slot))) for slot in slots)
        return list(await asyncio.gather(*asked))

    async def _judged(self, seen: Seen, test: AbTestStatus) -> Verdict | str:
        spec = seen.service.spec.rollout.ab_test or AbTest()
        async with self._one_at_a_time:
            try:
                return await significance.judged(spec.metric, test.a, test.b)
            except significance.CannotJudge as error:
                return str(error)
