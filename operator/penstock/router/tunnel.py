"""Two connections after a switch of protocols: what comes on one goes out on the other, until one of them ends."""

import asyncio
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from penstock.router.upstream import Upstream

_MOST_WAITING: Final = 64 * 1024


class _Pipe:
    """One direction, in the place of aiohttp's parser of WebSocket frames."""

    def __init__(self, source: asyncio.Transport) -> None:
        self._source = source
        self._waiting = bytearray()
        self._has_news = asyncio.Event()
        self._is_paused = False
        self._has_ended = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._waiting += data
        if len(self._waiting) > _MOST_WAITING and not self._is_paused and not self._source.is_closing():
            self._source.pause_reading()
            self._is_paused = True
        self._has_news.set()
        return False, b""

    def feed_eof(self) -> None:
        self._has_ended = True
        self._has_news.set()

    async def pass_on(self, writer: AbstractStreamWriter) -> None:
        """Until the source ends. Raises ConnectionError when the other end does."""
        while not (self._has_ended and not self._waiting):
            await self._has_news.wait()
            self._has_news.clear()
            data, self._waiting = bytes(self._waiting), bytearray()
            if data:
                await writer.write(data)
            if self._is_paused and not self._waiting and not self._source.is_closing():
                self._is_paused = False
                self._source.resume_reading()


async def run(request: web.BaseRequest, pod: Upstream) -> None:
    """Pass on what comes from both, until one of them ends."""
    client_transport, pod_transport = request.transport, pod.protocol.transport
    if client_transport is None or pod_transport is None:
        return
    from_client, from_pod = _Pipe(client_transport), _Pipe(pod_transport)
    request.protocol.set_parser(from_client)  # type: ignore[arg-type] # These two methods are all that it calls.
    pod.protocol.set_parser(from_pod, None)
    passing = [
        asyncio.create_task(from_client.pass_on(pod.writer)),
        asyncio.create_task(from_pod.pass_on(request.writer)),
    ]
    try:
        await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in passing:
            each.cancel()
        await asyncio.gather(*passing, return_exceptions=True)
