"""Asking the pods what a decision needs to hear: the smoke test of new ones, the counters of those that serve, and how
far loading ones have come.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from penstock.api.rollout import AbTest, Analysis
from penstock.api.status import AbTestStatus, RolloutStatus
from penstock.desired import scraping
from penstock.kube.pod_access import Address
from penstock.names import Slot
from penstock.observed.answers import Answers, Verdict
from penstock.observed.counters import Counters, Window, lifetime
from penstock.observed.values import Progress, Seen
from penstock.pods import significance
from penstock.pods.addresses import addresses
from penstock.pods.client import PodClient
from penstock.pods.inquiries import Inquiries
from penstock.pods.loading import Loading
from penstock.pods.samples import Samples
from penstock.rollout import analysis
from penstock.rollout.decision import Asks, Decision
from penstock.rollout.smoke import SmokeRequest
from penstock.watch.store import Key


@dataclass(frozen=True, slots=True)
class _Basis:
    """What an inquiry rests on: the attempt, how far its measurements had come, and what is asked of which slot."""

    revision: str | None
    times: tuple[object, ...]
    active: Slot
    newest: Slot
    smoke_test: SmokeRequest | None
    ab_test: AbTest | None


class Checks:
    """With the services' pods; what they counted is remembered from one measurement to the next.

    A pass hears what was answered to an earlier one, and asks when its own status is recorded. In memory only: after a
    restart the same is asked again.
    """

    def __init__(self, pod_client: PodClient, wake: Callable[[Key], None]) -> None:
        self._pod_client = pod_client
        self._loading = Loading(pod_client, wake)
        self._inquiries = Inquiries(wake)
        self._samples = Samples()
        self._arms = (Samples(), Samples())
        self._one_at_a_time = asyncio.Semaphore(1)  # of judgements: each takes a hundred megabytes

    @property
    def can_reach_pods(self) -> bool:
        return self._pod_client.can_reach_pods

    def progress(self, key: Key, revision: str, pods: Sequence[Address]) -> Progress | None:
        """What a revision's loading pods have answered last: see `Loading`."""
        return self._loading.progress(key, revision, pods)

    def answers(self, key: Key, seen: Seen, smoke_test: SmokeRequest | None) -> Answers | None:
        """What has been answered, if that was asked about what is there now. Raises what asking has raised."""
        return self._inquiries.answers(key, _basis(seen, smoke_test, seen.service.status.rollout))

    def ask(self, key: Key, seen: Seen, smoke_test: SmokeRequest | None, decision: Decision) -> None:
        """Ask what the decision asks, once that is recorded."""
        asks = decision.asks
        if asks.smoke and not _with_address(key, seen, asks):
            return  # A pod without an address is news when it gets one.
        if asks != Asks():
            basis = _basis(seen, smoke_test, decision.rollout)
            self._inquiries.ask(key, asks, basis, lambda: self._answers(key, seen, smoke_test, asks))

    def keep(self, key: Key, heard: Answers) -> None:
        """When what a pass has heard is recorded: the next measurement counts from there."""
        self._inquiries.drop(key)
        if heard.measured is not None:
            self._samples.keep(key)
        if heard.arms is not None:
            for samples in self._arms:
                samples.keep(key)

    def forget(self, key: Key) -> None:
        """When the service is gone."""
        self._loading.forget(key)
        self._inquiries.forget(key)
        for samples in (self._samples, *self._arms):
            samples.forget(key)

    async def close(self) -> None:
        """Ask nothing any more."""
        await self._loading.close()
        await self._inquiries.close()

    async def _answers(self, key: Key, seen: Seen, smoke_test: SmokeRequest | None, asks: Asks) -> Answers:
        chosen = _with_address(key, seen, asks)
        return Answers(
            smoke=await self._pod_client.smoke(smoke_test, chosen) if smoke_test and chosen else {},
            measured=await self._measure(key, seen) if asks.measure else None,
            arms=await self._compare(key, seen) if asks.arms else None,
            verdict=await self._judged(seen, asks.judge) if asks.judge else None,
        )

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
        metrics = scraping.of_predictor(seen.service.spec.predictor)
        asked = (self._pod_client.counters(addresses(key.namespace, seen.ready(slot)), metrics) for slot in slots)
        return list(await asyncio.gather(*asked))

    async def _judged(self, seen: Seen, test: AbTestStatus) -> Verdict | str:
        spec = seen.service.spec.rollout.ab_test or AbTest()
        async with self._one_at_a_time:
            try:
                return await significance.judged(spec.metric, test.a, test.b)
            except significance.CannotJudge as error:
                return str(error)


def _with_address(key: Key, seen: Seen, asks: Asks) -> list[Address]:
    """The pods to test, as far as they have one."""
    return addresses(key.namespace, (pod for pod in seen.pods if pod.name in asks.smoke))


def _basis(seen: Seen, smoke_test: SmokeRequest | None, rollout: RolloutStatus | None) -> _Basis:
    recorded = rollout or RolloutStatus()
    observed = [each for each in (recorded.analysis, recorded.ab_test) if each is not None]
    times = (recorded.started_at, *((type(each), each.started_at, each.last_sample_at) for each in observed))
    return _Basis(
        recorded.current_revision, times, seen.active, seen.newest, smoke_test, seen.service.spec.rollout.ab_test
    )
