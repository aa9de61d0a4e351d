"""The pods of bench.adapter: one process that answers on many addresses with an exposition of our model server."""

import asyncio
import sys
from typing import cast

import uvloop
from penstock_server.metrics import Metrics

from bench.adapter import addresses


def _exposition() -> bytes:
    metrics = Metrics("chat")
    for route in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
        metrics.finished(route, 200)(0.25)
    return metrics.expose()


class Pod(asyncio.Protocol):
    """Answers each request, whatever it asks, in one write: the pods shall cost little beside the adapter."""

    answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(self.answer * data.count(b"\r\n\r\n"))


async def _serve(pods: int, port: int) -> None:
    loop = asyncio.get_running_loop()
    body = _exposition()
    Pod.answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    await loop.create_server(Pod, addresses(pods), port)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
