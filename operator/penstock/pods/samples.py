"""What the pods had counted at the last measurement, so that the next one shows what has happened since."""

from collections.abc import Callable, Mapping
from typing import Final

from penstock.observed import counters
from penstock.observed.counters import Counters, Window
from penstock.watch.store import Key

_MOST_PODS: Final = 256  # of one service, the latest first


class Samples:
    """The last counters of each service's pods, in memory only: after a restart the first measurement sets the base."""

    def __init__(self) -> None:
        self._last: dict[Key, Mapping[str, Counters]] = {}
        self._next: dict[Key, Mapping[str, Counters]] = {}

    def measure(
        self, key: Key, new: Mapping[str, Counters], *, tells: Callable[[Window], bool] = lambda _: True
    ) -> Window:
        """What the pods have counted since the last measurement that proved anything.

        After any other the base stays, so that little traffic adds up over measurements until it `tells`. A pod that
        did not answer keeps its base too: one so busy that it misses every other measurement would never be counted.
        Until a measurement is recorded (`keep`), it may be made again and counts the same.
        """
        before = self._last.get(key, {})
        window = counters.window(before, new)
        missed = {pod: counters for pod, counters in before.items() if pod not in new}
        base = {pod: before.get(pod, counters) for pod, counters in new.items()} if not tells(window) else new
        self._next[key] = dict([*missed.items(), *base.items()][-_MOST_PODS:])
        return window

    def keep(self, key: Key) -> None:
        """Count from the latest measurement on: what it saw is recorded."""
        if key in self._next:
            self._last[key] = self._next.pop(key)

    def forget(self, key: Key) -> None:
        """When the service is gone, or its next analysis must not count what came before it."""
        self._last.pop(key, None)
        self._next.pop(key, None)
