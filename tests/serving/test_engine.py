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
from penstock_server.engine.devices import threads
from penstock_server.engine.encoding import EncodingJob, SequenceEncoder, batches
from penstock_server.engine.generation import GenerationEngine
from penstock_server.engine.heads import Pooling, pool
from penstock_server.engine.protocol import EngineFailed, GenerationRequest, QueueFull, Sampling
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


async def test_what_runs_when_the_engine_is_closed_is_told(gpt2: Path) -> None:
    async with engine(gpt2) as built:
        running = built.submit(GenerationRequest([1], 400, GREEDY))
        await anext(aiter(running))
        built.close()
        with pytest.raises(EngineFailed):
            [delta async for delta in running]


async def test_numbers_that_are_not_finite_are_an_error_and_never_an_answer(embedder: Path, llama: Path) -> None:
    async with engine(embedder) as built:
        built._model.get_input_embeddings().weight.data[65] = float("nan")
        with pytest.raises(EngineFailed, match="not finite"):
            await built.encode([[65]])
        assert np.isfinite(await built.encode([[66]])).all()
    async with engine(llama) as built:
        built._model.get_input_embeddings().weight.data[65] = float("nan")
        with pytest.raises(EngineFailed, match="not finite"):
            [delta async for delta in built.submit(GenerationRequest([65], 5, GREEDY))]


@pytest.mark.parametrize(
    ("files", "membership", "wanted"),
    [
        pytest.param({}, "", 2, id="no limit"),
        pytest.param({"cpu.max": "max 100000"}, "0::/", 2, id="v2 without a limit"),
        pytest.param({"cpu.max": "50000 100000"}, "0::/", 1, id="half a CPU"),
        pytest.param({"cpu.max": "120000 100000"}, "0::/", 2, id="a CPU and a bit"),
        pytest.param({"a/cpu.max": "90000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 1, id="the pod's limit"),
        pytest.param({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, "2:cpu:/x", 1, id="v1"),
        pytest.param({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "2:cpu:/", 2, id="v1, none"),
    ],
)
def test_threads_are_as_many_as_the_container_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], membership: str, wanted: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "membership").write_text(membership)
    assert threads(tmp_path, tmp_path / "membership") == wanted
