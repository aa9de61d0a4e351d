"""From an address to a directory with a model in it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from penstock_server.storage.errors import Progress, Reason, StorageError
from penstock_server.storage.uri import Bucket, Claim, LocalDirectory, parse


def fetch(
    uri: str,
    *,
    into: Path,
    progress: Callable[[Progress], None],
    env: Mapping[str, str],
    stall_seconds: float = 60.0,
) -> Path:
    """Return the local directory of the model at `uri`, downloading it below `into` when it is remote.

    Blocks. `progress` is called on the calling thread, several times a second; an exception it raises cancels the
    fetch and is raised from it, and what was downloaded so far is kept for the next one. `env` holds the credentials
    and endpoints, under the names that the source's own clients use.
    Raises StorageError. A directory that is returned is always whole.
    """
    match parse(uri):
        case LocalDirectory(path):
            return _existing(path)
        case Claim(name):
            raise StorageError(Reason.INVALID_STORAGE_URI, _MOUNT_THE_CLAIM.format(name=name))
        case Bucket() as bucket:
            # Imported only for a bucket, because boto3 takes 30 MB and half a second.
            from penstock_server.storage.download import download  # noqa: PLC0415

            return download(bucket, into=into, progress=progress, env=env, stall_seconds=stall_seconds)


_MOUNT_THE_CLAIM = (
    "pvc://: the model server cannot mount the claim {name!r} itself. The operator mounts it and starts the server "
    "with --model=/mnt/models; without the operator, mount the volume and give its path"
)


def _existing(path: Path) -> Path:
    if not path.is_dir():
        raise StorageError(Reason.MODEL_DOWNLOAD_FAILED, f"there is no directory {path} on this machine")
    return path
