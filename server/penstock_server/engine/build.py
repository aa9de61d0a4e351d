"""From a model directory to a running engine."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from penstock_server.engine import devices
from penstock_server.engine.architectures import (
    Identity,
    UnsupportedModel,
)
from penstock_server.engine.encoding import SequenceEncoder
from penstock_server.engine.generation import GenerationEngine
from penstock_server.engine.heads import Head, classification_head, embedding_head
from penstock_server.engine.protocol import EncodingEngine, ModelInfo, Sampling, Task, TextEngine
from penstock_server.engine.tokens import Tokens

log = structlog.get_logger(__name__)

LOADERS: dict[Task, Any] = {
    Task.TEXT_GENERATION: AutoModelForCausalLM,
    Task.TEXT_CLASSIFICATION: AutoModelForSequenceClassification,
    Task.EMBEDDINGS: AutoModel,
}
# A tokenizer without a limit of its own reports a number of this size.
NO_LIMIT = 10**9


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build, beside the directory."""

    identity: Identity
    dtype: devices.DType
    max_queue: int
    gpu_requested: bool
    on_batch: Callable[[int], None]


def build(directory: Path, plan: Plan) -> TextEngine | EncodingEngine:
    """Load a model and start its engine. Blocking.

    Raises UnsupportedModel for what this server does not serve; anything else (OSError, ValueError, RuntimeError) is
    a model whose files do not load.
    """
    task = plan.identity.task
    disable_progress_bar()  # type: ignore[no-untyped-call]
    device = _device(plan)
    tokenizer = _tokenizer(directory)
    model = _model(directory, task, devices.dtype(plan.dtype, device), device)
    info = _info(model, tokenizer, plan.identity, directory)
    if task is Task.TEXT_GENERATION:
        return GenerationEngine(
            model,
            Tokens(tokenizer),
            info,
            end_tokens=_end_tokens(model, tokenizer),
            max_queue=plan.max_queue,
            on_batch=plan.on_batch,
        )
    return SequenceEncoder(
        model,
        Tokens(tokenizer),
        _head(model, task, directory),
        info,
        pad_token=_pad_token(model, tokenizer),
        max_queue=plan.max_queue,
        on_batch=plan.on_batch,
    )


def _device(plan: Plan) -> torch.device:
    device = devices.device()
    if device.type == "cpu":
        torch.set_num_threads(devices.threads())
        if plan.gpu_requested:
            log.warning("a GPU was requested but CUDA is not available: running on the CPU")
    return device


def _tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    if not tokenizer.is_fast:
        raise UnsupportedModel("the model has no tokenizer.json, and its tokenizer cannot be converted to one")
    return tokenizer


def _model(directory: Path, task: Task, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    model = LOADERS[task].from_pretrained(
        directory, dtype=dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False
    )
    return model.eval().to(device)  # type: ignore[no-any-return]


def _info(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, identity: Identity, directory: Path) -> ModelInfo:
    classifies = identity.task is Task.TEXT_CLASSIFICATION
    embeddings: Any = model.get_input_embeddings()
    return ModelInfo(
        task=identity.task,
        architecture=identity.architecture,
        dtype=str(model.dtype).removeprefix("torch."),
        device=str(model.device),
        max_model_len=_max_model_len(model, tokenizer, directory),
        vocabulary=embeddings.weight.shape[0],
        defaults=_defaults(model) if identity.task is Task.TEXT_GENERATION else Sampling(),
        labels=_labels(model) if classifies else (),
        exclusive_labels=classifies and classification_head(model.config).exclusive,
        has_chat_template=bool(tokenizer.chat_template),
    )


def _labels(model: PreTrainedModel) -> tuple[str, ...]:
    return tuple(str(label) for _, label in sorted((model.config.id2label or {}).items()))


def _max_model_len(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, directory: Path) -> int:
    """Tokens: the smallest of the model's positions, its tokenizer's limit and sentence-transformers' own."""
    limits = [tokenizer.model_max_length, _positions(model)]
    sentence = directory / "sentence_bert_config.json"
    if sentence.is_file():
        limits.append(json.loads(sentence.read_text()).get("max_seq_length"))
    known = [int(limit) for limit in limits if limit and limit < NO_LIMIT]
    if not known:
        raise UnsupportedModel("neither the model's config nor its tokenizer says how long a text may be")
    return min(known)


def _positions(model: PreTrainedModel) -> int | None:
    positions: int | None = getattr(model.config, "max_position_embeddings", None)
    table = next((m for n, m in model.named_modules() if n.endswith("position_embeddings")), None)
    # RoBERTa and its kin count positions from the padding token's id on, so the first rows are never used.
    padding = getattr(table, "padding_idx", None)
    return positions - padding - 1 if positions and padding is not None else positions


def _defaults(model: PreTrainedModel) -> Sampling:
    """Sampling as the model's makers advise in generation_config.json, where they do."""
    stated = model.generation_config.to_diff_dict() if model.generation_config else {}
    names = ("temperature", "top_p", "top_k", "repetition_penalty")
    return Sampling(**{name: stated[name] for name in names if stated.get(name) is not None})


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    stated = model.generation_config.eos_token_id if model.generation_config else None
    ids = stated if isinstance(stated, list) else [stated]
    return frozenset(int(i) for i in [*ids, tokenizer.eos_token_id] if i is not None)


def _head(model: PreTrainedModel, task: Task, directory: Path) -> Head:
    if task is Task.TEXT_CLASSIFICATION:
        return classification_head(model.config)
    try:
        return embedding_head(directory)
    except (OSError, ValueError, KeyError) as error:
        raise UnsupportedModel(f"sentence-transformers files: {error}") from error


def _pad_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """A decoder with a classification head finds the last token by the padding's id, so the config must know it."""
    known = [model.config.pad_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, 0]
    model.config.pad_token_id = next(int(i) for i in known if i is not None)
    return int(model.config.pad_token_id)
