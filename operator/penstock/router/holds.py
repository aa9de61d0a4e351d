"""The hold of each service that has a port, as the watches show the services."""

from collections import defaultdict
from collections.abc import Iterator
from functools import partial

from penstock.router.hold import Hold, Total
from penstock.router.service import Service
from penstock.watch.ready_pods import ReadyPods
from penstock.watch.store import Key


class Holds:
    """`total` counts what all of them hold."""

    def __init__(self, seen: ReadyPods[Service], *, routers: int, most_held: int) -> None:
        self._seen = seen
        self._routers = routers
        self._by_key: dict[Key, Hold] = {}
        self._gone: defaultdict[Key, list[Hold]] = defaultdict(list)  # those that hold requests still
        self.total = Total(most_held)

    def __iter__(self) -> Iterator[Hold]:
        return iter(list(self._by_key.values()))

    def get(self, key: Key) -> Hold | None:
        return self._by_key.get(key)

    def follow(self, key: Key) -> None:
        """The service, or a pod of it, has changed."""
        service, hold = self._seen.service(key), self._by_key.get(key)
        if hold is not None and (service is None or service.uid != hold.service.uid):
            del self._by_key[key]
            hold.is_gone = True
            self._gone[key].append(hold)
            hold = None
        self._end(key)
        if service is None:
            return
        if hold is None:
            pods = partial(self._seen.pods, key)
            self._by_key[key] = Hold(service, pods, routers=self._routers, total=self.total)
            return
        hold.service = service
        hold.look()

    def _end(self, key: Key) -> None:
        """Empty those that are gone: to pods while there are any, else at once."""
        for hold in self._gone.pop(key, ()):
            hold.look()
            if hold.held:
                self._gone[key].append(hold)
