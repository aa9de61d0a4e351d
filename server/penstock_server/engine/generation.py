"""Text generation over transformers' `generate()`, one request at a time."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog
import torch
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteria

from penstock_server.engine.base import WorkerEngine
from penstock_server.engine.protocol import (
    Delta,
    EngineFailed,
    FinishReason,
    GenerationRequest,
    ModelInfo,
    Sampling,
)
from penstock_server.engine.sampler import Sampler
from penstock_server.engine.stream import TokenStream
from penstock_server.engine.text import Detokenizer, StopStrings
from penstock_server.engine.tokens import Tokens
from penstock_server.engine.worker import Worker

log = structlog.get_logger(__name__)


class GenerationEngine(WorkerEngine[TokenStream]):
    """Implements `protocol.TextEngine`.

    Args:
        end_tokens: ids that end a text.
        max_queue: how many requests may wait.
        on_batch: called with the number of sequences of each round.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokens: Tokens,
        info: ModelInfo,
        *,
        end_tokens: frozenset[int],
        max_queue: int,
        on_batch: Callable[[int], None],
    ) -> None:
        super().__init__(tokens, info, Worker[TokenStream]("generation", limit=max_queue, pick=_one, run=self._run))
        self._model = model
        self._write: Callable[..., Any] = model.generate  # type: ignore[assignment]
        self._end_tokens = end_tokens
        self._on_batch = on_batch
        # The model's own sampling defaults are in `info.defaults`; `generate` must not add them a second time.
        model.generation_config = _config()

    async def tokenize_chat(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """Ids of a conversation."""
        return await self._tokens.encode_chat(messages)

    def submit(self, request: GenerationRequest) -> TokenStream:
        """Queue a request. Raises QueueFull."""
        stream = TokenStream(request, on_cancel=self._worker.discard)
        self._worker.submit(stream)
        return stream

    async def warm_up(self) -> None:
        """Generate two tokens: the first runs prefill, the second a decode step."""
        request = GenerationRequest(
            prompt=[0], max_tokens=min(2, self._info.max_model_len - 1), sampling=Sampling(temperature=0)
        )
        async for delta in self.submit(request):
            if delta.finish_reason is not None:
                return
        raise EngineFailed("the warm-up inference gave no result")

    def _run(self, streams: list[TokenStream]) -> None:
        for stream in streams:
            if stream.cancelled:
                continue
            stream.start()
            self._on_batch(1)
            self._generate(stream)

    def _generate(self, stream: TokenStream) -> None:
        request = stream.request
        device = self._model.device
        sampler = Sampler(request.sampling, request.prompt, vocabulary=self._model.config.vocab_size, device=device)
        progress = _Progress(stream, Detokenizer(self._tokens.decode), self._end_tokens, self._worker)
        with torch.inference_mode():
            self._write(
                inputs=torch.tensor([list(request.prompt)], device=device),
                generation_config=_config(max_new_tokens=request.max_tokens, do_sample=False, use_cache=True),
                logits_processor=[sampler],
                stopping_criteria=[progress],
            )


class _Progress(StoppingCriteria):
    """Sees every new token: passes its text on, and says when to stop.

    `generate` knows end tokens and stop strings too, but reports neither which of them it met nor where the text ends.
    """

    def __init__(
        self, stream: TokenStream, detokenizer: Detokenizer, end_tokens: frozenset[int], worker: Worker[TokenStream]
    ) -> None:
        self._stream = stream
        self._detokenizer = detokenizer
        self._stops = StopStrings(stream.request.stop)
        self._end_tokens = end_tokens
        self._worker = worker
        self._count = 0

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: object) -> torch.BoolTensor:
        """`input_ids` [1, tokens so far]; returns [1], True to stop."""
        self._worker.beat()
        ended = self._accept(int(input_ids[0, -1])) or self._stream.cancelled or self._worker.closing
        return torch.tensor([ended], device=input_ids.device)  # type: ignore[return-value]

    def _accept(self, token: int) -> bool:
        self._count += 1
        if token in self._end_tokens:
            return self._finish("stop")
        text, stopped = self._stops.add(self._detokenizer.add(token))
        if stopped:
            self._stream.put(Delta(text, self._count, "stop"))
            return True
        self._stream.put(Delta(text, self._count))
        return self._count == self._stream.request.max_tokens and self._finish("length")

    def _finish(self, reason: FinishReason) -> bool:
        """Send what was held back; it may still complete a stop string."""
        text, stopped = self._stops.add(self._detokenizer.flush())
        self._stream.put(Delta(text + self._stops.flush(), self._count, "stop" if stopped else reason))
        return True


def _config(**settings: Any) -> GenerationConfig:
    return GenerationConfig(**settings)  # type: ignore[no-untyped-call]


def _one(waiting: deque[TokenStream]) -> list[TokenStream]:
    return [waiting.popleft()]
