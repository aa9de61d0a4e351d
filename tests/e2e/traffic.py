"""Constant load on one URL: every answer is kept, with who gave it and how long it took. All times are monotonic."""

import asyncio
import json
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

_TIMEOUT = aiohttp.ClientTimeout(total=60)
_LONGEST_STREAM = aiohttp.ClientTimeout(total=240)
_OPENS_WITHIN = 60.0
_PIECES = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """One request, as its client saw it."""

    sent: float
    took: float  # seconds
    is_fresh: bool  # on a connection of its own
    version: str = ""  # what the answer tells of who gave it
    failure: str | None = None


class Stream:
    """One long exchange on a connection of its own, from its beginning to its last byte."""

    def __init__(self) -> None:
        self.version = ""
        self.pieces = 0
        self.opened = 0.0
        self.ended = 0.0
        self.failure: str | None = None
        self._is_whole = False
        self._begun, self._over = threading.Event(), threading.Event()

    @property
    def is_open(self) -> bool:
        return self._begun.is_set() and not self._over.is_set()

    @property
    def seconds(self) -> float:
        """How long it has been open, or was."""
        return (self.ended or time.monotonic()) - self.opened

    def wait_until_open(self) -> None:
        assert self._begun.wait(_OPENS_WITHIN), "the stream does not begin"

    def wait_until_over(self) -> None:
        assert self._over.wait(_LONGEST_STREAM.total), "the stream does not end"

    async def download(self, url: str, body: dict[str, Any]) -> None:
        """Read the events of a text that is being written."""
        async with (
            self._told(),
            aiohttp.ClientSession(timeout=_LONGEST_STREAM) as session,
            session.post(url, json=body) as answer,
        ):
            async for line in answer.content:
                self._take(line.decode().strip())

    async def upload(self, url: str, body: bytes, seconds: float) -> None:
        """Send the body in pieces for so long, and read the answer.

        The first piece is sent when the server has said that it takes the request.
        """
        headers, sent = {"Content-Type": "application/json"}, self._slowly(body, seconds)
        async with self._told(), aiohttp.ClientSession(timeout=_LONGEST_STREAM) as session:
            async with session.post(url, data=sent, headers=headers, expect100=True) as answer:
                text = await answer.text()
            if answer.status != 200:
                self.failure = f"{answer.status}: {text[:200]}"
                return
            self.version, self._is_whole = json.loads(text)["model"], True

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        """However it ends, those who wait for it hear of it."""
        try:
            yield
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failure = repr(error)
        finally:
            if self.failure is None and not self._is_whole:
                self.failure = f"it ended after {self.pieces} pieces, in the middle"
            self.ended = time.monotonic()
            self._begun.set()
            self._over.set()

    async def _slowly(self, body: bytes, seconds: float) -> AsyncIterator[bytes]:
        size = math.ceil(len(body) / _PIECES)
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        for piece in pieces:
            self._count()
            yield piece
            await asyncio.sleep(seconds / len(pieces))

    def _take(self, line: str) -> None:
        if not line:
            return
        if line == "data: [DONE]":
            self._is_whole = True
            return
        event = json.loads(line.removeprefix("data: "))
        if "error" in event:
            self.failure = line[:200]
            return
        self.version = event["model"]
        self._count()

    def _count(self) -> None:
        self.pieces += 1
        self.opened = self.opened or time.monotonic()
        self._begun.set()


@dataclass
class Traffic:
    """Use as a context manager; each client asks one request after the other, with a pause between.

    `clients` of them keep their connection; `fresh` more make a new one for each request, as a Service sees most of its
    clients do: a connection that is kept stays with its pod wherever the Service leads by then.
    """

    url: str
    body: dict[str, Any]
    clients: int = 4
    fresh: int = 0
    pause_seconds: float = 0.05
    version_of: Callable[[str], str] = str
    headers: dict[str, str] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    _exchanges: list["Future[None]"] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _started: threading.Event = field(default_factory=threading.Event)
    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="traffic")
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop asking; streams that are open are read to their end."""
        self._stop.set()
        assert self._thread is not None
        self._thread.join()

    @property
    def failures(self) -> list[str]:
        return [answer.failure for answer in [*self.answers] if answer.failure is not None]

    @property
    def answered(self) -> int:
        return sum(1 for answer in [*self.answers] if answer.failure is None)

    def download(self, body: dict[str, Any]) -> Stream:
        """A streamed answer; returns when its first event is here."""
        stream = Stream()
        return self._open(stream, stream.download(self.url, body))

    def upload(self, seconds: float) -> Stream:
        """The clients' own request, with a body that takes so long to send; returns when the server takes it."""
        stream, body = Stream(), json.dumps(self.body).encode()
        return self._open(stream, stream.upload(self.url, body, seconds))

    def _open(self, stream: Stream, exchange: Coroutine[None, None, None]) -> Stream:
        assert self._loop is not None
        self._exchanges.append(asyncio.run_coroutine_threadsafe(exchange, self._loop))
        stream.wait_until_open()
        self.streams.append(stream)
        return stream

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started.set()
        alone = aiohttp.TCPConnector(force_close=True)
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as kept,
            aiohttp.ClientSession(timeout=_TIMEOUT, connector=alone) as fresh,
        ):
            asking = [self._ask_on(kept, is_fresh=False) for _ in range(self.clients)]
            asking += [self._ask_on(fresh, is_fresh=True) for _ in range(self.fresh)]
            # Where there are no clients, the streams alone keep nobody here.
            await asyncio.gather(asyncio.to_thread(self._stop.wait), *asking)
            await asyncio.gather(*(asyncio.wrap_future(each) for each in self._exchanges))

    async def _ask_on(self, session: aiohttp.ClientSession, *, is_fresh: bool) -> None:
        while not self._stop.is_set():
            self.answers.append(await self._ask(session, is_fresh=is_fresh))
            await asyncio.sleep(self.pause_seconds)

    async def _ask(self, session: aiohttp.ClientSession, *, is_fresh: bool) -> Answer:
        sent = time.monotonic()
        version, failure = "", None
        try:
            async with session.post(self.url, json=self.body, headers=self.headers) as answer:
                text = await answer.text()
            if answer.status == 200:
                version = self.version_of(text)
            else:
                failure = f"{answer.status}: {text[:200]}"
        except (aiohttp.ClientError, TimeoutError) as error:
            failure = repr(error)
        return Answer(sent, time.monotonic() - sent, is_fresh, version, failure)
