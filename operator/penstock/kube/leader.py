"""Leader election on a coordination.k8s.io Lease: of several operators, one acts.

The protocol is client-go's (k8s.io/client-go/tools/leaderelection); docs/decisions/0003-leader-election.md says why
the Python client's own implementation is not used. Other replicas' clocks are never trusted: a lease has expired when
*we* have seen it unchanged for its whole duration, by the monotonic clock of the running loop.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import structlog

from penstock import clock

Lease = dict[str, Any]  # the JSON of a coordination.k8s.io/v1 Lease

_NEVER = float("-inf")

log = structlog.get_logger(__name__)


class Conflict(Exception):
    """The object exists already, or has changed since it was read (HTTP 409)."""


class LeaseLost(Exception):
    """Somebody else leads, or the lease could not be renewed in time. Exit: another replica may be acting."""


class Leases(Protocol):
    """The API calls that election needs: the verbs get, create and update on `leases`."""

    async def get(self, namespace: str, name: str) -> Lease | None:
        """Return the lease, or None when there is none."""

    async def create(self, lease: Lease) -> Lease:
        """Create and return it. Raises Conflict when it exists."""

    async def replace(self, lease: Lease) -> Lease:
        """Update and return it. Raises Conflict when its metadata.resourceVersion is not the current one."""


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """The three durations, in seconds; renewing must give up well before others may take over."""

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration > self.renew_deadline > 1.2 * self.retry > 0:
            raise ValueError("lease times must satisfy duration > renew deadline > 1.2 * retry period > 0")


class LeaderElection:
    """One candidate for one lease. `identity` must be unique among the processes alive."""

    def __init__(
        self,
        leases: Leases,
        *,
        namespace: str,
        name: str,
        identity: str,
        timing: LeaseTiming | None = None,
        now: Callable[[], datetime] = clock.now,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._leases = leases
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._timing = timing or LeaseTiming()
        self._now = now
        self._chance = chance
        self._held: Lease | None = None  # as our last write returned it; its resourceVersion guards the next
        self._renewed = _NEVER  # loop time at which the last successful write was *sent*
        self._seen: Lease = {}  # the spec of another's lease as last seen, and the loop time when it became so
        self._seen_at = 0.0

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
            log.info("leading", lease=self._name, identity=self._identity)
            await self._hold(lead)
        finally:
            await self._release()

    async def _hold(self, lead: Callable[[], Coroutine[Any, Any, None]]) -> None:
        leading = asyncio.create_task(lead(), name="lead")
        renewing = asyncio.create_task(self._renew(), name="renew-lease")
        try:
            await asyncio.wait({leading, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if not leading.done():
                raise LeaseLost(f"lease {self._namespace}/{self._name} was taken over, or not renewed in time")
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
        await asyncio.sleep(self._timing.retry * (1 + 0.2 * self._chance()))

    async def _attempt(self) -> bool:
        """Try once to take or renew the lease; no answer and no error from the API server ends the trying."""
        sent = asyncio.get_running_loop().time()
        try:
            # Half the deadline, so that one lost connection leaves time for a second attempt.
            async with asyncio.timeout(self._timing.renew_deadline / 2):
                held = await self._take()
        except Exception as error:  # noqa: BLE001 - an API server that is down must not end the process.
            # After a conflict or a lost answer our copy may be old: read before the next write.
            self._held = None
            log.warning("lease not written", lease=self._name, error=repr(error))
            return False
        self._held = held
        self._renewed = _NEVER if held is None else sent
        return held is not None

    async def _take(self) -> Lease | None:
        # While leading, the copy that our last write returned saves a read every two seconds.
        lease = self._held or await self._leases.get(self._namespace, self._name)
        if lease is None:
            return await self._leases.create(self._claimed({}))
        if not self._is_free(lease.get("spec", {})):
            return None
        return await self._leases.replace(self._claimed(lease))

    def _is_free(self, spec: Lease) -> bool:
        holder = spec.get("holderIdentity")
        if not holder or holder == self._identity:
            return True
        now = asyncio.get_running_loop().time()
        if spec != self._seen:
            self._seen, self._seen_at = spec, now
        duration: float = spec.get("leaseDurationSeconds", self._timing.duration)
        return now - self._seen_at > duration

    def _claimed(self, lease: Lease) -> Lease:
        """Return the lease as held by us from now on."""
        now = _micro_time(self._now())
        spec = lease.get("spec", {})
        is_ours = spec.get("holderIdentity") == self._identity
        transitions = spec.get("leaseTransitions", 0)
        return _with_spec(
            lease or self._blank(),
            holderIdentity=self._identity,
            leaseDurationSeconds=int(self._timing.duration),
            acquireTime=spec.get("acquireTime", now) if is_ours else now,
            renewTime=now,
            leaseTransitions=transitions if is_ours or not lease else transitions + 1,
        )

    def _blank(self) -> Lease:
        metadata = {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}

    async def _stop(self, leading: asyncio.Task[None]) -> None:
        """Cancel the work and await it, but no longer than until the lease has expired for the others."""
        leading.cancel()
        stopped, late = await asyncio.wait({leading}, timeout=self._timing.duration - self._timing.renew_deadline)
        if late:
            log.error("the work did not stop in time", lease=self._name)
        for task in stopped:
            if not task.cancelled() and (error := task.exception()):
                log.error("the work failed", lease=self._name, error=repr(error))

    async def _release(self) -> None:
        """Free the lease for the next candidate, if it is ours."""
        self._renewed = _NEVER
        try:
            async with asyncio.timeout(self._timing.retry):
                lease = await self._leases.get(self._namespace, self._name)
                if lease is None or lease["spec"].get("holderIdentity") != self._identity:
                    return
                now = _micro_time(self._now())
                released = _with_spec(lease, holderIdentity="", leaseDurationSeconds=1, renewTime=now)
                await self._leases.replace(released)
        except Exception as error:  # noqa: BLE001 - it expires by itself.
            log.warning("lease not released", lease=self._name, error=repr(error))
            return
        log.info("lease released", lease=self._name)


def _with_spec(lease: Lease, **fields: Any) -> Lease:
    return {**lease, "spec": {**lease.get("spec", {}), **fields}}


def _micro_time(now: datetime) -> str:
    """Format an aware UTC time as Kubernetes' MicroTime."""
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
