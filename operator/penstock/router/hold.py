"""Holds the requests of one service until a pod can take them, or until it is certain that none will."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

from penstock import names
from penstock.router import refusal
from penstock.router.line import Line
from penstock.router.refusal import Refusal, Refused
from penstock.router.service import Service
from penstock.watch.ready_pods import Pod

# The watch tells of a pod's end a moment after its address has ended to answer.
SHUNNED_SECONDS: Final = 0.5


class Total:
    """Requests that are held, of all services together."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0


class Place:
    """A request's place. `pod` is the one that takes it, once `wait` has returned; `waited` the seconds until then."""

    def __init__(self, ticket: int, began: float) -> None:
        self.ticket = ticket
        self.began = began
        self.waited = 0.0
        self.taken: asyncio.Future[Pod] = asyncio.get_running_loop().create_future()


class Hold:
    """`service` and `pods` say what the watches know now; call `look` after each change of it.

    `is_gone`: the service has no port any more. What is held goes on to pods that are ready.
    """

    def __init__(self, service: Service, pods: Callable[[], Iterable[Pod]], *, routers: int, total: Total) -> None:
        self.service = service
        self.is_gone = False
        self._all_pods = pods
        self._routers = routers
        self._total = total
        self._line = Line()
        self._places: dict[int, Place] = {}  # of the held
        self._shunned: dict[str, float] = {}  # pods that did not answer, by UID, until when

    @property
    def held(self) -> int:
        return self._line.held

    @property
    def has_pods(self) -> bool:
        return bool(self._pods())

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Place]:
        """A place for as long as the block lasts. Raises Refused when there is none, or no use in it."""
        place = Place(self._line.join(), asyncio.get_running_loop().time())
        self._keep(place)
        try:
            self.look()
            self._check(place)
            yield place
        finally:
            self._forget(place)
            self._line.leave(place.ticket)
            self.look()

    async def wait(self, place: Place) -> Pod:
        """The pod that takes the request. Raises Refused with the reason why there is none."""
        if not place.taken.done():
            deadline = place.began + self.service.wake_timeout
            try:
                async with asyncio.timeout_at(deadline):
                    await asyncio.wait([place.taken])
            except TimeoutError:
                if not place.taken.done():
                    raise Refused(self._overdue()) from None
            finally:
                place.waited = asyncio.get_running_loop().time() - place.began
        return place.taken.result()

    def put_back(self, place: Place) -> None:
        """Its pod did not take the connection: the next one may, or it is held again where it was."""
        loop = asyncio.get_running_loop()
        self._shunned[place.taken.result().uid] = loop.time() + SHUNNED_SECONDS
        loop.call_later(SHUNNED_SECONDS, self.look)
        place.taken = loop.create_future()
        self._line.put_back(place.ticket)
        self._keep(place)
        self.look()

    def look(self) -> None:
        """Give what is held to the pods that are ready; refuse it if nothing will change by waiting."""
        if not self._places:
            return
        pods = {pod.uid: pod for pod in self._pods()}
        for ticket, uid in self._line.assign(pods, self.service.share(self._routers)):
            place = self._places[ticket]
            self._forget(place)
            place.taken.set_result(pods[uid])
        reason = self._refusal()
        if self._places and reason is not None:
            for place in list(self._places.values()):
                self._refuse(place, reason)

    def _check(self, place: Place) -> None:
        """Raises Refused if it is held beyond a bound."""
        if place.ticket not in self._places:
            return
        if self.held > self.service.max_held:
            raise Refused(refusal.too_many(self.service.max_held, "the service"))
        if self._total.held > self._total.most:
            raise Refused(refusal.too_many(self._total.most, "all services"))

    def _refusal(self) -> Refusal | None:
        """Why nobody needs to wait; None while waiting may help."""
        if any(self._all_pods()):
            return None
        if self.is_gone:
            return refusal.no_service(self.service.port)
        return self.service.refusal or self.service.failure

    def _overdue(self) -> Refusal:
        obstacle = None if any(self._all_pods()) else self.service.obstacle
        return obstacle or refusal.wake_timeout(self.service.wake_timeout)

    def _pods(self) -> list[Pod]:
        """Those to send to: of the slot that serves if it has any."""
        if self.service.state == "Asleep" and not self.is_gone:
            return []  # What looks ready is on its way out: the watch of pods has not told so yet.
        now = asyncio.get_running_loop().time()
        self._shunned = {uid: until for uid, until in self._shunned.items() if until > now}
        pods = [pod for pod in self._all_pods() if pod.uid not in self._shunned]
        active = [pod for pod in pods if pod.labels.get(names.LABEL_SLOT) == self.service.active_slot]
        return active or pods

    def _refuse(self, place: Place, reason: Refusal) -> None:
        self._forget(place)
        self._line.leave(place.ticket)
        place.taken.set_exception(Refused(reason))
        place.taken.exception()  # Nobody may be waiting for it any more.

    def _keep(self, place: Place) -> None:
        self._places[place.ticket] = place
        self._total.held += 1

    def _forget(self, place: Place) -> None:
        if self._places.pop(place.ticket, None) is not None:
            self._total.held -= 1
