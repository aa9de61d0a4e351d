"""Whether a service that may sleep does, as a pure function.

Awake -> Redirecting -> Draining -> Asleep -> Waking -> Awake; from Redirecting and Draining a request leads straight
back. Each state is recorded with the time when it began, so that a restart in between changes nothing. Idle is what the
pods have counted: nothing more since a time, and nothing under way. A gauge alone would miss a short request.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from penstock.api.autoscaling import ScaleToZero
from penstock.api.status import SleepState, SleepStatus
from penstock.observed.values import Activity

# Proxies on the nodes follow an EndpointSlice at their own pace. As Knative has learned (serving#15279), the first
# request that comes by the new way does not say that none comes by the old one any more.
_SETTLING: Final = timedelta(seconds=10)
# Where requests do not get to the router within this, the service stays awake. Clients may have been refused meanwhile,
# so that the next attempt is no less than so many seconds away.
_LONGEST_REDIRECTION: Final = timedelta(seconds=60)
_AFTER_A_FAILURE: Final = 300
_LED_TO_THE_ROUTER: Final = frozenset({"Redirecting", "Draining", "Asleep", "Waking"})


@dataclass(frozen=True, slots=True)
class Routers:
    """How many routers are ready, and how many there are to be: 0 where none is installed."""

    ready: int = 0
    wanted: int = 0

    @property
    def missing(self) -> str:
        """Why nothing may go to sleep; empty if it may."""
        if self.wanted == 0:
            return "no router is installed, which would hold requests meanwhile (chart value router.enabled)"
        needed = min(self.wanted, 2)
        return "" if self.ready >= needed else f"{self.ready} of {needed} routers are ready"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """All that the decision rests on."""

    now: datetime
    recorded: SleepStatus
    scale_to_zero: ScaleToZero | None  # None: not any more
    kept_awake_by: str = ""  # a rollout under way, or a schedule
    is_off: bool = False  # suspended, or scaled to zero by the user
    asked_at: datetime | None = None  # what a router has written last
    activity: Activity | None = None  # None: the pods have not been asked yet
    has_pods: bool = True  # are wanted of the Deployment as it is
    answering: int = 0  # pods that could answer
    has_endpoints: bool = False  # pods are endpoints of the active Service still
    routers: Routers = Routers()

    @property
    def is_asked(self) -> bool:
        """A router has held or seen a request since the last time that was acted upon."""
        return self.asked_at != self.recorded.answered_wake

    @property
    def must_be_awake(self) -> str:
        """Why, whatever comes or does not; empty if it need not."""
        return "scaleToZero is not set any more" if self.scale_to_zero is None else self.kept_awake_by

    @property
    def elapsed(self) -> timedelta:
        """Since the state began."""
        return self.now - (self.recorded.since or self.now)


@dataclass(frozen=True, slots=True)
class Sleep:
    """What is decided: the status, whether requests go to the router, and when time alone may change that."""

    status: SleepStatus
    is_redirected: bool = False
    requeue_at: datetime | None = None
    keeps_routers: bool = False  # beside the pods, for a moment

    @property
    def is_asleep(self) -> bool:
        """There are to be no pods."""
        return self.status.state == "Asleep"

    @property
    def is_closely_watched(self) -> bool:
        """A state that ends within seconds, by what the pods and the router tell."""
        return self.status.state in ("Redirecting", "Draining")


def remembered(
    recorded: SleepStatus | None, now: datetime, *, is_redirected: bool, has_pods: bool, is_off: bool = False
) -> SleepStatus:
    """The recorded state, after what the Service says of it: that is written before the status.

    A status that was wiped, or that was not written any more, is rebuilt so. One that is off leads to the routers
    whatever its state. A clock that was set back makes no state of the future.
    """
    known = recorded or SleepStatus(since=now)
    if known.since is not None and known.since > now:
        known = known.model_copy(update={"since": now})
    if is_off:
        return known
    if is_redirected:
        if known.state != "Awake":
            return known
        return _in(known, "Redirecting" if has_pods and recorded is not None else "Waking", now)
    return known if known.state in ("Awake", "Redirecting") else _in(known, "Awake", now)


def decide(c: Circumstances) -> Sleep:
    """One step from the recorded state."""
    if c.is_off:
        # Nothing wakes it: requests are led to the router, which says so. If it was asleep it is so afterwards.
        state: SleepState = "Asleep" if c.recorded.state == "Asleep" else "Awake"
        return Sleep(_told(_in(c.recorded, state, c.now), ""), is_redirected=True)
    sleep = _STEPS[c.recorded.state](c)
    return Sleep(sleep.status, sleep.status.state in _LED_TO_THE_ROUTER, sleep.requeue_at)


def without_routers(recorded: SleepStatus, now: datetime, why: str) -> Sleep:
    """Nothing could hold its requests: it is awake, whatever it was."""
    return _busy(_in(recorded.model_copy(update={"port": None}), "Awake", now), why)


def _awake(c: Circumstances) -> Sleep:
    recorded = c.recorded.model_copy(update={"answered_wake": c.asked_at})
    if c.is_asked:
        # The last of those that a router held, or one that came as the way to it was just closed.
        return _busy(_in(recorded, "Awake", c.now, anew=True), "requests come")
    if c.must_be_awake or c.scale_to_zero is None:
        return _busy(recorded, c.must_be_awake)
    if c.activity is None or c.activity.quiet_since is None:
        return _busy(recorded, (c.activity.unknown or "requests come") if c.activity else "")
    return _quiet(c, recorded, max(c.activity.quiet_since, recorded.since or c.now), c.scale_to_zero.after_seconds)


def _quiet(c: Circumstances, recorded: SleepStatus, idle_since: datetime, after_seconds: int) -> Sleep:
    """Awake, and nobody asks: until it is time."""
    quiet = recorded.model_copy(update={"quiet_since": idle_since})
    due, message = idle_since + timedelta(seconds=after_seconds), f"sleeps {after_seconds} s after the last request"
    again = (recorded.since or c.now) + timedelta(seconds=_AFTER_A_FAILURE)
    if recorded.last_failure and again > due:
        due = again
        message = f"sleeps {_AFTER_A_FAILURE} s after the last attempt, which failed: {recorded.last_failure}"
    if c.now < due:
        return Sleep(_told(quiet, message), requeue_at=due)
    if c.routers.missing:
        return Sleep(_told(quiet, c.routers.missing))
    return _led(_in(quiet, "Redirecting", c.now), c)


def _redirecting(c: Circumstances) -> Sleep:
    back = _back(c)
    if back is not None:
        return back
    is_led = c.activity is not None and c.activity.is_router_reached and not c.has_endpoints
    if is_led:
        return _watched(_in(c.recorded, "Draining", c.now), c, "requests go to the router; the pods stay a moment")
    if c.elapsed >= _LONGEST_REDIRECTION:
        why = "requests did not get to the router within a minute"
        return _failed(c, why) if c.activity is not None else _roused(c, _NOBODY_LOOKED)
    return _led(c.recorded, c)


def _draining(c: Circumstances) -> Sleep:
    if not c.has_pods:  # Their number was written, and the status was not any more.
        return _asleep(c)
    back = _back(c)
    if back is not None:
        return back
    if _is_settled(c):
        return _asleep(c)
    if c.elapsed >= _LONGEST_REDIRECTION:
        unknown = c.activity.unknown if c.activity is not None else ""
        return _failed(c, unknown) if unknown else _roused(c, _NOBODY_LOOKED)
    return _watched(c.recorded, c, c.recorded.message)


def _asleep(c: Circumstances) -> Sleep:
    if c.is_asked or c.must_be_awake:
        why = "a request waits for it" if c.is_asked else c.must_be_awake
        return Sleep(_told(_in(_answered(c), "Waking", c.now), why))
    asleep = _in(c.recorded, "Asleep", c.now).model_copy(update={"last_failure": ""})
    return Sleep(_told(asleep, _NEXT_REQUEST if c.routers.ready else NO_ROUTER))


def _waking(c: Circumstances) -> Sleep:
    recorded = _answered(c)
    if c.answering == 0:
        return Sleep(recorded)
    seconds = {"wake_seconds": int(c.elapsed.total_seconds())}
    return _busy(_in(recorded, "Awake", c.now).model_copy(update=seconds), "requests come")


_STEPS: Final[Mapping[SleepState, Callable[[Circumstances], Sleep]]] = {
    "Awake": _awake,
    "Redirecting": _redirecting,
    "Draining": _draining,
    "Asleep": _asleep,
    "Waking": _waking,
}
_NEXT_REQUEST: Final = "the next request wakes it"
# After a restart of the operator in between.
_NOBODY_LOOKED: Final = "nobody looked for a while whether requests come"
NO_ROUTER: Final = "no router is ready: requests are refused until one is"


def _back(c: Circumstances) -> Sleep | None:
    """Awake again before it slept: a request came, or it may not sleep after all. None: it goes on."""
    if c.is_asked:
        return _roused(c, "a request came")
    if c.must_be_awake:
        return _roused(c, c.must_be_awake)
    if c.routers.missing:
        return _roused(c, c.routers.missing)
    if c.activity is not None and not c.activity.unknown and c.activity.quiet_since is None:
        return _roused(c, "a request came")
    return None


def _roused(c: Circumstances, why: str) -> Sleep:
    """Its pods are there; where none of them answers, requests are held as at any wake."""
    state: SleepState = "Awake" if c.answering else "Waking"
    return _busy(_in(_answered(c), state, c.now), why)


def _failed(c: Circumstances, why: str) -> Sleep:
    """Awake again, and why is told until it can sleep."""
    return _roused(replace(c, recorded=c.recorded.model_copy(update={"last_failure": why})), why)


def _is_settled(c: Circumstances) -> bool:
    """The pods were watched for long enough since requests go to the router, and none came to them."""
    if c.activity is None or c.activity.quiet_since is None:
        return False
    watched_since = max(c.activity.quiet_since, c.recorded.since or c.now)
    return c.activity.looked_at - watched_since >= _SETTLING


def _answered(c: Circumstances) -> SleepStatus:
    return c.recorded.model_copy(update={"answered_wake": c.asked_at})


def _busy(status: SleepStatus, message: str) -> Sleep:
    return Sleep(_told(status.model_copy(update={"quiet_since": None}), message))


def _led(status: SleepStatus, c: Circumstances) -> Sleep:
    return _watched(status, c, "requests are being led to the router")


def _watched(status: SleepStatus, c: Circumstances, message: str) -> Sleep:
    """Until something tells that it goes on; not for ever."""
    return Sleep(_told(status, message), requeue_at=(status.since or c.now) + _LONGEST_REDIRECTION)


def _in(status: SleepStatus, state: SleepState, now: datetime, *, anew: bool = False) -> SleepStatus:
    """In a state, since now unless it is so already."""
    if status.state == state and not anew:
        return status
    return status.model_copy(update={"state": state, "since": now})


def _told(status: SleepStatus, message: str) -> SleepStatus:
    return status if status.message == message else status.model_copy(update={"message": message})
