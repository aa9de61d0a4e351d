"""Asking the pods themselves: how far a loading model has come, whether it answers, what it has counted.

I/O behind a Protocol.
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import aiohttp

from penstock import names
from penstock.observe import Progress
from penstock.rollout import analysis, smoke
from penstock.rollout.analysis import Counters
from penstock.rollout.smoke import SmokeRequest

_MOST_LOADING_PODS: Final = 8
_MOST_PODS: Final = 64
_MOST_AT_ONCE: Final = 8
_PROGRESS_SECONDS: Final = 1.0
_METRICS_SECONDS: Final = 2.0
_LONGEST_ANSWER: Final = 64 * 1024
_LONGEST_METRICS: Final = 2 * 1024 * 1024

T = TypeVar("T")


class Probes(Protocol):
    @property
    def can_reach_pods(self) -> bool:
        """Whether pods can be asked at all."""

    async def progress(self, ips: Sequence[str]) -> Progress:
        """The loading pods' progress, summed. A pod that does not answer counts as nothing."""

    async def smoke(self, request: SmokeRequest, ips: Mapping[str, str]) -> dict[str, str | None]:
        """What was wrong with each pod's answer, by the pod's name; None for nothing. Never raises.

        A pod that is left out was not asked: there were too many for one attempt.
        """

    async def counters(self, ips: Mapping[str, str]) -> dict[str, Counters]:
        """What each pod has counted, by its name. Pods that do not answer, or count nothing of ours, are left out."""


class NoProbes:
    """For clusters whose pods cannot be reached from here."""

    can_reach_pods = False

    async def progress(self, ips: Sequence[str]) -> Progress:
        del ips
        return Progress()

    async def smoke(self, request: SmokeRequest, ips: Mapping[str, str]) -> dict[str, str | None]:
        """Nothing: a pod that nobody asked has neither passed nor failed."""
        del request, ips
        return {}

    async def counters(self, ips: Mapping[str, str]) -> dict[str, Counters]:
        del ips
        return {}


class PodProbes:
    """Asks each pod on its own address; our own server, for its progress and its metrics, on `port`."""

    can_reach_pods = True

    def __init__(self, session: aiohttp.ClientSession, *, port: int = names.CONTAINER_PORT) -> None:
        self._session = session
        self._port = port

    async def progress(self, ips: Sequence[str]) -> Progress:
        found = await asyncio.gather(*(self._progress(ip) for ip in ips[:_MOST_LOADING_PODS]))
        reports = [report for report in found if report]
        totals = [report["totalBytes"] for report in reports if _is_count(report.get("totalBytes"))]
        return Progress(
            bytes=_sum(reports, "downloadedBytes"),
            total_bytes=sum(totals) if totals else None,
            bytes_per_second=_sum(reports, "bytesPerSecond") or None,
            loaded_bytes=_sum(reports, "loadedBytes"),
        )

    async def smoke(self, request: SmokeRequest, ips: Mapping[str, str]) -> dict[str, str | None]:
        """Text that the answer must contain is looked for in its first 64 KiB. No redirect is followed."""
        return await _each(ips, lambda ip: self._test(request, ip), seconds=request.timeout_seconds)

    async def counters(self, ips: Mapping[str, str]) -> dict[str, Counters]:
        found = await _each(ips, self._counters, seconds=_METRICS_SECONDS)
        return {pod: counters for pod, counters in found.items() if counters is not None}

    async def _progress(self, ip: str) -> dict[str, Any] | None:
        try:
            _, body = await self._send("GET", ip, self._port, "/startupz", seconds=_PROGRESS_SECONDS)
            report = json.loads(body) if len(body) < _LONGEST_ANSWER else None
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
            return None
        return report if isinstance(report, dict) else None

    async def _test(self, asked: SmokeRequest, ip: str) -> str | None:
        limit = asked.timeout_seconds
        try:
            status, body = await self._send(asked.method, ip, asked.port, asked.path, seconds=limit, body=asked.body)
        except TimeoutError:
            return smoke.unanswered(asked, f"no answer within {limit:g} s")
        except (aiohttp.ClientError, ValueError) as error:
            return smoke.unanswered(asked, str(error) or type(error).__name__)
        fault = smoke.failure(asked, status, body)
        then = smoke.following(asked, body) if fault is None else None
        return fault if then is None else await self._test(then, ip)

    async def _counters(self, ip: str) -> Counters | None:
        seconds, most = _METRICS_SECONDS, _LONGEST_METRICS
        try:
            status, body = await self._send("GET", ip, self._port, "/metrics", seconds=seconds, most=most)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
        if status != 200 or len(body) >= most:
            return None
        # Two megabytes that someone has crafted take longer than the event loop may stand still.
        return await asyncio.to_thread(analysis.parse, body.decode(errors="replace"))

    async def _send(
        self,
        method: str,
        ip: str,
        port: int,
        path: str,
        *,
        seconds: float,
        most: int = _LONGEST_ANSWER,
        body: bytes | None = None,
    ) -> tuple[int, bytes]:
        """The answer's status and the first `most` bytes of its body. Raises ClientError, TimeoutError, ValueError."""
        host = f"[{ip}]" if ":" in ip else ip
        async with self._session.request(
            method,
            f"http://{host}:{port}{path}",
            data=body,
            headers={"Content-Type": "application/json"} if body is not None else {},
            timeout=aiohttp.ClientTimeout(total=seconds),
            allow_redirects=False,
        ) as response:
            return response.status, await _beginning(response.content, most)


async def _each(ips: Mapping[str, str], ask: Callable[[str], Awaitable[T]], *, seconds: float) -> dict[str, T]:
    """The answers by pod. Only pods are asked whose turn comes within `seconds`: a pass has to end.

    Of too many pods, it is always the same ones that are asked, so that counters can be compared from look to look.
    """
    places, clock = asyncio.Semaphore(_MOST_AT_ONCE), asyncio.get_running_loop().time
    ends = clock() + seconds
    answers: dict[str, T] = {}

    async def answer(pod: str) -> None:
        async with places:
            if clock() < ends:
                answers[pod] = await ask(ips[pod])

    await asyncio.gather(*(answer(pod) for pod in sorted(ips)[:_MOST_PODS]))
    return answers


async def _beginning(content: aiohttp.StreamReader, most: int) -> bytes:
    read = bytearray()
    async for chunk in content.iter_any():
        read += chunk
        if len(read) >= most:
            break
    return bytes(read[:most])


def _sum(reports: Sequence[dict[str, Any]], field: str) -> int:
    return sum(int(report[field]) for report in reports if _is_count(report.get(field)))


def _is_count(value: object) -> bool:
    # JSON as Python reads it has infinity too.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
