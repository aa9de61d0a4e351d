"""What both engines have in common: a model that is loaded, its tokenizer, and the worker that runs it."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from penstock_server.engine.protocol import EngineStats, ModelInfo
from penstock_server.engine.tokens import Tokens
from penstock_server.engine.worker import Job, Worker

J = TypeVar("J", bound=Job)


class WorkerEngine(Generic[J]):
    """The part of `protocol.Engine` that does not depend on what the model is for."""

    def __init__(self, tokens: Tokens, info: ModelInfo, worker: Worker[J]) -> None:
        self._tokens = tokens
        self._info = info
        self._worker = worker

    @property
    def info(self) -> ModelInfo:
        """What was loaded."""
        return self._info

    def stats(self) -> EngineStats:
        """Answers at once, also during a step."""
        return self._worker.stats()

    async def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text."""
        return await self._tokens.encode(texts)

    def close(self) -> None:
        """Join the worker's thread."""
        self._worker.close()
