"""The client of bench.router: a connection for each request, measured one at a time, many at a time, and held."""

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import psutil

AT_ONCE: Final = 32
_REQUEST: Final = b"POST /v1/chat/completions HTTP/1.1\r\nHost: chat\r\nContent-Length: 16\r\n\r\n{'prompt': 'hi'}"
_SECONDS: Final = 3.0
_ALONE: Final = 1000
_ANSWER_SECONDS: Final = 120  # for all that were held


async def measure(port: int) -> dict[str, Any]:
    """One at a time for the latency, then as many as go through."""
    first = await _many(port, until=time.perf_counter() + 0.5)
    alone = [await request(port) for _ in range(_ALONE)]
    began = time.perf_counter()
    busy = await _many(port, until=began + _SECONDS)
    return {
        "requests per second": round(len(busy) / (time.perf_counter() - began)),
        "one at a time": _spread(alone),
        f"{AT_ONCE} at a time": _spread(busy),
        "requests": len(first) + len(alone) + len(busy),
    }


async def request(port: int) -> float:
    """The seconds it took. Raises OSError when nobody listens, or the answer is not the pod's."""
    began = time.perf_counter()
    transport, client = await asyncio.get_running_loop().create_connection(_Client, "127.0.0.1", port)
    try:
        await client.done
    finally:
        transport.abort()
    return time.perf_counter() - began


async def hold(proxy: psutil.Popen, port: int, count: int, wake: Callable[[], None]) -> dict[str, Any]:
    """All of them at once for a service without a pod; then `wake` says that the pod is there."""
    before = proxy.memory_info().rss
    loop, clients = asyncio.get_running_loop(), []
    for _ in range(0, count, 100):
        made = await asyncio.gather(*(loop.create_connection(_Client, "127.0.0.1", port) for _ in range(100)))
        clients += [client for _, client in made]
    await asyncio.sleep(2)
    rss = proxy.memory_info().rss
    assert not any(client.done.done() for client in clients)
    began = time.perf_counter()
    await asyncio.to_thread(wake)
    await asyncio.wait([client.done for client in clients], timeout=_ANSWER_SECONDS)
    answered = [client.answered - began for client in clients if client.answered]
    return {
        "RSS MB without": round(before / 1e6, 1),
        "RSS MB": round(rss / 1e6, 1),
        "KB of each": round((rss - before) / count / 1e3, 1),
        "first answered s": round(min(answered, default=0), 2),
        "all answered s": round(max(answered, default=0), 2),
        "not answered": count - len(answered),
    }


async def _many(port: int, until: float) -> list[float]:
    async def client() -> list[float]:
        took = []
        while time.perf_counter() < until:
            took.append(await request(port))
        return took

    return [each for took in await asyncio.gather(*(client() for _ in range(AT_ONCE))) for each in took]


class _Client(asyncio.Protocol):
    """One request; `done` is when the whole answer was there, and `answered` the time of it."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answered: float | None = None
        self._got = b""

    def connection_made(self, transport: Any) -> None:
        transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        self._got += data
        if self.done.done():
            return
        if not b"HTTP/1.1 200".startswith(self._got[:12]):
            self._fail()
        elif self._got.endswith(b"{'ok': true}"):
            self.answered = time.perf_counter()
            self.done.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        if not self.done.done():
            self._fail()

    def _fail(self) -> None:
        self.done.set_exception(ConnectionError(f"no answer but {self._got[:200]!r}"))


def _spread(samples: Sequence[float]) -> dict[str, float]:
    """To hundredths: beside a bare connection's third of a millisecond, a tenth is much."""
    cuts = statistics.quantiles(samples, n=100)
    return {"p50 ms": round(cuts[49] * 1000, 2), "p99 ms": round(cuts[98] * 1000, 2)}
