"""One request to one pod, on a connection of its own: nobody else's answer can come on it, and none is sent twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage, StreamWriter
from aiohttp.streams import StreamReader

from penstock.watch.ready_pods import Pod

CONNECT_SECONDS: Final = 3.0
_BUFFER: Final = 64 * 1024
_LONGEST_HEADER: Final = 64 * 1024
_MOST_HEADERS: Final = 512


class Unreachable(Exception):
    """The pod did not take the connection: it knows nothing of the request."""


class Upstream:
    """The connection. What fails on it raises an aiohttp.ClientError, or another OSError."""

    def __init__(self, protocol: ResponseHandler, writer: StreamWriter) -> None:
        self.protocol = protocol
        self.writer = writer

    async def head(self) -> tuple[RawResponseMessage, StreamReader]:
        """The answer's head, and its body to come. Interim answers are left out."""
        while True:
            message, body = await self.protocol.read()
            if message.code >= 200 or message.code == 101:
                return message, body

    def abort(self) -> None:
        self.protocol.abort()


@asynccontextmanager
async def connect(pod: Pod, *, has_answer_body: bool) -> AsyncIterator[Upstream]:
    """A connection, closed when the block is left. Raises Unreachable."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, protocol = await loop.create_connection(lambda: ResponseHandler(loop), pod.ip, pod.port)
    except (OSError, TimeoutError) as error:
        raise Unreachable(f"{pod.name} on {pod.ip}: {error!r}") from error
    try:
        protocol.set_response_params(
            skip_payload=not has_answer_body,
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=_BUFFER,
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
            max_headers=_MOST_HEADERS,
        )
        yield Upstream(protocol, StreamWriter(protocol, loop))
    finally:
        protocol.abort()
