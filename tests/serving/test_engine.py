"""The engines themselves, against what transformers computes from the same files."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from penstock_server.engine.architectures import identify
from penstock_server.engine.build import Plan, build
from penstock_server.engine.encoding import EncodingJob, SequenceEncoder, batches
from penstock_server.engine.generation import GenerationEngine
from penstock_server.engine.heads import Pooling, pool
from penstock_server.engine.protocol import GenerationRequest, QueueFull, Sampling
from transformers import AutoModel, AutoModelForCausalLM

from tests.serving import tiny

GREEDY = Sampling(temperature=0)


@asynccontextmanager
async def engine(directory: Path, *, max_queue: int = 64) -> AsyncIterator[Any]:
    sizes: list[int] = []
    plan = Plan(identify(directory, "auto"), "float32", max_queue, gpu_requested=False, on_batch=sizes.append)
    built = build(directory, plan)
    try:
        yield built
    finally:
        built.close()


@pytest.mark.parametrize("make", [tiny.llama, tiny.gpt2])
async def test_greedy_text_is_what_generate_writes(make: Callable[[Path], Path], tmp_path: Path) -> None:
    directory = make(tmp_path)
    reference: Any = AutoModelForCausalLM.from_pretrained(directory)
    async with engine(directory) as built:
        assert isinstance(built, GenerationEngine)
        for prompt in ([5, 6, 7], [65] * 30, list(range(200))):
            ids = torch.tensor([prompt])
            wanted = reference.generate(ids, max_new_tokens=60, do_sample=False, pad_token_id=257)[0, len(prompt) :]
            deltas = [d async for d in built.submit(GenerationRequest(prompt, 60, GREEDY))]
            text = tiny.byte_tokenizer().decode(wanted, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            assert "".join(delta.text for delta in deltas) == text
            assert deltas[-1].tokens == len(wanted)


async def test_a_cancelled_generation_leaves_the_queue_and_the_next_one_runs(gpt2: Path) -> None:
    async with engine(gpt2, max_queue=1) as built:
        running = built.submit(GenerationRequest([1], 400, GREEDY))
        await anext(aiter(running))
        waiting = built.submit(GenerationRequest([2], 400, GREEDY))
        with pytest.raises(QueueFull):
            built.submit(GenerationRequest([3], 1, GREEDY))
        waiting.cancel()
        after = built.submit(GenerationRequest([3], 1, GREEDY))
        running.cancel()
        assert [delta.finish_reason async for delta in after][-1] is not None


async def test_a_vector_is_the_masked_mean_of_the_hidden_states_at_length_one(embedder: Path) -> None:
    reference: Any = AutoModel.from_pretrained(embedder)
    sequences = [[258, *range(n)] for n in (3, 40, 11, 1)]
    async with engine(embedder) as built:
        assert isinstance(built, SequenceEncoder)
        rows = await built.encode(sequences)
    for row, sequence in zip(rows, sequences, strict=True):
        with torch.inference_mode():
            mean = reference(torch.tensor([sequence])).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(row, (mean / mean.norm()).numpy(), atol=1e-5)


@pytest.mark.parametrize(("pooling", "wanted"), [("cls", 1), ("lasttoken", 3), ("max", 3), ("mean", 2)])
def test_pooling_never_sees_the_padding(pooling: Pooling, wanted: float) -> None:
    hidden = torch.tensor([[[1.0], [2.0], [3.0], [99.0]]])
    assert pool(hidden, torch.tensor([[1, 1, 1, 0]]), pooling).item() == wanted


async def test_batches_hold_every_sequence_once_within_the_budget() -> None:
    jobs = [EncodingJob([[0] * n for n in lengths]) for lengths in ([5, 90, 1], [7], [40, 40, 3])]
    made = list(batches(jobs, 50))
    assert sorted(len(j.sequences[i]) for batch in made for j, i in batch) == [1, 3, 5, 7, 40, 40, 90]
    assert all(len(b) == 1 or len(b) * max(len(j.sequences[i]) for j, i in b) <= 50 for b in made)
