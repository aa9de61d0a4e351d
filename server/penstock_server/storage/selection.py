"""Which files of a repository make up a model, and which are left where they are."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from penstock_server.storage.errors import Reason, StorageError

_WANTED_SUFFIXES = (".json", ".safetensors", ".jinja", ".tiktoken")
_WANTED_NAMES = frozenset({"vocab.txt", "merges.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"})
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_MAX_NAME_BYTES = 255


def is_wanted(path: str) -> bool:
    """Whether the server can use the file: weights as safetensors, configuration, tokenizer, chat template."""
    name = PurePosixPath(path).name
    if not _is_model_folder(PurePosixPath(path).parent):
        return False
    if name.startswith("consolidated"):  # Mistral's second copy of the same weights.
        return False
    if name.endswith(".index.json"):  # The indices of other formats point to files that are not fetched.
        return name.endswith(".safetensors.index.json")
    return name in _WANTED_NAMES or name.endswith(_WANTED_SUFFIXES)


def _is_model_folder(folder: PurePosixPath) -> bool:
    """Folders beside the model hold the same weights in other formats; only modules and templates belong to it."""
    if len(folder.parts) > 1:
        return False
    number, underscore, _ = folder.name.partition("_")
    is_sentence_transformers_module = bool(underscore) and number.isdecimal()
    return not folder.parts or is_sentence_transformers_module or folder.name == "additional_chat_templates"


def check_loadable(paths: Iterable[str], where: str) -> None:
    """Raise StorageError, with what to do about it, unless there are a configuration and safetensors weights."""
    names = sorted(paths)
    if not names:
        raise _unloadable(f"{where} is empty, or does not exist")
    pickles = [name for name in names if name.endswith(_PICKLES)]
    weights = [name for name in names if name.endswith(".safetensors") and is_wanted(name)]
    if pickles and not weights:
        raise _unloadable(
            f"{where} has weights only as pickles ({pickles[0]}), which can run code when they are loaded; "
            "save the model with safetensors"
        )
    if not weights:
        raise _unloadable(f"{where} has no *.safetensors file at its top level")
    if "config.json" not in names:
        raise _unloadable(f"{where} has no config.json at its top level")


def relative_path(key: str, prefix: str) -> str:
    """The path below the model's directory for an object; raises StorageError for a key that would leave it."""
    path = key.removeprefix(prefix)
    parts = path.split("/")
    if not key.startswith(prefix) or any(_is_unsafe(part) for part in parts):
        raise _unloadable(f"the object key {key!r} is no plain relative path; it is refused")
    return path


def _is_unsafe(part: str) -> bool:
    return part in {"", ".", ".."} or "\\" in part or not part.isprintable() or len(part.encode()) > _MAX_NAME_BYTES


def _unloadable(message: str) -> StorageError:
    return StorageError(Reason.MODEL_DOWNLOAD_FAILED, message)
