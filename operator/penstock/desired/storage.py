"""Where the model's files come from, as volumes, mounts and the server's `--model`."""

from typing import Any

from penstock import names

_CACHE = "cache"
_TMP = "tmp"
_MODEL = "model"
_PVC = "pvc://"


def location(storage_uri: str) -> str:
    """The server's `--model`: a claim is a mounted directory, everything else is fetched or opened by its URI."""
    return names.MODEL_DIR if storage_uri.startswith(_PVC) else storage_uri


def volumes(storage_uri: str) -> list[dict[str, Any]]:
    """Scratch space for a server whose root is read-only, and the model's claim if it comes from one."""
    scratch = [{"name": _CACHE, "emptyDir": {}}, {"name": _TMP, "emptyDir": {}}]
    if not storage_uri.startswith(_PVC):
        return scratch
    claim, _ = _claim(storage_uri)
    return [*scratch, {"name": _MODEL, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}]


def mounts(storage_uri: str) -> list[dict[str, Any]]:
    scratch = [{"name": _CACHE, "mountPath": names.CACHE_DIR}, {"name": _TMP, "mountPath": "/tmp"}]  # noqa: S108
    if not storage_uri.startswith(_PVC):
        return scratch
    _, path = _claim(storage_uri)
    sub_path = {"subPath": path} if path else {}
    return [*scratch, {"name": _MODEL, "mountPath": names.MODEL_DIR, "readOnly": True, **sub_path}]


def _claim(storage_uri: str) -> tuple[str, str]:
    claim, _, path = storage_uri.removeprefix(_PVC).partition("/")
    return claim, path.strip("/")
