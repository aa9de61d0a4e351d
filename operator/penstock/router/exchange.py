"""Passes one request on to a pod, and the answer back, as both come: nothing is stored."""

import asyncio
import socket
import struct
from typing import Final

import aiohttp
import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError, HttpVersion11, RawResponseMessage
from aiohttp.streams import StreamReader

from penstock.router import headers, refusal, tunnel, upstream
from penstock.router.headers import Headers
from penstock.router.refusal import Refused
from penstock.router.upstream import Upstream
from penstock.watch.ready_pods import Pod

log = structlog.get_logger(__name__)

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS: Final = frozenset({204, 304})
_BROKEN: Final = (aiohttp.ClientError, HttpProcessingError, OSError)
_RESET: Final = struct.pack("ii", 1, 0)


class Answered(web.StreamResponse):
    """Stands for an answer that the client has been sent already, as far as there was one."""

    def __init__(self, status: int) -> None:
        super().__init__(status=status)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> None:
        """It has been."""

    async def write_eof(self, data: bytes = b"") -> None:
        """It has been, or must not be."""


class Exchange:
    """One request and its answer. `timeout`: seconds from the request's last byte until the answer must begin."""

    def __init__(self, request: web.BaseRequest, pod: Pod, *, timeout: float, extra: Headers) -> None:
        self._request = request
        self._pod = pod
        self._timeout = timeout
        self._extra = extra
        self._is_upgrade = headers.asks_for_websocket(request.raw_headers)
        self._sent_at = asyncio.get_running_loop().time()
        self._is_malformed = False
        self.delivered = 0  # the status of an answer that the client was sent up to its end, or of a tunnel

    async def run(self) -> Answered:
        """Raises upstream.Unreachable before anything was sent, and Refused before the answer has begun."""
        async with upstream.connect(self._pod, has_answer_body=self._request.method != "HEAD") as pod:
            sending = asyncio.create_task(self._send(pod))
            try:
                message, body = await self._head(pod)
                if message.code == 101:
                    return await self._tunnel(pod, message)
                return await self._answer(message, body)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, pod: Upstream) -> None:
        """The request, while the answer may begin already. What fails on the pod's side shows where that is read."""
        try:
            await pod.writer.write(self._request_head())
            if self._request.body_exists:
                await self._send_body(pod)
        except web.RequestPayloadError:
            # Half a body must not look like a whole one.
            self._is_malformed = True
            pod.abort()
        except _BROKEN:
            return

    async def _send_body(self, pod: Upstream) -> None:
        request, loop = self._request, asyncio.get_running_loop()
        if headers.expects_continue(request.raw_headers):
            await request.writer.write(_CONTINUE)
            request.writer.output_size = 0  # The answer itself has not begun.
        if request.content_length is None:
            pod.writer.enable_chunking()
        async for chunk in request.content.iter_any():
            await pod.writer.write(chunk)
            self._sent_at = loop.time()
        await pod.writer.write_eof()

    def _request_head(self) -> bytes:
        request = self._request
        passed = headers.of_request(request.raw_headers, _address(request))
        if request.body_exists and request.content_length is None:
            passed.append(headers.CHUNKED)
        passed += headers.UPGRADE if self._is_upgrade else [headers.CLOSE]
        return headers.head(f"{request.method} {target(request)} HTTP/1.1", passed)

    async def _head(self, pod: Upstream) -> tuple[RawResponseMessage, StreamReader]:
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout_at(self._sent_at + self._timeout):
                    return await pod.head()
            except TimeoutError:
                if loop.time() >= self._sent_at + self._timeout:
                    raise Refused(refusal.overdue(self._pod.name, self._timeout)) from None
            except _BROKEN as error:
                if self._is_malformed:
                    raise Refused(refusal.not_proxied("a body that is malformed")) from None
                log.info("a pod broke off", pod=self._pod.name, ip=self._pod.ip, error=repr(error))
                raise Refused(refusal.broken(self._pod.name)) from None

    async def _answer(self, message: RawResponseMessage, body: StreamReader) -> Answered:
        """Pass it on. If the pod breaks off, so does the client's connection: an end would look like the answer's."""
        request, answered = self._request, Answered(message.code)
        out, passed = request.writer, headers.of_answer(message.raw_headers)
        has_body = request.method != "HEAD" and message.code not in _BODILESS
        has_length = message.headers.get("Content-Length") is not None and not message.chunked
        is_chunked = has_body and not has_length and request.version >= HttpVersion11
        if (has_body and not has_length) or message.code == 204:
            passed = headers.without_length(passed)
        framing = [headers.CHUNKED] if is_chunked else []
        first = f"HTTP/1.1 {message.code} {message.reason}"
        try:
            await out.write(headers.head(first, [*passed, *self._extra, *framing, headers.CLOSE]))
            if is_chunked:
                out.enable_chunking()
            async for chunk in body.iter_any():
                await out.write(chunk)
            await out.write_eof()
            self.delivered = message.code
        except _BROKEN:
            _break(request, is_delimited=is_chunked or has_length)
        return answered

    async def _tunnel(self, pod: Upstream, message: RawResponseMessage) -> Answered:
        if not self._is_upgrade:
            raise Refused(refusal.broken(self._pod.name))
        passed = [*headers.of_answer(message.raw_headers), *self._extra, *headers.UPGRADE]
        await self._request.writer.write(headers.head(f"HTTP/1.1 101 {message.reason}", passed))
        self.delivered = message.code
        await tunnel.run(self._request, pod)
        return Answered(message.code)


def target(request: web.BaseRequest) -> str:
    """Path and query, byte for byte. Raises Refused for a target that is neither a path nor a URL."""
    raw = request.raw_path
    if raw.startswith("/"):
        return raw
    scheme, _, rest = raw.partition("://")
    if request.method == "CONNECT" or not rest or not scheme.isalpha():
        raise Refused(refusal.not_proxied(f"{request.method} {raw[:100]}"))
    _, slash, path = rest.partition("/")
    return slash + path or "/"


def _address(request: web.BaseRequest) -> str:
    """The client's. On a socket for both families, one of IPv4 has a prefix."""
    return (request.remote or "unknown").removeprefix("::ffff:")


def _break(request: web.BaseRequest, *, is_delimited: bool) -> None:
    """End the client's connection so that it sees that the answer is not whole."""
    transport = request.transport
    if transport is None:
        return
    if is_delimited:
        # What has come so far is still delivered; the end that is missing says enough.
        transport.close()
        return
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
