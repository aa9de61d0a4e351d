"""Random models of a few thousand parameters, saved as real model directories with byte-level tokenizers."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

END = 256  # follows the 256 bytes
VOCABULARY = 260
CONTEXT = 512
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' and loop.first %}"
    "{{ raise_exception('the user speaks first') }}{% endif %}"
    "<{{ m['role'] }}>{{ m['content'] }}{% endfor %}<assistant>"
)


def byte_tokenizer(**extra: Any) -> PreTrainedTokenizerFast:
    """One token per byte, so that characters split across tokens as often as they can."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {char: index for index, char in enumerate(alphabet)} | {"<end>": END, "<pad>": 257, "<cls>": 258}
    rust = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    if extra.pop("cls", False):
        rust.post_processor = processors.TemplateProcessing(single="<cls> $A", special_tokens=[("<cls>", 258)])
    return PreTrainedTokenizerFast(tokenizer_object=rust, eos_token="<end>", pad_token="<pad>", **extra)  # type: ignore[no-untyped-call]


def llama(directory: Path) -> Path:
    """A chat model."""
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        eos_token_id=END,
        bos_token_id=None,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(directory)
    byte_tokenizer(chat_template=TEMPLATE).save_pretrained(directory)
    return directory


def gpt2(directory: Path, *, layers: int = 2) -> Path:
    """The second shape; no chat template. More layers only make it slower."""
    torch.manual_seed(2)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=layers,
        n_head=4,
        n_positions=CONTEXT,
        eos_token_id=END,
        bos_token_id=END,
    )
    GPT2LMHeadModel(config).save_pretrained(directory)
    byte_tokenizer().save_pretrained(directory)
    return directory


def embedder(directory: Path, *, pooling: str = "pooling_mode_mean_tokens", normalized: bool = True) -> Path:
    """A sentence-transformers model."""
    torch.manual_seed(3)
    BertModel(_bert()).save_pretrained(directory)
    byte_tokenizer(cls=True, model_max_length=128).save_pretrained(directory)
    kinds = ["Transformer", "Pooling"] + ["Normalize"] * normalized
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": f"1_{kind}"} for kind in kinds]
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text(json.dumps({pooling: True, "pooling_mode_none": False}))
    return directory


def classifier(directory: Path) -> Path:
    """Three labels."""
    torch.manual_seed(4)
    config = _bert(id2label={0: "bad", 1: "fair", 2: "good"}, label2id={"bad": 0, "fair": 1, "good": 2})
    BertForSequenceClassification(config).save_pretrained(directory)
    byte_tokenizer(cls=True, model_max_length=128).save_pretrained(directory)
    return directory


def _bert(**extra: Any) -> BertConfig:
    return BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        initializer_range=0.2,
        **extra,
    )
