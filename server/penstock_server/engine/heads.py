"""From an encoder's output to one row per sequence: pooling for embeddings, scores for labels."""

import json
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from transformers import PretrainedConfig, PreTrainedModel

Pooling = Literal["mean", "cls", "lasttoken", "max"]
# sentence-transformers' switches in 1_Pooling/config.json.
POOLING_SWITCHES: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_max_tokens": "max",
}


class Head(Protocol):
    """Runs a model and reduces its output."""

    def __call__(self, model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`ids`, `mask` [n, tokens] int64, padded on the right; returns [n, columns] float32."""


class EmbeddingHead:
    """Pools hidden states in float32, whatever the model's dtype, and optionally scales rows to length 1."""

    def __init__(self, pooling: Pooling, *, normalized: bool) -> None:
        self.pooling = pooling
        self.normalized = normalized

    def __call__(self, model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Rows [n, hidden]."""
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        rows = pool(hidden, mask, self.pooling)
        return torch.nn.functional.normalize(rows, dim=-1) if self.normalized else rows


class ClassificationHead:
    """Label scores: softmax, or one sigmoid per label where labels do not exclude each other."""

    def __init__(self, *, exclusive: bool) -> None:
        self.exclusive = exclusive

    def __call__(self, model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Scores [n, labels]."""
        logits: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits.float()
        return logits.softmax(-1) if self.exclusive else logits.sigmoid()


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """`hidden` [n, tokens, width], `mask` [n, tokens]; returns [n, width]."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "lasttoken":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
    weights = mask[..., None].to(hidden.dtype)
    if pooling == "max":
        return hidden.masked_fill(weights == 0, float("-inf")).amax(1)
    return (hidden * weights).sum(1) / weights.sum(1)


def embedding_head(directory: Path) -> EmbeddingHead:
    """The model's own sentence-transformers pooling; mean over tokens, not normalised, where it has none.

    Raises ValueError for a pooling this server does not have.
    """
    modules = _modules(directory)
    kinds = [str(module.get("type", "")).rsplit(".", 1)[-1] for module in modules]
    unknown = sorted(set(kinds) - {"Transformer", "Pooling", "Normalize"})
    if unknown:
        raise ValueError(f"modules.json has {', '.join(unknown)}; supported are Transformer, Pooling and Normalize")
    pooling = next((m for m, kind in zip(modules, kinds, strict=True) if kind == "Pooling"), None)
    return EmbeddingHead(
        _pooling(directory / str(pooling["path"])) if pooling else "mean", normalized="Normalize" in kinds
    )


def classification_head(config: PretrainedConfig) -> ClassificationHead:
    """Softmax for exclusive labels; sigmoid for several labels at once, or for a single one."""
    return ClassificationHead(
        exclusive=config.problem_type != "multi_label_classification" and (config.num_labels or 0) > 1
    )


def _modules(directory: Path) -> list[dict[str, Any]]:
    path = directory / "modules.json"
    return list(json.loads(path.read_text())) if path.is_file() else []


def _pooling(directory: Path) -> Pooling:
    settings = json.loads((directory / "config.json").read_text())
    on = [key for key, value in settings.items() if key.startswith("pooling_mode_") and value is True]
    modes: list[Any] = [settings["pooling_mode"]] if isinstance(settings.get("pooling_mode"), str) else on
    names = [POOLING_SWITCHES.get(mode, mode) for mode in modes]
    for known in POOLING_SWITCHES.values():
        if names == [known]:
            return known
    raise ValueError(f"pooling {', '.join(names) or 'unset'} is not supported; use mean, cls, lasttoken or max")
