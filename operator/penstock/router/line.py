"""Who waits for a pod, and which pod takes whom: first come, first served, by the least busy pod. Pure.

A ticket is a request's place in the line: it keeps it when the pod that it was sent to turns out to be unreachable.
"""

import heapq
from collections import Counter
from collections.abc import Iterable
from typing import Final

_SLACK: Final = 64


class Line:
    """The requests of one service."""

    def __init__(self) -> None:
        self._next = 0
        self._held: set[int] = set()
        # Of the held; besides, tickets that have left since, until they are met or outnumber the others.
        self._order: list[int] = []
        self._pods: dict[int, str] = {}  # of each ticket under way
        self._busy: Counter[str] = Counter()

    @property
    def held(self) -> int:
        return len(self._held)

    def under_way(self, pod: str) -> int:
        """Requests that the pod was given and has not finished."""
        return self._busy[pod]

    def join(self) -> int:
        """The ticket of a new request, which is held until it is assigned."""
        ticket, self._next = self._next, self._next + 1
        self._hold(ticket)
        return ticket

    def is_held(self, ticket: int) -> bool:
        return ticket in self._held

    def leave(self, ticket: int) -> None:
        """It was answered, or given up; whether it was held or under way."""
        self._held.discard(ticket)
        self._end(ticket)
        if len(self._order) > 2 * len(self._held) + _SLACK:
            self._order = sorted(self._held)

    def put_back(self, ticket: int) -> None:
        """Its pod did not take it: it is held again, before all that came later."""
        self._end(ticket)
        self._hold(ticket)

    def assign(self, pods: Iterable[str], limit: int) -> list[tuple[int, str]]:
        """Give held requests to pods, no more than `limit` at once to each; in the order of arrival."""
        free = [(self._busy[pod], order, pod) for order, pod in enumerate(pods) if self._busy[pod] < limit]
        heapq.heapify(free)
        given = []
        while free and self._held:
            ticket = heapq.heappop(self._order)
            if ticket not in self._held:
                continue
            busy, order, pod = free[0]
            self._held.remove(ticket)
            self._pods[ticket] = pod
            self._busy[pod] += 1
            given.append((ticket, pod))
            if busy + 1 < limit:
                heapq.heapreplace(free, (busy + 1, order, pod))
            else:
                heapq.heappop(free)
        return given

    def _hold(self, ticket: int) -> None:
        self._held.add(ticket)
        heapq.heappush(self._order, ticket)

    def _end(self, ticket: int) -> None:
        pod = self._pods.pop(ticket, None)
        if pod is None:
            return
        self._busy[pod] -= 1
        if not self._busy[pod]:
            del self._busy[pod]
