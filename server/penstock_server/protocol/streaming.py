"""Server-sent events that begin with the first event, so that an early failure still has its own status."""

import json
from typing import Any

from aiohttp import web

HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
STREAM = web.RequestKey("stream", web.StreamResponse)


class EventStream:
    """The events of one response. The request keeps the response once it has begun, so that an error can end it."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._response = web.StreamResponse(headers=HEADERS)

    async def send(self, event: dict[str, Any]) -> None:
        """One event."""
        if not self._response.prepared:
            await self._response.prepare(self._request)
            self._request[STREAM] = self._response
        await write_event(self._response, event)

    async def done(self) -> web.StreamResponse:
        """The API's own end mark."""
        await self._response.write(b"data: [DONE]\n\n")
        await self._response.write_eof()
        return self._response


async def write_event(response: web.StreamResponse, event: dict[str, Any]) -> None:
    """One JSON event."""
    await response.write(b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n")
