"""Leader election on a coordination.k8s.io Lease: of several operators, one acts.

The protocol is client-go's (k8s.io/client-go/tools/leaderelection); docs/decisions/0003-leader-election.md says why
the Python client's own implementation is not used. Other replicas' clocks are never trusted: a lease has expired when
*we* have seen it unchanged for its whole duration, by the monotonic clock of the running loop.

Replicas of one release share one lease. Of several releases over the same namespaces one acts, too: see `_take_alone`.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

import structlog

from penstock import clock
from penstock.kube.release import Lease, Release

_NEVER = float("-inf")
# Other releases are looked for less often than the own lease: a big cluster has a lease for each of its nodes.
_REFUSED_PAUSE: Final = 5
_REVIEWS_AT_ONCE: Final = 16
_LEASES_OF_A_NAMESPACE: Final = 10
_UNREAD: Final = "the Lease has not been read yet"

log = structlog.get_logger(__name__)


class LeaseConflict(Exception):
    """The object exists already, or has changed since it was read (HTTP 409)."""


class LeaseLost(Exception):
    """Somebody else leads, or the lease could not be renewed in time. Exit: another replica may be acting."""


class Leases(Protocol):
    """The API calls that election needs: get, create, update and list on `leases`, and a review of others' rights."""

    async def get(self, namespace: str, name: str) -> Lease | None:
        """Return the lease, or None when there is none."""

    async def create(self, lease: Lease) -> Lease:
        """Create and return it. Raises LeaseConflict when it exists."""

    async def replace(self, lease: Lease) -> Lease:
        """Update and return it. Raises LeaseConflict when its metadata.resourceVersion is not the current one."""

    async def of_all_releases(self) -> list[Lease]:
        """Return the leases of every release in the cluster, as they are now."""

    async def may_serve(self, release: Release, namespace: str) -> bool:
        """Whether the API server lets that release write the status of services there; empty is everywhere."""


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """The three durations, in seconds; renewing must give up well before others may take over."""

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration > self.renew_deadline > 1.2 * self.retry > 0:
            raise ValueError("lease times must satisfy duration > renew deadline > 1.2 * retry period > 0")


async def _tell_nobody(_: str) -> None:
    return


class LeaderElection:
    """One candidate for the lease of its release. `identity` must be unique among the processes alive.

    `on_refused` hears, once for each reason, why this release may not act.
    """

    def __init__(
        self,
        leases: Leases,
        *,
        release: Release,
        identity: str,
        on_refused: Callable[[str], Awaitable[None]] = _tell_nobody,
        timing: LeaseTiming | None = None,
        now: Callable[[], datetime] = clock.now,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._leases = leases
        self._release = release
        self._identity = identity
        self._on_refused = on_refused
        self._timing = timing or LeaseTiming()
        self._now = now
        self._chance = chance
        self._held: Lease | None = None  # as our last write returned it; its resourceVersion guards the next
        self._sent = _NEVER  # loop time of the last attempt to write
        self._renewed = _NEVER  # loop time at which the last successful write was *sent*
        # The specs of others' leases as last seen, by namespace and name, and the loop time when they became so.
        self._seen: dict[tuple[str, str], tuple[Lease, float]] = {}
        # Why this process neither leads nor stands by for one of its own release that does; empty if it does.
        self.refusal = _UNREAD

    @property
    def is_leader(self) -> bool:
        """Whether acting is safe this instant; False also for a process that was stopped past its deadline."""
        return asyncio.get_running_loop().time() < self._deadline

    async def run(self, lead: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Wait for the lease, then run `lead` while holding it.

        When `lead` returns or raises, or this call is cancelled, the lease is released after `lead` has stopped. When
        the lease is lost, `lead` is cancelled within the renew deadline and LeaseLost is raised.
        """
        try:
            while not await self._attempt():
                await self._pause()
            log.info("leading", lease=str(self._release), identity=self._identity)
            await self._hold(lead)
        finally:
            await self._give_back()

    async def _hold(self, lead: Callable[[], Coroutine[Any, Any, None]]) -> None:
        leading = asyncio.create_task(lead(), name="lead")
        renewing = asyncio.create_task(self._renew(), name="renew-lease")
        try:
            await asyncio.wait({leading, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if not leading.done():
                raise LeaseLost(f"lease {self._release} was taken over, or not renewed in time")
            await leading
        finally:
            await self._stop(leading)
            renewing.cancel()
            await asyncio.wait({renewing})

    @property
    def _deadline(self) -> float:
        return self._renewed + self._timing.renew_deadline

    async def _renew(self) -> None:
        """Renew for as long as that works; returning means that the lease is lost."""
        loop = asyncio.get_running_loop()
        while self.is_leader:
            await asyncio.sleep(min(self._timing.retry, self._deadline - loop.time()))
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._deadline):
                    await self._attempt()

    async def _pause(self) -> None:
        # Candidates that started together must not stay in step.
        period = self._timing.retry * (_REFUSED_PAUSE if self.refusal not in ("", _UNREAD) else 1)
        await asyncio.sleep(period * (1 + 0.2 * self._chance()))

    async def _attempt(self) -> bool:
        """Try once to take or renew the lease; no answer and no error from the API server ends the trying."""
        # Half the deadline while leading, so that one lost connection leaves time for a second attempt.
        limit = self._timing.renew_deadline / (2 if self.is_leader else 1)
        try:
            async with asyncio.timeout(limit):
                held = await self._take()
        except Exception as error:  # noqa: BLE001 - an API server that is down must not end the process.
            # After a conflict or a lost answer our copy may be old: read before the next write.
            self._held = None
            log.warning("lease not written", lease=str(self._release), error=repr(error))
            return False
        self._held = held
        self._renewed = _NEVER if held is None else self._sent
        return held is not None

    async def _take(self) -> Lease | None:
        # While leading, the copy that our last write returned saves a read every two seconds.
        lease = self._held or await self._leases.get(self._release.namespace, self._release.lease)
        if lease is not None and not self._is_free(lease):
            await self._is_refused_by(None)  # A replica of this release has the lease, and so the right to act.
            return None
        if lease is not None and self.is_leader:
            return await self._write(lease)
        return await self._take_alone(lease)

    async def _take_alone(self, lease: Lease | None) -> Lease | None:
        """Take the lease unless another release acts in a namespace of ours.

        Each release writes its own lease and then looks at the others': of two that do so at the same time, the second
        to write sees the first. The look before the write leaves the lease of a release that waits alone.
        """
        if await self._is_refused_by(await self._rival()):
            return None
        held = await self._write(lease)
        rival = await self._rival()
        if not await self._is_refused_by(rival):
            return held
        # Of several that see each other the first by name keeps its lease, so that they do not step back for ever.
        if rival is not None and str(rival) < str(self._release):
            await self._leases.replace(self._freed(held))
        return None

    async def _write(self, lease: Lease | None) -> Lease:
        self._sent = asyncio.get_running_loop().time()
        if lease is None:
            return await self._leases.create(self._claimed({}))
        return await self._leases.replace(self._claimed(lease))

    async def _rival(self) -> Release | None:
        """The first by name of the releases that act, or are about to, in a namespace of ours."""
        others = self._others(await self._leases.of_all_releases())
        gate = asyncio.Semaphore(_REVIEWS_AT_ONCE)

        async def acts(other: Release) -> bool:
            async with gate:
                for namespace in self._release.shared_with(other):
                    # Whoever may write Leases in a namespace of their own could say anything in one. And a namespace
                    # may have gone, with the rights in it: another one that both serve is enough.
                    if await self._leases.may_serve(other, namespace):
                        return True
            return False

        found = await asyncio.gather(*(acts(other) for other in others))
        return next((other for other, is_acting in zip(others, found, strict=True) if is_acting), None)

    def _others(self, leases: list[Lease]) -> list[Release]:
        """The releases that hold a lease, by name: of each namespace the oldest few.

        Whoever may write Leases in a namespace could make thousands of them there, and each costs a review. A release's
        own is older than those that are made to hide it.
        """
        held: dict[str, list[Lease]] = defaultdict(list)
        for lease in sorted(leases, key=_age):
            if str(Release.of(lease)) != str(self._release) and not self._is_free(lease):
                held[lease["metadata"]["namespace"]].append(lease)
        return sorted((Release.of(each) for few in held.values() for each in few[:_LEASES_OF_A_NAMESPACE]), key=str)

    async def _is_refused_by(self, rival: Release | None) -> bool:
        why = self._release.refusal(rival) if rival else ""
        if why and why != self.refusal:
            log.warning("not leading", lease=str(self._release), reason=why)
            await self._on_refused(why)
        self.refusal = why
        return rival is not None

    def _is_free(self, lease: Lease) -> bool:
        spec, metadata = lease.get("spec", {}), lease["metadata"]
        holder = spec.get("holderIdentity")
        if not holder or holder == self._identity:
            return True
        now = asyncio.get_running_loop().time()
        key = (metadata["namespace"], metadata["name"])
        seen, since = self._seen.get(key, ({}, now))
        if spec != seen:
            since = now
        self._seen[key] = (spec, since)
        duration: float = spec.get("leaseDurationSeconds", self._timing.duration)
        return now - since > duration

    def _claimed(self, lease: Lease) -> Lease:
        """Return the lease as held by us from now on."""
        now = _micro_time(self._now())
        spec = lease.get("spec", {})
        is_ours = spec.get("holderIdentity") == self._identity
        transitions = spec.get("leaseTransitions", 0)
        return _with_spec(
            self._release.marked(lease or self._blank()),
            holderIdentity=self._identity,
            leaseDurationSeconds=int(self._timing.duration),
            acquireTime=spec.get("acquireTime", now) if is_ours else now,
            renewTime=now,
            leaseTransitions=transitions if is_ours or not lease else transitions + 1,
        )

    def _blank(self) -> Lease:
        metadata = {"name": self._release.lease, "namespace": self._release.namespace}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}

    def _freed(self, lease: Lease) -> Lease:
        return _with_spec(lease, holderIdentity="", leaseDurationSeconds=1, renewTime=_micro_time(self._now()))

    async def _stop(self, leading: asyncio.Task[None]) -> None:
        """Cancel the work and await it, but no longer than until the lease has expired for the others."""
        leading.cancel()
        stopped, late = await asyncio.wait({leading}, timeout=self._timing.duration - self._timing.renew_deadline)
        if late:
            log.error("the work did not stop in time", lease=str(self._release))
        for task in stopped:
            if not task.cancelled() and (error := task.exception()):
                log.error("the work failed", lease=str(self._release), error=repr(error))

    async def _give_back(self) -> None:
        """Free the lease for the next candidate, if it is ours."""
        self._renewed = _NEVER
        try:
            async with asyncio.timeout(self._timing.retry):
                lease = await self._leases.get(self._release.namespace, self._release.lease)
                if lease is None or lease["spec"].get("holderIdentity") != self._identity:
                    return
                await self._leases.replace(self._freed(lease))
        except Exception as error:  # noqa: BLE001 - it expires by itself.
            log.warning("lease not released", lease=str(self._release), error=repr(error))
            return
        log.info("lease released", lease=str(self._release))


def _with_spec(lease: Lease, **fields: Any) -> Lease:
    return {**lease, "spec": {**lease.get("spec", {}), **fields}}


def _age(lease: Lease) -> tuple[str, str]:
    """Sorts the oldest first, to the second."""
    metadata = lease["metadata"]
    return metadata.get("creationTimestamp") or "", metadata["name"]


def _micro_time(now: datetime) -> str:
    """Format an aware UTC time as Kubernetes' MicroTime."""
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
