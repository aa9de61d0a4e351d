"""Asking the pods what a decision needs to hear: the smoke test of new ones, and the counters of those that serve."""

import asyncio

from penstock.api.rollout import Analysis
from penstock.observe import Answers, Seen
from penstock.pod_access import addresses
from penstock.probes import Probes
from penstock.rollout.analysis import Window, lifetime
from penstock.rollout.decision import Asks
from penstock.rollout.smoke import SmokeRequest
from penstock.samples import Samples
from penstock.store import Key


class Interviews:
    """With the services' pods; what they counted is remembered from one look to the next."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        self._samples = Samples()

    async def answers(self, key: Key, seen: Seen, smoke_test: SmokeRequest | None, asks: Asks) -> Answers:
        """What was answered before in this pass, and what is asked now."""
        before = seen.answers or Answers()
        chosen = addresses(key.namespace, (pod for pod in seen.pods if pod.name in asks.smoke))
        smoke = await self._probes.smoke(smoke_test, chosen) if smoke_test and chosen else {}
        looked = await self._look(key, seen) if asks.look else before.looked
        return Answers({**before.smoke, **smoke}, looked)

    def forget(self, key: Key) -> None:
        """When the service is gone."""
        self._samples.forget(key)

    async def _look(self, key: Key, seen: Seen) -> tuple[Window, Window]:
        """What the new revision's pods counted since the last look, and the old one's while they served."""
        rollout = seen.service.status.rollout
        if rollout is None or rollout.analysis is None:
            # What was counted for an earlier analysis is no base for this one.
            self._samples.forget(key)
        new, old = await asyncio.gather(
            *(
                self._probes.counters(addresses(key.namespace, seen.ready(slot)))
                for slot in (seen.newest, seen.newest.other)
            )
        )
        spec = seen.service.spec.rollout.analysis or Analysis()
        # The old pods may get nothing any more: their base is all that they have answered.
        return self._samples.look(key, new, least=spec.min_requests), lifetime(old)
