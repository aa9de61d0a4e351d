"""POST /v1/chat/completions, /v1/completions and /completions."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from penstock_server.engine.protocol import GenerationRequest, TextEngine
from penstock_server.errors import BadRequest
from penstock_server.protocol.generating import Piece, Usage, plan, run
from penstock_server.protocol.openai import ChatRequest, CompletionRequest, Generate
from penstock_server.protocol.reading import read
from penstock_server.protocol.streaming import EventStream
from penstock_server.service import Service

PLAIN_MAX_TOKENS = 16  # the API's default


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where chat and plain completions differ in what they answer."""

    prefix: str  # of ids
    whole: str  # `object` of a full answer
    chunk: str  # `object` of an event
    is_chat: bool

    def choice(self, index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
        """One choice of a full answer."""
        content = {"message": {"role": "assistant", "content": text}} if self.is_chat else {"text": text}
        return {"index": index, **content, "logprobs": None, "finish_reason": finish_reason}

    def chunk_choice(self, piece: Piece, *, first: bool) -> dict[str, Any]:
        """One choice of an event; the first one of a chat's choice has the role."""
        delta, text = piece.delta, piece.delta.text
        role = {"role": "assistant"} if first else {}
        content = (
            {"delta": {**role, **({"content": text} if text or first else {})}} if self.is_chat else {"text": text}
        )
        return {"index": piece.index, **content, "logprobs": None, "finish_reason": delta.finish_reason}


CHAT = Dialect("chatcmpl", "chat.completion", "chat.completion.chunk", is_chat=True)
PLAIN = Dialect("cmpl", "text_completion", "text_completion", is_chat=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered to one request, beside the text itself."""

    dialect: Dialect
    body: Generate
    requests: list[GenerationRequest]
    usage: Usage
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def head(self, model: str) -> dict[str, Any]:
        """The fields of a full answer that every event repeats."""
        kind = self.dialect.chunk if self.body.stream else self.dialect.whole
        return {"id": f"{self.dialect.prefix}-{self.id}", "object": kind, "created": self.created, "model": model}


async def chat(request: web.Request, service: Service) -> web.StreamResponse:
    """A conversation's next turn."""
    body = await read(request, ChatRequest)
    engine = service.text_engine(body.model)
    prompt = await engine.tokenize_chat([message.for_template() for message in body.messages])
    requests = plan(body, [prompt], body.limit, engine.info, param="messages")
    return await _answer(request, service, engine, Reply(CHAT, body, requests, Usage(len(prompt))))


async def complete(request: web.Request, service: Service) -> web.StreamResponse:
    """Text that goes on from a prompt."""
    body = await read(request, CompletionRequest)
    engine = service.text_engine(body.model)
    prompts = await _prompts(engine, body.prompt)
    requests = plan(body, prompts, body.max_tokens or PLAIN_MAX_TOKENS, engine.info, param="prompt")
    return await _answer(request, service, engine, Reply(PLAIN, body, requests, Usage(sum(map(len, prompts)))))


async def _prompts(engine: TextEngine, prompt: Any) -> list[list[int]]:
    if isinstance(prompt, str):
        return await engine.tokenize([prompt])
    if isinstance(prompt[0], int):
        return [list(prompt)]
    if isinstance(prompt[0], str):
        return await engine.tokenize(prompt)
    return [list(ids) for ids in prompt]


async def _answer(request: web.Request, service: Service, engine: TextEngine, reply: Reply) -> web.StreamResponse:
    head = reply.head(service.settings.model_name)
    _check_count(len(reply.requests), service.settings.max_queue)
    async with aclosing(run(engine, reply.requests, service.metrics, reply.usage)) as pieces:
        if reply.body.stream:
            return await _stream(EventStream(request), pieces, reply, head)
        return web.json_response(await _whole(pieces, reply, head))


def _check_count(count: int, most: int) -> None:
    """Refuse for good a request that can never fit the queue: 429 would make the client try again."""
    if count > most:
        message = f"n: {count} texts at once are more than the {most} that may wait"
        raise BadRequest(message, param="n", code="invalid_value")


async def _whole(pieces: AsyncIterator[Piece], reply: Reply, head: dict[str, Any]) -> dict[str, Any]:
    texts: list[list[str]] = [[] for _ in reply.requests]
    reasons: dict[int, str] = {}
    async for piece in pieces:
        texts[piece.index].append(piece.delta.text)
        if piece.delta.finish_reason is not None:
            reasons[piece.index] = piece.delta.finish_reason
    choices = [reply.dialect.choice(index, "".join(text), reasons[index]) for index, text in enumerate(texts)]
    return {**head, "choices": choices, "usage": reply.usage.body()}


async def _stream(
    events: EventStream, pieces: AsyncIterator[Piece], reply: Reply, head: dict[str, Any]
) -> web.StreamResponse:
    head = {**head, "usage": None} if reply.body.includes_usage else head
    begun: set[int] = set()
    async for piece in pieces:
        first = piece.index not in begun
        if first or piece.delta.text or piece.delta.finish_reason:
            begun.add(piece.index)
            await events.send({**head, "choices": [reply.dialect.chunk_choice(piece, first=first)]})
    if reply.body.includes_usage:
        await events.send({**head, "choices": [], "usage": reply.usage.body()})
    return await events.done()
