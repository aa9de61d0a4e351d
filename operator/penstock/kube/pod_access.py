"""How a request reaches a pod: on the pod's own address, or through the API server where pods cannot be reached.

I/O behind a Protocol.
"""

import json
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import unquote

import aiohttp

from penstock import errors

_LONGEST_ANSWER: Final = 64 * 1024
_DOTS: Final = frozenset({".", ".."})


@dataclass(frozen=True, slots=True)
class Address:
    """Where a pod is found, by either way."""

    namespace: str
    name: str
    ip: str


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent to a pod, and how much of the answer is waited for."""

    method: str
    port: int
    path: str
    seconds: float
    body: bytes | None = None  # JSON
    most: int = _LONGEST_ANSWER  # bytes of the answer's body; the rest is left

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json"} if self.body is not None else {}

    @property
    def timeout(self) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=self.seconds)


class PodTransport(Protocol):
    async def send(self, pod: Address, message: Message) -> tuple[int, bytes]:
        """The pod's answer: its status and the beginning of its body. No redirect is followed.

        Raises ClientError, TimeoutError, ValueError; ApiError where the API server answers instead of the pod.
        """


class PodProxy(Protocol):
    def request(self, pod: Address, message: Message) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Raises what aiohttp raises, and TimeoutError."""


class Direct:
    """On the pod's own address."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(self, pod: Address, message: Message) -> tuple[int, bytes]:
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        async with self._session.request(
            message.method,
            f"http://{host}:{message.port}{message.path}",
            data=message.body,
            headers=message.headers,
            timeout=message.timeout,
            allow_redirects=False,
        ) as response:
            return response.status, await _beginning(response.content, message.most)


@asynccontextmanager
async def direct() -> AsyncIterator[tuple[Direct, Direct]]:
    """The ways to pods, and to the addresses of Services.

    To a Service each request has a connection of its own: one that is kept would stay with its pod, wherever the
    Service leads by then. Whoever sends bounds the requests: one that waited for a connection would seem not to be
    answered.
    """
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as pods,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as services,
    ):
        yield Direct(pods), Direct(services)


class ThroughApiServer:
    """By the pod's name, over the API server's `pods/proxy`."""

    def __init__(self, proxy: PodProxy) -> None:
        self._proxy = proxy

    async def send(self, pod: Address, message: Message) -> tuple[int, bytes]:
        if _has_dots(message.path):
            # Whoever resolves them on the way, a load balancer perhaps, makes it a request to the API server itself:
            # with a body and the operator's rights.
            raise ValueError("a path with . or .. in it is not sent through the API server")
        async with self._proxy.request(pod, message) as response:
            status, body = response.status, await _beginning(response.content, message.most)
        if failure := _failure(status, body):
            raise errors.from_status(status, failure, None)
        return status, body


def _has_dots(path: str) -> bool:
    plain = unquote(re.split(r"[?#]", path, maxsplit=1)[0])
    return not _DOTS.isdisjoint(re.split(r"[/\\]", plain))


def _failure(status: int, body: bytes) -> dict[str, Any] | None:
    """The Status object of an answer that is the API server's own; None for a pod's.

    Nothing else tells the two apart: what the API server adds to its answers, it adds to the pods' too. A pod can write
    such an object as well, and gains nothing: no failure passes a test, whatever the status that the test expects.
    """
    if status < 400:
        return None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    is_status = isinstance(found, dict) and (found.get("kind"), found.get("apiVersion")) == ("Status", "v1")
    return found if is_status and found.get("code") == status else None


async def _beginning(content: aiohttp.StreamReader, most: int) -> bytes:
    read = bytearray()
    async for chunk in content.iter_any():
        read += chunk
        if len(read) >= most:
            break
    return bytes(read[:most])
