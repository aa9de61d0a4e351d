"""The HTTP server behind all ports: aiohttp's, with errors of HTTP itself answered as the router answers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from penstock.names import RouterReason
from penstock.router import answers
from penstock.router.refusal import Refusal

log = structlog.get_logger(__name__)

# Of a connection: ten thousand that are held must stay small.
_READ_BUFFER: Final = 16 * 1024
_LONGEST_HEADER: Final = 32 * 1024
_MOST_HEADERS: Final = 256
# Of one that sends nothing.
IDLE_SECONDS: Final = 75

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Server(web.Server):
    """A factory of connections. A handler is cancelled when its client goes away."""

    def __init__(self, handler: Handler, name: str) -> None:
        super().__init__(
            handler,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            read_bufsize=_READ_BUFFER,
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
            max_headers=_MOST_HEADERS,
            keepalive_timeout=IDLE_SECONDS,
        )
        self._name = name

    def __call__(self) -> RequestHandler:
        return _Connection(self, self._name, loop=self._loop, **self._kwargs)


class _Connection(RequestHandler):
    def __init__(self, server: Server, name: str, *, loop: asyncio.AbstractEventLoop, **settings: Any) -> None:
        super().__init__(server, loop=loop, **settings)
        self._name = name

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        request = self._current_request
        if not self._messages or request is None or request.content.is_eof():
            return
        # What follows a body that has not ended is an error in the body. aiohttp answers it when the request is over,
        # and does not tell whoever waits for the rest.
        request.content.set_exception(web.RequestPayloadError("the body breaks its framing"))

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is no HTTP. It says more of its sender than of us: no line in the log."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        log.debug("not understood", client=request.remote, error=str(exc))
        refusal = Refusal(RouterReason.NOT_PROXIED, "the request is not valid HTTP/1.1", status=status)
        return answers.refused(self._name, refusal)
