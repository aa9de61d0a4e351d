"""The listening ports: one for each service that was given one, for as long as it has it."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import structlog

from penstock.watch.store import Key

log = structlog.get_logger(__name__)

_RETRY_SECONDS: Final = 5.0
_BACKLOG: Final = 1024


class Ports:
    """`protocol` makes the connections' protocols. A port that two services have is the first one's."""

    def __init__(self, allowed: range, protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        self._allowed = allowed
        self._protocol = protocol
        self._claims: dict[int, list[Key]] = {}
        self._port_of: dict[Key, int] = {}
        self._servers: dict[int, asyncio.Server] = {}
        self._changed: set[int] = set()
        self._has_changed = asyncio.Event()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._servers)

    @property
    def is_settled(self) -> bool:
        """Whether each service's port has been opened, or was tried in vain, and no other is open."""
        return not self._changed

    def owner(self, port: int) -> Key | None:
        return next(iter(self._claims.get(port, ())), None)

    def follow(self, key: Key, port: int | None) -> None:
        """The service has that port now; None: it has none."""
        old = self._port_of.get(key)
        if old == port:
            return
        if old is not None:
            del self._port_of[key]
            self._claims[old].remove(key)
            self._change(old)
        if port is None:
            return
        if port not in self._allowed:
            log.warning("a service has a port that is none of the router's", service=str(key), port=port)
            return
        claims = self._claims.setdefault(port, [])
        if claims:
            log.warning("two services have one port", service=str(key), port=port, other=str(claims[0]))
        claims.append(key)
        self._port_of[key] = port
        self._change(port)

    async def run(self) -> None:
        """Open and close ports until cancelled; one that cannot be opened is tried again."""
        while True:
            await self._has_changed.wait()
            self._has_changed.clear()
            for port in sorted(self._changed):
                await self._bring_about(port)
                self._changed.discard(port)

    def close(self) -> None:
        """Take no more connections. Those that there are stay."""
        self._is_closed = True
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def _change(self, port: int) -> None:
        self._changed.add(port)
        self._has_changed.set()

    async def _bring_about(self, port: int) -> None:
        is_wanted, server = bool(self._claims.get(port)) and not self._is_closed, self._servers.get(port)
        if server is not None and not is_wanted:
            del self._servers[port]
            server.close()
            log.info("port closed", port=port)
        if server is None and is_wanted:
            await self._open(port)

    async def _open(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(self._protocol, sock=_listening(port))
        except OSError as error:
            log.warning("a port cannot be opened", port=port, service=str(self.owner(port)), error=str(error))
            loop.call_later(_RETRY_SECONDS, self._change, port)
            return
        if self._is_closed:
            server.close()
            return
        self._servers[port] = server
        log.info("port opened", port=port, service=str(self.owner(port)))


def _listening(port: int) -> socket.socket:
    """On all addresses, of both families where there are two."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
        except OSError:
            # IPv6 is compiled in, and switched off; or the port is taken, which the next line says too.
            pass
    return socket.create_server(("", port), backlog=_BACKLOG)
