"""Running the sequences of one request and counting what they use."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, replace

from penstock_server.engine.protocol import (
    Delta,
    Generation,
    GenerationRequest,
    ModelInfo,
    TextEngine,
)
from penstock_server.errors import BadRequest
from penstock_server.metrics import Metrics
from penstock_server.protocol.openai import Generate
from penstock_server.protocol.reading import check_tokens

SEED_SPACE = 2**63


@dataclass(slots=True)
class Usage:
    """Tokens of one request."""

    prompt_tokens: int
    completion_tokens: int = 0

    def body(self) -> dict[str, int]:
        """The API's object."""
        total = self.prompt_tokens + self.completion_tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens, "total_tokens": total}


@dataclass(frozen=True, slots=True)
class Piece:
    """Some new text of one choice."""

    index: int
    delta: Delta


def plan(
    body: Generate, prompts: Sequence[Sequence[int]], limit: int | None, info: ModelInfo, *, param: str
) -> list[GenerationRequest]:
    """`n` sequences for each prompt, in the API's order. Raises BadRequest for a prompt that can never fit."""
    sampling = body.sampling(info.defaults)
    return [
        GenerationRequest(
            prompt=prompt,
            max_tokens=_max_tokens(prompt, limit, info, param),
            # The choices of a seeded request must differ from each other, and be the same each time.
            sampling=sampling if body.seed is None else replace(sampling, seed=(body.seed + copy) % SEED_SPACE),
            stop=body.stops,
        )
        for prompt in prompts
        for copy in range(body.n)
    ]


def _max_tokens(prompt: Sequence[int], limit: int | None, info: ModelInfo, param: str) -> int:
    check_tokens(prompt, param, info)
    room = info.max_model_len - len(prompt)
    if room < (limit or 1):
        message = (
            f"{param}: {len(prompt)} tokens and {limit or 1} to write are more than"
            f" the model's context of {info.max_model_len}"
        )
        raise BadRequest(message, param=param, code="context_length_exceeded")
    return limit or room


async def run(
    engine: TextEngine, requests: Sequence[GenerationRequest], metrics: Metrics, usage: Usage
) -> AsyncGenerator[Piece]:
    """Pieces of the sequences, one sequence after the other; all of them run meanwhile.

    Counts into `usage`. Leaving the iteration early (close it) cancels what still runs. Raises EngineError.
    """
    generations: list[Generation] = []
    try:
        for request in requests:
            generations.append(engine.submit(request))  # noqa: PERF401 - if one is refused, the others must be known
        metrics.prompt_tokens.inc(usage.prompt_tokens)
        for index, generation in enumerate(generations):
            # Later sequences wait in memory while the first is read, so only the first one's times mean anything.
            timed = _timed(generation, metrics) if index == 0 else aiter(generation)
            async for delta in _counted(timed, metrics, usage):
                yield Piece(index, delta)
    finally:
        for generation in generations:
            generation.cancel()


async def _counted(deltas: AsyncIterator[Delta], metrics: Metrics, usage: Usage) -> AsyncIterator[Delta]:
    tokens = 0
    async for delta in deltas:
        usage.completion_tokens += delta.tokens - tokens
        metrics.generation_tokens.inc(delta.tokens - tokens)
        tokens = delta.tokens
        yield delta


async def _timed(generation: Generation, metrics: Metrics) -> AsyncIterator[Delta]:
    last = time.monotonic()
    observe = metrics.first_token.observe
    async for delta in generation:
        now = time.monotonic()
        if observe == metrics.first_token.observe:
            metrics.queue_time.observe(generation.queue_seconds or 0.0)
        observe(now - last)
        last, observe = now, metrics.inter_token.observe
        yield delta
