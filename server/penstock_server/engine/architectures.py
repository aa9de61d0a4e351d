"""Which models are served, and for what. Needs no torch, so that a hopeless model is refused at once."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from penstock_server.engine.protocol import Task

TaskChoice = Literal["auto", "text-generation", "text-classification", "embeddings"]

# Decoder-only families of the Llama shape, and GPT-2.
GENERATIVE = frozenset(
    {
        "GPT2LMHeadModel",
        "Gemma2ForCausalLM",
        "Gemma3ForCausalLM",
        "GemmaForCausalLM",
        "LlamaForCausalLM",
        "MistralForCausalLM",
        "Phi3ForCausalLM",
        "Qwen2ForCausalLM",
        "Qwen3ForCausalLM",
        "SmolLM3ForCausalLM",
    }
)
CLASSIFIER_SUFFIX = "ForSequenceClassification"
ENCODER_SUFFIXES = ("Model", "ForMaskedLM")


class UnsupportedModel(Exception):
    """The model's files are readable, but this server has no support for them; str() says what is supported."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a model directory holds, as far as its small files say."""

    architecture: str
    task: Task


def identify(directory: Path, wanted: TaskChoice) -> Identity:
    """What to serve a directory for. Raises UnsupportedModel."""
    name = architecture(read_config(directory))
    task = choose_task(wanted, name, directory)
    refuse_pickles(directory)
    return Identity(name, task)


def read_config(directory: Path) -> dict[str, Any]:
    """config.json of a model directory. Raises UnsupportedModel when it is missing or not a model's."""
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError:
        raise UnsupportedModel("the model directory has no config.json: it must be a Hugging Face model") from None
    except (OSError, ValueError) as error:
        raise UnsupportedModel(f"config.json cannot be read: {error}") from None
    if not isinstance(config, dict):
        raise UnsupportedModel("config.json is not a JSON object")
    return config


def architecture(config: dict[str, Any]) -> str:
    """The first of `architectures`."""
    names = config.get("architectures") or []
    if not names:
        raise UnsupportedModel("config.json names no architectures")
    return str(names[0])


def detect(name: str, directory: Path) -> Task:
    """What a model is for, by its architecture and its sentence-transformers files."""
    if (directory / "modules.json").is_file():
        return Task.EMBEDDINGS
    if name.endswith(CLASSIFIER_SUFFIX):
        return Task.TEXT_CLASSIFICATION
    if name in GENERATIVE:
        return Task.TEXT_GENERATION
    if name.endswith(ENCODER_SUFFIXES):
        return Task.EMBEDDINGS
    raise UnsupportedModel(f"architecture {name} is not supported; {_supported()}")


def choose_task(wanted: TaskChoice, name: str, directory: Path) -> Task:
    """The task to serve. Raises UnsupportedModel when the architecture cannot do it."""
    if wanted == "auto":
        return detect(name, directory)
    task = Task(wanted)
    if task is Task.TEXT_GENERATION and name not in GENERATIVE:
        raise UnsupportedModel(f"architecture {name} cannot generate text here; {_supported()}")
    if task is Task.TEXT_CLASSIFICATION and not name.endswith(CLASSIFIER_SUFFIX):
        raise UnsupportedModel(f"architecture {name} has no classification head ({CLASSIFIER_SUFFIX})")
    return task


def refuse_pickles(directory: Path) -> None:
    """Raises UnsupportedModel unless the weights are safetensors. Pickles can run code when they are loaded."""
    if any(directory.glob("*.safetensors")):
        return
    others = sorted(
        path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl") for path in directory.glob(pattern)
    )
    found = f"found {', '.join(others[:3])}, which can run code when loaded" if others else "there are none"
    raise UnsupportedModel(f"only safetensors weights are served, and {found}: convert the model to safetensors")


def _supported() -> str:
    return (
        f"supported are {', '.join(sorted(GENERATIVE))} for text, *{CLASSIFIER_SUFFIX} for classification, and encoders"
    )
