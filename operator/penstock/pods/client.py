"""Asking the pods themselves: how far a loading model has come, whether it answers, what it has counted.

I/O behind a Protocol.
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

import aiohttp

from penstock import errors, names
from penstock.kube.pod_access import Address, Message, PodTransport
from penstock.observed import counters
from penstock.observed.counters import Counters
from penstock.observed.load import Load, load
from penstock.observed.values import Progress
from penstock.pod_metrics import PodMetrics
from penstock.rollout import smoke
from penstock.rollout.smoke import SmokeRequest

_MOST_LOADING_PODS: Final = 8
_MOST_PODS: Final = 64
_MOST_AT_ONCE: Final = 8  # requests to the pods of one service
# Requests to all pods, by what they ask: those that wait long leave room for the others. A thousand open files is all
# that some machines allow a process.
_MOST_SMOKE_TESTS: Final = 384
_MOST_MEASUREMENTS: Final = 128
_MOST_PROGRESS: Final = 256
_PROGRESS_SECONDS: Final = 1.0
_METRICS_SECONDS: Final = 2.0
_PROBE_SECONDS: Final = 2.0
_LONGEST_METRICS: Final = 2 * 1024 * 1024

_OURS: Final = PodMetrics()

T = TypeVar("T")


class PodClient(Protocol):
    @property
    def can_reach_pods(self) -> bool:
        """Whether pods can be asked at all."""

    async def progress(self, pods: Sequence[Address]) -> Progress:
        """The loading pods' progress, summed. A pod that does not answer counts as nothing."""

    async def smoke(self, request: SmokeRequest, pods: Sequence[Address]) -> dict[str, str | None]:
        """What was wrong with each pod's answer, by the pod's name; None for nothing. Never raises.

        A pod that is left out was not asked: there were too many for one attempt.
        """

    async def counters(self, pods: Sequence[Address], metrics: PodMetrics = ...) -> dict[str, Counters]:
        """What each pod has counted, by its name. Pods that do not answer, or count nothing known, are left out."""

    async def loads(self, pods: Sequence[Address], metrics: PodMetrics) -> dict[str, Load | str]:
        """How many requests each pod has counted and works on, by its name, or why it does not tell. Never raises.

        A pod that is left out was not asked: there were too many.
        """

    async def is_router_at(self, service_ip: str, namespace: str, name: str) -> bool:
        """Whether a request to the address of the service's active Service is answered by a router."""


class NoPodClient:
    """For clusters whose pods cannot be reached from here."""

    can_reach_pods = False

    async def progress(self, pods: Sequence[Address]) -> Progress:
        del pods
        return Progress()

    async def smoke(self, request: SmokeRequest, pods: Sequence[Address]) -> dict[str, str | None]:
        """Nothing: a pod that nobody asked has neither passed nor failed."""
        del request, pods
        return {}

    async def counters(self, pods: Sequence[Address], metrics: PodMetrics = _OURS) -> dict[str, Counters]:
        del pods, metrics
        return {}

    async def loads(self, pods: Sequence[Address], metrics: PodMetrics) -> dict[str, Load | str]:
        """Nothing: nobody was asked."""
        del pods, metrics
        return {}

    async def is_router_at(self, service_ip: str, namespace: str, name: str) -> bool:
        del service_ip, namespace, name
        return False


class HttpPodClient:
    """Asks each pod by the given way; our own server, for its progress and its metrics, on `port`.

    `services` is the way to the addresses of Services; None where they cannot be reached from here.
    """

    can_reach_pods = True

    def __init__(
        self, way: PodTransport, *, services: PodTransport | None = None, port: int = names.CONTAINER_PORT
    ) -> None:
        self._way = way
        self._services = services
        self._port = port
        self._smoke_tests = asyncio.Semaphore(_MOST_SMOKE_TESTS)
        self._measurements = asyncio.Semaphore(_MOST_MEASUREMENTS)
        self._loading = asyncio.Semaphore(_MOST_PROGRESS)

    async def progress(self, pods: Sequence[Address]) -> Progress:
        asked = pods[:_MOST_LOADING_PODS]
        found = await _each(asked, self._progress, seconds=_PROGRESS_SECONDS, room=self._loading)
        reports = [report for report in found.values() if report]
        totals = [report["totalBytes"] for report in reports if _is_count(report.get("totalBytes"))]
        return Progress(
            bytes=_sum(reports, "downloadedBytes"),
            total_bytes=sum(totals) if totals else None,
            bytes_per_second=_sum(reports, "bytesPerSecond") or None,
            loaded_bytes=_sum(reports, "loadedBytes"),
        )

    async def smoke(self, request: SmokeRequest, pods: Sequence[Address]) -> dict[str, str | None]:
        """Text that the answer must contain is looked for in its first 64 KiB. No redirect is followed."""
        seconds = request.timeout_seconds
        return await _each(pods, lambda pod: self._test(request, pod), seconds=seconds, room=self._smoke_tests)

    async def counters(self, pods: Sequence[Address], metrics: PodMetrics = _OURS) -> dict[str, Counters]:
        found = await _each(
            pods, lambda pod: self._counters(pod, metrics), seconds=_METRICS_SECONDS, room=self._measurements
        )
        return {pod: counters for pod, counters in found.items() if counters is not None}

    async def loads(self, pods: Sequence[Address], metrics: PodMetrics) -> dict[str, Load | str]:
        return await _each(
            pods, lambda pod: self._load(pod, metrics), seconds=_METRICS_SECONDS, room=self._measurements
        )

    async def is_router_at(self, service_ip: str, namespace: str, name: str) -> bool:
        if self._services is None:
            return True  # Nobody can tell from here.
        question = Message("GET", names.SERVICE_PORT, names.ROUTER_PATH, _PROBE_SECONDS)
        try:
            status, body = await self._services.send(Address(namespace, name, service_ip), question)
            answer = json.loads(body) if status == 200 else None
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
            return False
        return isinstance(answer, dict) and answer.get("service") == f"{namespace}/{name}"

    async def _load(self, pod: Address, metrics: PodMetrics) -> Load | str:
        try:
            body = await self._exposition(pod, metrics)
        except (aiohttp.ClientError, TimeoutError, ValueError, errors.ApiError) as error:
            return f"does not tell its metrics: {error or type(error).__name__}"
        found = await asyncio.to_thread(load, body, metrics) if body is not None else None
        if found is None:
            counters = " and ".join(metrics.requests) or "any requests"
            return f"does not count {counters} at {metrics.path}: see spec.predictor.metrics"
        return found

    async def _progress(self, pod: Address) -> dict[str, Any] | None:
        question = Message("GET", self._port, "/startupz", _PROGRESS_SECONDS)
        try:
            _, body = await self._way.send(pod, question)
            report = json.loads(body) if len(body) < question.most else None
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError, errors.ApiError):
            return None
        return report if isinstance(report, dict) else None

    async def _test(self, asked: SmokeRequest, pod: Address) -> str | None:
        limit = asked.timeout_seconds
        try:
            status, body = await self._way.send(pod, Message(asked.method, asked.port, asked.path, limit, asked.body))
        except TimeoutError:
            return smoke.unanswered(asked, f"no answer within {limit:g} s")
        except (aiohttp.ClientError, ValueError) as error:
            return smoke.unanswered(asked, str(error) or type(error).__name__)
        except errors.ApiError as error:
            return smoke.unanswered(asked, f"the API server, not the pod, answered pods/proxy with {error}")
        fault = smoke.failure(asked, status, body)
        then = smoke.following(asked, body) if fault is None else None
        return fault if then is None else await self._test(then, pod)

    async def _counters(self, pod: Address, metrics: PodMetrics) -> Counters | None:
        try:
            body = await self._exposition(pod, metrics)
        except (aiohttp.ClientError, TimeoutError, ValueError, errors.ApiError):
            return None
        if body is None:
            return None
        # Two megabytes that someone has crafted take longer than the event loop may stand still.
        return await asyncio.to_thread(counters.parse, body.decode(errors="replace"), metrics)

    async def _exposition(self, pod: Address, metrics: PodMetrics) -> bytes | None:
        """None if the pod has none, or one that is too long. Raises as `PodTransport.send` does."""
        port = metrics.port or self._port
        question = Message("GET", port, metrics.path, _METRICS_SECONDS, most=_LONGEST_METRICS)
        status, body = await self._way.send(pod, question)
        return body if status == 200 and len(body) < question.most else None


async def _each(
    pods: Sequence[Address], ask: Callable[[Address], Awaitable[T]], *, seconds: float, room: asyncio.Semaphore
) -> dict[str, T]:
    """The answers by pod. Only pods are asked whose turn comes within `seconds` of the first: a rollout waits for them.

    Of too many pods, it is always the same ones that are asked, so that counters can be compared from look to look.
    """
    places, clock = asyncio.Semaphore(_MOST_AT_ONCE), asyncio.get_running_loop().time
    ends: float | None = None
    answers: dict[str, T] = {}

    async def answer(pod: Address) -> None:
        nonlocal ends
        async with places, room:
            ends = clock() + seconds if ends is None else ends
            if clock() < ends:
                answers[pod.name] = await ask(pod)

    await asyncio.gather(*(answer(pod) for pod in sorted(pods, key=lambda pod: pod.name)[:_MOST_PODS]))
    return answers


def _sum(reports: Sequence[dict[str, Any]], field: str) -> int:
    return sum(int(report[field]) for report in reports if _is_count(report.get(field)))


def _is_count(value: object) -> bool:
    # JSON as Python reads it has infinity too.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
