"""What the pods had counted at the last look, so that the next one shows what has happened since."""

from collections.abc import Mapping
from typing import Final

from penstock.rollout import analysis
from penstock.rollout.analysis import Counters, Window
from penstock.store import Key

_MOST_PODS: Final = 256  # of one service, the latest first


class Samples:
    """The last counters of each service's pods, in memory only: after a restart the first look sets the base."""

    def __init__(self) -> None:
        self._last: dict[Key, Mapping[str, Counters]] = {}

    def look(self, key: Key, new: Mapping[str, Counters]) -> Window:
        """What the pods have counted since the last look.

        A pod that did not answer keeps its base until it does: one so busy that it misses every other look would
        otherwise never be counted.
        """
        before = self._last.get(key, {})
        missed = {pod: counters for pod, counters in before.items() if pod not in new}
        self._last[key] = dict([*missed.items(), *new.items()][-_MOST_PODS:])
        return analysis.window(before, new)

    def forget(self, key: Key) -> None:
        """When the service is gone, or its next analysis must not count what came before it."""
        self._last.pop(key, None)
