"""Notices clients that hang up while nothing is read from them.

A request whose body is larger than the buffer is not read on while it is held, and an event loop that does not read a
connection does not see its end either. The kernel tells it by EPOLLRDHUP, which no event loop asks for.
"""

import asyncio
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Hangups:
    """Only Linux has it; elsewhere such a client is noticed when its request is forwarded."""

    def __init__(self) -> None:
        self._watched: dict[int, asyncio.Transport] = {}
        self._epoll: Any = select.epoll() if hasattr(select, "epoll") else None
        if self._epoll is not None:
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._look)

    @contextmanager
    def watch(self, transport: asyncio.Transport) -> Iterator[None]:
        """Abort the connection when its client hangs up within the block."""
        if self._epoll is None:
            yield
            return
        number = transport.get_extra_info("socket").fileno()
        self._watched[number] = transport
        with suppress(OSError):  # It is closed already.
            self._epoll.register(number, select.EPOLLRDHUP | select.EPOLLET)
        try:
            yield
        finally:
            # The number may be another connection's by now: the kernel forgets one that is closed by itself.
            if self._watched.get(number) is transport:
                del self._watched[number]
                with suppress(OSError, ValueError):
                    self._epoll.unregister(number)

    def close(self) -> None:
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _look(self) -> None:
        for number, _ in self._epoll.poll(0):
            transport = self._watched.get(number)
            if transport is not None:
                transport.abort()
