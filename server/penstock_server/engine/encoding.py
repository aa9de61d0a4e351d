"""Embeddings and classification: dynamic batching by token budget."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from penstock_server.engine.base import WorkerEngine
from penstock_server.engine.heads import Head
from penstock_server.engine.protocol import EngineError, EngineFailed, ModelInfo
from penstock_server.engine.tokens import Tokens
from penstock_server.engine.worker import Worker

Sequences = Sequence[Sequence[int]]
# One round takes requests in order of arrival up to the first figure, and runs them in batches up to the second:
# the wider the round, the better sorting by length removes padding; the narrower, the sooner a late arrival starts.
ROUND_TOKENS = 32_768
BATCH_TOKENS = {"cpu": 4_096, "cuda": 65_536}


class EncodingJob:
    """One request: some sequences, and a future for their rows."""

    def __init__(self, sequences: Sequences) -> None:
        self.sequences = sequences
        self.cancelled = False
        self._loop = asyncio.get_running_loop()
        self._rows: asyncio.Future[NDArray[np.float32]] = self._loop.create_future()
        self._parts: dict[int, NDArray[np.float32]] = {}

    @property
    def tokens(self) -> int:
        """Tokens of all sequences, without padding."""
        return sum(map(len, self.sequences))

    async def result(self) -> NDArray[np.float32]:
        """Rows in the order of the sequences."""
        return await self._rows

    def put(self, index: int, row: NDArray[np.float32]) -> None:
        """One sequence is done; the last one delivers all. For the worker's thread."""
        self._parts[index] = row
        if len(self._parts) == len(self.sequences):
            rows = np.stack([self._parts[i] for i in range(len(self.sequences))])
            self._settle(lambda: self._rows.set_result(rows))

    def fail(self, error: EngineError) -> None:
        """Deliver an error."""
        self._settle(lambda: self._rows.set_exception(error))

    def _settle(self, settle: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: None if self._rows.done() else settle())


class SequenceEncoder(WorkerEngine[EncodingJob]):
    """Implements `protocol.EncodingEngine`.

    No fixed wait: when the worker is free it takes what is queued, so batches grow with load and a lone request
    never waits for company.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokens: Tokens,
        head: Head,
        info: ModelInfo,
        *,
        pad_token: int,
        max_queue: int,
        on_batch: Callable[[int], None],
    ) -> None:
        super().__init__(tokens, info, Worker[EncodingJob]("encoding", limit=max_queue, pick=_round, run=self._run))
        self._model = model
        self._head = head
        self._pad_token = pad_token
        self._on_batch = on_batch
        self._batch_tokens = BATCH_TOKENS[model.device.type]

    async def encode(self, sequences: Sequences) -> NDArray[np.float32]:
        """Rows [n, columns] in the order given. Raises QueueFull, EngineFailed."""
        job = EncodingJob(sequences)
        self._worker.submit(job)
        try:
            return await job.result()
        finally:
            job.cancelled = True
            self._worker.discard(job)

    async def warm_up(self) -> None:
        """Encode one short sequence."""
        await self.encode([[0, 0, 0]])

    def _run(self, jobs: list[EncodingJob]) -> None:
        for batch in batches(jobs, self._batch_tokens):
            self._worker.beat()
            wanted = [(job, index) for job, index in batch if not job.cancelled]
            if self._worker.closing:
                return
            if wanted:
                self._step(wanted)

    def _step(self, batch: list[tuple[EncodingJob, int]]) -> None:
        self._on_batch(len(batch))
        rows = self._forward([job.sequences[index] for job, index in batch])
        for (job, index), row in zip(batch, rows, strict=True):
            if not np.isfinite(row).all():  # JSON cannot express NaN or infinity.
                job.fail(EngineFailed("the model gave numbers that are not finite"))
                continue
            job.put(index, row)

    def _forward(self, sequences: Sequences) -> NDArray[np.float32]:
        width = max(map(len, sequences))
        ids = np.full((len(sequences), width), self._pad_token, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        device = self._model.device
        with torch.inference_mode():
            rows = self._head(self._model, torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))
            return rows.float().cpu().numpy()


def batches(jobs: Sequence[EncodingJob], budget: int) -> Iterator[list[tuple[EncodingJob, int]]]:
    """Every sequence of `jobs` as (job, index), sorted by length, in batches of at most `budget` padded tokens.

    A sequence above the budget is a batch of its own.
    """
    ordered = sorted(
        ((job, index) for job in jobs for index in range(len(job.sequences))),
        key=lambda item: len(item[0].sequences[item[1]]),
    )
    batch: list[tuple[EncodingJob, int]] = []
    for job, index in ordered:
        if batch and (len(batch) + 1) * len(job.sequences[index]) > budget:
            yield batch
            batch = []
        batch.append((job, index))
    if batch:
        yield batch


def _round(waiting: deque[EncodingJob]) -> list[EncodingJob]:
    taken = [waiting.popleft()]
    tokens = taken[0].tokens
    while waiting and tokens + waiting[0].tokens <= ROUND_TOKENS:
        taken.append(waiting.popleft())
        tokens += taken[-1].tokens
    return taken
