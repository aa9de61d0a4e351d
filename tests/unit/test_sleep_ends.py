"""A service sleeps once nobody asks, and wakes for a request, whatever has happened before.

Passes are made only when something tells the operator to: a watch, a look at the pods, or a time that a pass has named.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st
from penstock import names
from penstock.kinds import DEPLOYMENT, POD
from penstock.observed.load import Load
from penstock.watch.store import ObjectId

from tests.place import CHAT, roll_out
from tests.sleepy import Sleepy

DEPLOYED = ObjectId(DEPLOYMENT.name, "ml", "chat-blue")
AFTER_SECONDS = 60
# To lead requests to the routers, to watch the pods for ten seconds, and to look.
FALLING_ASLEEP = 20


class KilledError(BaseException):
    """The operator ends in the middle of a pass."""


class Hours(Sleepy):
    """Time passes second by second, and the cluster follows; so does the operator, if anything tells it to."""

    def __init__(self, patience: float) -> None:
        super().__init__(patience=timedelta(seconds=patience))
        self.uptime = 0.0
        self.due: float | None = 0.0
        self.counted = 0  # by the pod that there is
        self.asks = 0
        self.endpoints_are_late = False
        self.node_is_slow_by = timedelta()
        self._looked: dict[int, float] = {}

    async def pass_time(self, seconds: int, step: int = 1) -> None:
        for _ in range(0, seconds, step):
            self.now += timedelta(seconds=step)
            self.uptime += step
            self._follow_the_deployment()
            if self._is_there and not self.endpoints_are_late:
                self.follow()
            self.is_router_reached = self.leads_to_routers
            self.load = Load(self.counted, 0)
            await self._look_at_pods()
            await self._make_passes()

    def request(self) -> None:
        """To a pod, which counts it; or to a router, which asks for one."""
        if self.leads_to_routers or not self._pods:
            self.asks += 1
            self.ask(self.now.strftime(f"%Y-%m-%dT%H:%M:%S.{self.asks:06}Z"))
        else:
            self.counted += 1

    async def kill(self) -> None:
        await self.reconcile.close()
        self.restart()
        self.due = self.uptime

    def roll_out(self, pods: int = 1, slot: str = "blue") -> None:
        roll_out(self.cluster, "chat", pods=pods, slot=slot, started=self.now - self.node_is_slow_by)

    def die_at_write(self, number: int) -> None:
        """The operator ends as it is about to make the write after so many."""
        left = number

        def write() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KilledError

        self.cluster.before_write = write

    @property
    def leads_to_routers(self) -> bool:
        return self._is_there and self.selector.get(names.LABEL_SLOT) == "asleep" and self.slice is not None

    @property
    def sleeps(self) -> bool:
        return self.sleep["state"] == "Asleep" and self.leads_to_routers and not self._pods

    @property
    def serves(self) -> bool:
        """Requests reach a pod, and no router any more."""
        return self.sleep["state"] == "Awake" and bool(self._pods) and not self.leads_to_routers and self.slice is None

    @property
    def _is_there(self) -> bool:
        return DEPLOYED in self.cluster.objects

    @property
    def _pods(self) -> Sequence[ObjectId]:
        return [each for each in self.cluster.objects if each.kind == POD.name]

    def _follow_the_deployment(self) -> None:
        if not self._is_there:
            return
        if self.pods_wanted and not self._pods:
            self.counted = 0
            self.roll_out()
        if not self.pods_wanted:
            self.pods_go()

    async def _look_at_pods(self) -> None:
        for watched in self.reconcile._sleepers.idleness._watched.values():
            if self.uptime - self._looked.get(id(watched), 0.0) >= watched.question.every:
                self._looked[id(watched)] = self.uptime
                watched.is_due.set()
        for _ in range(5):
            await asyncio.sleep(0)

    async def _make_passes(self) -> None:
        for _ in range(20):
            is_told = bool(self.cluster.deliver(self.store)) or CHAT in self.woken
            self.woken.clear()
            if not is_told and (self.due is None or self.uptime < self.due):
                return
            try:
                again = await self.reconcile(CHAT)
            except KilledError:
                self.cluster.before_write = lambda: None
                await self.kill()
                continue
            # What is due within the second is due now: a pass takes none of it.
            wait = None if again is None else again.total_seconds()
            self.due = None if wait is None else self.uptime + (0 if wait < 0.5 else wait)
            for _ in range(5):
                await asyncio.sleep(0)
        raise AssertionError("the passes of one second do not end")


async def test_a_wake_ends_ten_seconds_later_on_a_node_whose_clock_is_slow() -> None:
    place = Hours(0.0)
    place.node_is_slow_by = timedelta(seconds=3)
    await place.pass_time(5 + AFTER_SECONDS + FALLING_ASLEEP)
    assert place.sleeps
    place.request()
    await place.pass_time(8)
    assert place.sleep["state"] == "Waking"
    await place.pass_time(6)
    assert place.serves, place.sleep
    await place.reconcile.close()


async def test_a_clock_that_is_set_back_keeps_no_service_on_its_way() -> None:
    for moment in (5 + AFTER_SECONDS, 5 + AFTER_SECONDS + 5):
        place = Hours(1.0)
        await place.pass_time(moment)
        place.now -= timedelta(hours=1)
        await place.pass_time(60 + 300 + AFTER_SECONDS + FALLING_ASLEEP)
        assert place.sleeps, place.sleep
        place.request()
        await place.pass_time(1)
        place.now -= timedelta(hours=1)
        await place.pass_time(15)
        assert place.serves, place.sleep
        await place.reconcile.close()


WHAT_HAPPENS = st.one_of(
    st.tuples(st.just("request")),
    st.tuples(st.just("kill")),
    st.tuples(st.just("die"), st.integers(0, 6)),
    st.tuples(st.just("routers"), st.integers(0, 2)),
    st.tuples(st.just("endpoints"), st.booleans()),
)
PAUSES = st.one_of(st.integers(0, 3), st.integers(AFTER_SECONDS - 2, AFTER_SECONDS + FALLING_ASLEEP))


@settings(max_examples=40)
@example(happenings=[], patience=0.0)
@given(st.lists(st.tuples(PAUSES, WHAT_HAPPENS), max_size=8), st.sampled_from([0.0, 1.0]))
def test_it_sleeps_once_nobody_asks_and_wakes_for_a_request(
    happenings: Sequence[tuple[int, tuple[object, ...]]], patience: float
) -> None:
    asyncio.run(_live_through(happenings, patience))


async def _live_through(happenings: Sequence[tuple[int, tuple[object, ...]]], patience: float) -> None:
    place = Hours(patience)
    await place.pass_time(5)
    for pause, happening in happenings:
        await place.pass_time(pause)
        match happening:
            case ("request",):
                place.request()
            case ("kill",):
                await place.kill()
            case ("die", int(number)):
                place.die_at_write(number)
            case ("routers", int(number)):
                place.routers(*("10.1.0.1", "10.1.0.2")[:number])
                place.due = place.uptime  # their watch told
            case ("endpoints", bool(are_late)):
                place.endpoints_are_late = are_late
    place.cluster.before_write = lambda: None
    place.endpoints_are_late = False
    place.routers("10.1.0.1", "10.1.0.2")
    place.due = place.uptime
    # A redirection that came to nothing is given up after a minute, and tried again after five.
    await place.pass_time(60 + 300 + AFTER_SECONDS, step=4)
    await place.pass_time(FALLING_ASLEEP)
    assert place.sleeps, place.sleep
    place.request()
    await place.pass_time(2)
    await place.kill()
    await place.pass_time(12)
    assert place.serves, place.sleep
    await place.pass_time(AFTER_SECONDS + FALLING_ASLEEP)
    assert place.sleeps, place.sleep
    await place.reconcile.close()
