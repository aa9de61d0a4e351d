"""Where a model is: the forms of `storageUri` that the server knows, parsed once."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from penstock_server.storage.errors import Reason, StorageError

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SUPPORTED = "file:///path, a plain path, pvc://claim/path and s3://bucket/prefix"
MAX_URI_CHARACTERS = 2048


@dataclass(frozen=True, slots=True)
class LocalDirectory:
    """`file:///path` or a plain path."""

    path: Path


@dataclass(frozen=True, slots=True)
class Claim:
    """`pvc://claim/path`: a PersistentVolumeClaim, which only the operator can mount."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """`s3://bucket/prefix`."""

    name: str
    prefix: str  # empty, or ends in "/": the sibling "prefix-2/…" is not part of the model


Location = LocalDirectory | Claim | Bucket


def parse(uri: str) -> Location:
    """Parse a model's address; raises StorageError(InvalidStorageUri).

    Messages never repeat the address: people paste credentials into it.
    """
    if not uri or len(uri) > MAX_URI_CHARACTERS or _CONTROL.search(uri):
        raise _invalid(f"an address has 1 to {MAX_URI_CHARACTERS} characters, none of them control characters")
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return LocalDirectory(Path(uri))
    match scheme:
        case "file":
            return _local_directory(rest)
        case "pvc":
            return _claim(rest)
        case "s3":
            return _bucket(rest)
    raise _invalid(f"this scheme is not supported; supported are {_SUPPORTED}")


def _local_directory(rest: str) -> LocalDirectory:
    path = unquote(rest, errors="replace")
    if not path.startswith("/") or _CONTROL.search(path):
        raise _invalid("a file address has three slashes and no host: file:///path")
    return LocalDirectory(Path(path))


def _claim(rest: str) -> Claim:
    name, _, path = rest.partition("/")
    if not name:
        raise _invalid("a claim's address is pvc://claim/path")
    return Claim(name, path)


def _bucket(rest: str) -> Bucket:
    name, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(name):
        raise _invalid("a bucket's address is s3://bucket/prefix; credentials belong into the environment, not into it")
    stripped = prefix.strip("/")
    return Bucket(name, f"{stripped}/" if stripped else "")


def _invalid(explanation: str) -> StorageError:
    return StorageError(Reason.INVALID_STORAGE_URI, f"storageUri: {explanation}")
