"""Constant load on one URL, with kept-alive connections; every answer is counted, and every failure kept."""

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

_TIMEOUT = aiohttp.ClientTimeout(total=60)


@dataclass
class Traffic:
    """Use as a context manager; `clients` of them ask one request after the other, with a pause between."""

    url: str
    body: dict[str, Any]
    clients: int = 4
    pause_seconds: float = 0.05
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="traffic")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()

    async def _run(self) -> None:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            await asyncio.gather(*(self._ask_on(session) for _ in range(self.clients)))

    async def _ask_on(self, session: aiohttp.ClientSession) -> None:
        while not self._stop.is_set():
            await self._ask(session)
            await asyncio.sleep(self.pause_seconds)

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.post(self.url, json=self.body) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failures.append(repr(error))
            return
        if answer.status != 200:
            self.failures.append(f"{answer.status}: {text[:200]}")
            return
        self.answered += 1
