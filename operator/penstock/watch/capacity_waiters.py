"""Who waits for room on the nodes, and for what."""

from collections.abc import Hashable, Set
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class CapacityWaiters(Generic[K]):
    """Those whose pod found no node, with the resources that the answer to each rests on."""

    def __init__(self) -> None:
        self._resources: dict[K, Set[str]] = {}

    def put(self, key: K, resources: Set[str]) -> None:
        self._resources[key] = resources

    def discard(self, key: K) -> None:
        self._resources.pop(key, None)

    def for_any(self) -> set[K]:
        """All: a node has changed, and which of them may use it is only found out by asking again."""
        return set(self._resources)

    def for_some_of(self, resources: Set[str]) -> set[K]:
        """Those who wait for any of these resources."""
        return {key for key, rests_on in self._resources.items() if rests_on & resources}
