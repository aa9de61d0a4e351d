"""Asking the pods themselves: how far a loading model has come. I/O behind a Protocol."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Protocol

import aiohttp

from penstock import names
from penstock.observe import Progress

_MOST_PODS: Final = 8
_TIMEOUT: Final = aiohttp.ClientTimeout(total=1.0)
_LONGEST_ANSWER: Final = 64 * 1024


class Probes(Protocol):
    async def progress(self, ips: Sequence[str]) -> Progress:
        """The loading pods' progress, summed. A pod that does not answer counts as nothing."""


class NoProbes:
    """For clusters whose pods cannot be reached from here."""

    async def progress(self, ips: Sequence[str]) -> Progress:
        del ips
        return Progress()


class PodProbes:
    """Asks each pod's `/startupz` on its own address."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def progress(self, ips: Sequence[str]) -> Progress:
        found = await asyncio.gather(*(self._ask(ip) for ip in ips[:_MOST_PODS]))
        reports = [report for report in found if report]
        totals = [report["totalBytes"] for report in reports if _is_count(report.get("totalBytes"))]
        return Progress(
            bytes=_sum(reports, "downloadedBytes"),
            total_bytes=sum(totals) if totals else None,
            bytes_per_second=_sum(reports, "bytesPerSecond") or None,
            loaded_bytes=_sum(reports, "loadedBytes"),
        )

    async def _ask(self, ip: str) -> dict[str, Any] | None:
        host = f"[{ip}]" if ":" in ip else ip
        url = f"http://{host}:{names.CONTAINER_PORT}/startupz"
        try:
            async with self._session.get(url, timeout=_TIMEOUT, allow_redirects=False) as response:
                if (response.content_length or 0) > _LONGEST_ANSWER:
                    return None
                report = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
        return report if isinstance(report, dict) else None


def _sum(reports: Sequence[dict[str, Any]], field: str) -> int:
    return sum(int(report[field]) for report in reports if _is_count(report.get(field)))


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
