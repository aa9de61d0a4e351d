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
from penstock.pods.client import Probes
from penstock.pods.samples import Samples
from penstock.rollout.decision import Asks
from penstock.rollout.smoke import SmokeRequest
from penstock.watch.store import Key


class Interviews:
    """With the services' pods; what they counted is remembered from one look to the next."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        self._samples = Samples()
        self._arms = (Samples(), Samples())
        self._one_at_a_time = asyncio.Semaphore(1)  # of judgements: each takes a hundred megabytes

    async def answers(self, key: Key, seen: Seen, smoke_test: SmokeRequest | None, asks: Asks) -> Answers:
        """What was answered before in this pass, and what is asked now."""
        before = seen.answers or Answers()
        chosen = addresses(key.namespace, (pod for pod in seen.pods if pod.name in asks.smoke))
        smoke = await self._probes.smoke(smoke_test, chosen) if smoke_test and chosen else {}
        looked = await self._look(key, seen) if asks.look else before.looked
        arms = await self._compare(key, seen) if asks.arms else before.arms
        verdict = await self._judged(seen, asks.judge) if asks.judge else before.verdict
        return Answers({**before.smoke, **smoke}, looked, arms, verdict)

    def keep(self, key: Key) -> None:
        """When what this pass has heard is recorded: the next look counts from there."""
        for samples in (self._samples, *self._arms):
            samples.keep(key)

    def forget(self, key: Key) -> None:
        """When the service is gone."""
        for samples in (self._samples, *self._arms):
            samples.forget(key)

    async def _look(self, key: Key, seen: Seen) -> tuple[Window, Window]:
        """What the new revision's pods counted since the last look, and the old one's while they served."""
        rollout = seen.service.status.rollout
        if rollout is None or rollout.analysis is None:
            # What was counted for an earlier analysis is no base for this one.
            self._samples.forget(key)
        new, old = await self._counters(key, seen, (seen.newest, seen.newest.other))
        spec = seen.service.spec.rollout.analysis or Analysis()
        # The old pods may get nothing any more: their base is all that they have answered.
        return self._samples.look(key, new, least=spec.min_requests), lifetime(old)

    async def _compare(self, key: Key, seen: Seen) -> tuple[Window, Window]:
        """What the pods of both arms of an A/B test counted since the last look."""
        rollout = seen.service.status.rollout
        if rollout is None or rollout.ab_test is None:
            for samples in self._arms:
                samples.forget(key)
        found = await self._counters(key, seen, (seen.active, seen.idle))
        a, b = (samples.look(key, each) for samples, each in zip(self._arms, found, strict=True))
        return a, b

    async def _counters(self, key: Key, seen: Seen, slots: Iterable[Slot]) -> list[dict[str, Counters]]:
        """Of each slot's pods."""
        asked = (self._probes.counters(addresses(key.namespace, seen.ready(slot))) for slot in slots)
        return list(await asyncio.gather(*asked))

    async def _judged(self, seen: Seen, test: AbTestStatus) -> Verdict | str:
        spec = seen.service.spec.rollout.ab_test or AbTest()
        async with self._one_at_a_time:
            try:
                return await significance.judged(spec.metric, test.a, test.b)
            except significance.CannotJudge as error:
                return str(error)
