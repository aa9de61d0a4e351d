"""Which port of the routers belongs to which service that may sleep."""

import hashlib
from collections.abc import Iterable

from penstock.watch.store import Key


class RouterPorts:
    """Each service keeps its port; a new one gets a free one. `noted` are the ports that services had before."""

    def __init__(self, first: int, last: int, noted: Iterable[tuple[Key, int]] = ()) -> None:
        self._range = range(first, last + 1)
        self._owners: dict[int, Key] = {}
        self._ports: dict[Key, int] = {}
        for key, port in noted:
            self._give(key, port)

    def of(self, key: Key, noted: int | None) -> int | None:
        """The service's port, `noted` if that may be; None if all are taken."""
        if key not in self._ports and not (noted is not None and self._give(key, noted)):
            free = next((port for port in self._in_order_of(key) if port not in self._owners), None)
            if free is not None:
                self._give(key, free)
        return self._ports.get(key)

    def forget(self, key: Key) -> None:
        """When the service is gone, or never sleeps any more."""
        port = self._ports.pop(key, None)
        if port is not None:
            del self._owners[port]

    def _give(self, key: Key, port: int) -> bool:
        if port not in self._range or self._owners.setdefault(port, key) != key:
            return False
        self._ports[key] = port
        return True

    def _in_order_of(self, key: Key) -> Iterable[int]:
        """All ports, beginning with one that follows from the name: a forgotten one is probably found again."""
        begin = int.from_bytes(hashlib.sha256(str(key).encode()).digest()[:8]) % len(self._range)
        return (self._range[(begin + step) % len(self._range)] for step in range(len(self._range)))
