"""Sleep in one pass: what was seen becomes the circumstances of the decision, and that becomes a redirection."""

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from penstock import names
from penstock.api.status import SleepStatus
from penstock.controller.apply import apply
from penstock.controller.router_ports import RouterPorts
from penstock.desired.installation import Installation
from penstock.desired.router import Redirection, endpoint_slice
from penstock.kube.api_server import Cluster
from penstock.observed.values import Seen
from penstock.pods.idleness import Idleness
from penstock.scaling import replicas
from penstock.scaling import sleep as policy
from penstock.scaling.schedule import Least
from penstock.scaling.sleep import Circumstances, Routers, Sleep
from penstock.status.conditions import Problem
from penstock.watch.store import Key, Store

_AT_REST: Final = ("Stable", "RolledBack")
# One that may not sleep any more keeps its port for so long after requests went to the routers last: proxies on the
# nodes follow the slice at their own pace, and held requests are sent on one after the other.
_FAREWELL: Final = timedelta(seconds=30)
# A service that wakes keeps the routers for so long beside its pods: what is known of those may be from before the
# selector went, and the cluster's controller may still be about to empty its slice.
_OVERLAP: Final = timedelta(seconds=2)
# A pod that has run since before the service slept is on its way out, though the watch may not have told so yet. After
# so long it would have; a node's clock may be slow.
_OUTGOING: Final = timedelta(seconds=10)
_ALL_TAKEN: Final = "all ports of the routers are taken (chart value router.ports)"


class Sleepers:
    """The services that may sleep: their ports of the routers, and whether they are asked."""

    def __init__(self, store: Store, idleness: Idleness, installation: Installation) -> None:
        self.idleness = idleness
        self._ports = RouterPorts(*installation.router_ports, noted=_noted_ports(store))
        self._routers = installation.routers
        self._led: dict[Key, datetime] = {}  # services that never sleep again, and when they led to routers last
        self._alone: dict[Key, datetime] = {}  # services that led to routers alone, and when last

    def sleep(self, key: Key, seen: Seen, least: Least, now: datetime) -> Sleep | None:
        """What becomes of the service in this pass; None for one that neither sleeps nor may.

        The user's hands-off annotation leaves it where it is.
        """
        service = seen.service
        leaves_at = None if service.spec.scale_to_zero else self._leaves_at(key, seen, now)
        if service.spec.scale_to_zero is None and (leaves_at is None or leaves_at <= now):
            self._forget_port(key)
            return None
        routers, is_off = Routers(len(seen.routers), self._routers), _is_off(seen, least)
        recorded = _recorded(seen, now, is_off=is_off)
        port = self._ports.of(key, _noted_port(seen)) if self._routers else None
        if port is None:
            return policy.without_routers(recorded, now, _ALL_TAKEN if self._routers else routers.missing)
        recorded = recorded.model_copy(update={"port": port})
        if names.ANNOTATION_PAUSED in service.metadata.annotations:
            return self._with_overlap(key, seen, _paused(recorded, seen), now)
        sleep = policy.decide(_circumstances(seen, recorded, routers, least, now, is_off=is_off))
        sleep = self._with_overlap(key, seen, sleep, now)
        return _by(_by(sleep, leaves_at), _outgoing_until(sleep.status, now))

    def forget(self, key: Key) -> None:
        """When the service is gone."""
        self.idleness.forget(key)
        self._forget_port(key)

    def _with_overlap(self, key: Key, seen: Seen, sleep: Sleep, now: datetime) -> Sleep:
        if seen.is_redirected:
            self._alone[key] = now
        alone_until = self._alone.get(key)
        ends = alone_until + _OVERLAP if alone_until else now
        if sleep.is_redirected or not seen.has_router_slice or not now < ends <= now + _OVERLAP:
            return sleep
        return replace(_by(sleep, ends), keeps_routers=True)

    def _leaves_at(self, key: Key, seen: Seen, now: datetime) -> datetime | None:
        """When one that may not sleep any more needs its port no longer; None if it has none."""
        known = _known(seen)
        if seen.is_redirected or seen.has_router_slice:
            self._led[key] = now
        elif known is None or known.port is None:
            return None
        led_last = self._led.get(key) or (known and known.since) or now
        return led_last + _FAREWELL

    def _forget_port(self, key: Key) -> None:
        self._ports.forget(key)
        self._led.pop(key, None)
        self._alone.pop(key, None)


async def follow_routers(cluster: Cluster, store: Store, seen: Seen, sleep: Sleep | None) -> Problem | None:
    """Bring the addresses in the slice up to date, and nothing else; the slice goes when it is not wanted.

    For a service that is not to be touched. Raises what `apply` raises.
    """
    to = redirection(seen, sleep)
    wanted = [endpoint_slice(seen.service, to)] if to is not None and to.has_slice else []
    return await apply(cluster, store, seen.service, wanted, prunes=False)


def redirection(seen: Seen, sleep: Sleep | None) -> Redirection | None:
    """Where the active Service is to lead. The slice comes before the selector goes, and goes after it is back.

    A Service without either would refuse its clients. A port that is another one than before is told to the routers
    first, in the status.
    """
    if sleep is None or sleep.status.port is None:
        return None
    known, has_pods_behind_it = _known(seen), bool(seen.endpoints.ready)
    is_beside = seen.has_router_slice and (sleep.keeps_routers or not has_pods_behind_it)
    return Redirection(
        port=(known and known.port) or sleep.status.port,
        family=_family(seen),
        routers=[router.ip for router in seen.routers],
        has_slice=sleep.is_redirected or seen.is_redirected or is_beside,
        is_alone=sleep.is_redirected and (seen.is_redirected or (seen.has_router_slice and _is_certain(seen, sleep))),
    )


def _is_certain(seen: Seen, sleep: Sleep) -> bool:
    """Whether nobody asks still: the look that it was decided by may be half a minute old."""
    if sleep.status.state != "Redirecting" or sleep.status.since is None:
        return True
    return seen.activity is not None and seen.activity.looked_at >= sleep.status.since


def _family(seen: Seen) -> str:
    """Of the active Service's addresses. While that is not there, of the routers'."""
    versions = (ipaddress.ip_address(router.ip).version for router in seen.routers)
    return seen.ip_family or f"IPv{next(versions, 4)}"


def _is_off(seen: Seen, least: Least) -> bool:
    return replicas.scale(seen.service, 0, least=least.pods).off is not None


def _circumstances(
    seen: Seen, recorded: SleepStatus, routers: Routers, least: Least, now: datetime, *, is_off: bool
) -> Circumstances:
    service, endpoints = seen.service, seen.endpoints
    return Circumstances(
        now=now,
        recorded=recorded,
        scale_to_zero=service.spec.scale_to_zero,
        kept_awake_by=_kept_awake_by(seen, least),
        is_off=is_off,
        asked_at=service.status.wake_requested_at,
        activity=seen.activity,
        has_pods=_has_pods(seen),
        answering=_answering(seen, recorded, now),
        has_endpoints=bool(endpoints.ready | endpoints.lasting),
        routers=routers,
    )


def _answering(seen: Seen, recorded: SleepStatus, now: datetime) -> int:
    """Pods that could answer, and will."""
    pods, since = [pod for slot in seen.selected_slots for pod in seen.ready(slot)], recorded.since
    if since is None or _outgoing_until(recorded, now) is None:
        return len(pods)
    return sum(1 for pod in pods if pod.running_since is None or pod.running_since >= since)


def _outgoing_until(status: SleepStatus, now: datetime) -> datetime | None:
    """Until when pods that have run since before a wake are not counted; None if they are."""
    until = status.since + _OUTGOING if status.since is not None and status.state == "Waking" else None
    return until if until is not None and now < until else None


def _by(sleep: Sleep, at: datetime | None) -> Sleep:
    """With a look by then at the latest."""
    return sleep if at is None else replace(sleep, requeue_at=min(at, sleep.requeue_at or at))


def _paused(recorded: SleepStatus, seen: Seen) -> Sleep:
    if recorded.state == "Asleep":
        why = f"the annotation {names.ANNOTATION_PAUSED} keeps it asleep"
        recorded = recorded.model_copy(update={"message": why})
    return Sleep(recorded, seen.is_redirected)


def _kept_awake_by(seen: Seen, least: Least) -> str:
    """A schedule; or a rollout, which needs pods to prove itself on."""
    if least.pods:
        return f"a schedule asks for at least {least.pods} pods"
    rollout = seen.service.status.rollout
    if rollout is None or rollout.phase not in _AT_REST:
        return "a rollout is under way"
    is_new = seen.current not in (rollout.stable_revision, rollout.failed_revision)
    return "a new revision is to be rolled out" if is_new else ""


def _recorded(seen: Seen, now: datetime, *, is_off: bool) -> SleepStatus:
    """The state as last recorded, in the status or on the Service."""
    known = _known(seen)
    is_there = names.ANNOTATION_APPLIED in seen.annotations
    # A Service that somebody has deleted says nothing; it is made again as the status has it.
    was_led = known is not None and known.state not in ("Awake", "Redirecting")
    is_redirected = seen.is_redirected if is_there else was_led
    return policy.remembered(known, now, is_redirected=is_redirected, has_pods=_has_pods(seen), is_off=is_off)


def _has_pods(seen: Seen) -> bool:
    """Pods are wanted of one of its Deployments as it is."""
    return any(found.wanted for found in seen.slots.values())


def _noted_port(seen: Seen) -> int | None:
    """The router's port that the service had last."""
    noted = seen.annotations.get(names.ANNOTATION_ROUTER_PORT, "")
    known = _known(seen)
    return int(noted) if noted.isdecimal() else known.port if known else None


def _known(seen: Seen) -> SleepStatus | None:
    autoscaling = seen.service.status.autoscaling
    return autoscaling.sleep if autoscaling else None


def _noted_ports(store: Store) -> Iterator[tuple[Key, int]]:
    for key in store.services():
        sleep = (store.raw_status(key).get("autoscaling") or {}).get("sleep") or {}
        if isinstance(sleep.get("port"), int):
            yield key, sleep["port"]
