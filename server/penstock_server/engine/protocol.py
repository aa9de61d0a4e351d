"""What the HTTP side knows about an engine.

    TextEngine      token ids in, a `Generation` (an async stream of `Delta`) out
    EncodingEngine  token ids in, one row of floats per sequence out
    Engine          what both share: tokenizer work, statistics, warm-up, close

The HTTP side never waits for a step of the engine: `submit` and `encode` put work on a queue, and results come back
through the event loop. Nothing here says how steps are scheduled, so one request at a time and continuous batching
look the same from outside.

Errors
    EngineError
    ├── QueueFull      the queue is at its bound; the caller should come back later
    ├── PromptRefused  the prompt cannot be rendered or can never fit; the caller must change it
    └── EngineFailed   the engine died or a step failed; not the caller's fault
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

FinishReason = Literal["stop", "length"]


class EngineError(Exception):
    """Any failure of an engine; str() is written for the caller."""


class QueueFull(EngineError):
    """The bounded queue has no room."""


class PromptRefused(EngineError):
    """The prompt itself is at fault."""


class EngineFailed(EngineError):
    """A step failed, or the engine is gone."""


class Task(StrEnum):
    """What a model is served for."""

    TEXT_GENERATION = "text-generation"
    TEXT_CLASSIFICATION = "text-classification"
    EMBEDDINGS = "embeddings"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. The defaults are the OpenAI API's."""

    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    top_k: int = 0  # 0 keeps every token
    presence_penalty: float = 0.0  # both over generated tokens only, as in the OpenAI API
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0  # over the prompt and generated tokens (Keskar et al. 2019, CTRL)
    seed: int | None = None  # equal seeds give equal output whatever else runs; None draws a fresh one


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One sequence to continue."""

    prompt: Sequence[int]  # token ids, special tokens included, at least one
    max_tokens: int  # at least 1; prompt and this together fit ModelInfo.max_model_len
    sampling: Sampling
    stop: tuple[str, ...] = ()  # never part of the output


@dataclass(frozen=True, slots=True)
class Delta:
    """Some new text. The last one of a stream carries the finish reason."""

    text: str  # whole characters; may be empty
    tokens: int  # generated so far, the end-of-text token included
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What was loaded, for /v1/models and the model_info metric."""

    task: Task
    architecture: str
    dtype: str
    device: str
    max_model_len: int  # tokens, prompt and output together
    vocabulary: int  # token ids are below this
    defaults: Sampling  # from the model's generation_config.json, for what a request leaves out
    labels: tuple[str, ...] = ()  # classification: the name of each column
    exclusive_labels: bool = True  # classification: scores of one text sum to 1
    has_chat_template: bool = False


@dataclass(frozen=True, slots=True)
class EngineStats:
    """The state of an engine at one moment."""

    waiting: int  # requests queued, not started
    running: int  # requests in a step
    heartbeat_age: float  # seconds since the engine's loop last moved, a step in flight included
    alive: bool  # False once the loop has ended, whatever the reason


class Generation(Protocol):
    """A running generation: iterate it for deltas; `cancel` it when its client is gone."""

    def __aiter__(self) -> AsyncIterator[Delta]:
        """Yield deltas until one has a finish reason. Raises EngineFailed."""

    def cancel(self) -> None:
        """Stop as soon as the step in flight ends. Safe to call at any time, more than once."""

    @property
    def queue_seconds(self) -> float | None:
        """Time between submission and the first step; None while queued."""


class Engine(Protocol):
    """A loaded model with its worker."""

    @property
    def info(self) -> ModelInfo:
        """What was loaded."""

    def stats(self) -> EngineStats:
        """Cheap; never waits for a step."""

    async def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text with the model's special tokens, computed off the event loop."""

    async def warm_up(self) -> None:
        """Run one real inference. Raises EngineFailed when its result is not usable."""

    def close(self) -> None:
        """End the worker and join its thread; what was queued or running fails with EngineFailed."""


class TextEngine(Engine, Protocol):
    """An engine that writes text."""

    async def tokenize_chat(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """Token ids of a conversation rendered with the model's chat template. Raises PromptRefused."""

    def submit(self, request: GenerationRequest) -> Generation:
        """Queue a request. Raises QueueFull."""


class EncodingEngine(Engine, Protocol):
    """An engine that turns each text into one row of floats."""

    async def encode(self, sequences: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Rows in the order given: embeddings [n, dimensions] or label scores [n, labels].

        Cancelling the awaiting task drops what has not run yet. Raises QueueFull, EngineFailed.
        """
