"""How to reach the cluster: as a kubeconfig says, read as kubectl reads it, or as the ServiceAccount of a pod.

The official loader would do the same, but only with the whole client around it, which takes ten times as long to load
as all that a command does (docs/decisions/0010). Only an `auth-provider` is left to it.
"""

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

DEFAULT_NAMESPACE: Final = "default"
_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# libyaml, where PyYAML was built with it: kubeconfigs of a hundred clusters are not rare.
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# The files, each with the folder that its relative paths start from.
_Files: TypeAlias = Sequence[tuple[Path, Mapping[str, Any]]]


class Unusable(Exception):
    """The cluster cannot be reached so; the message says why in one line."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API server is, and what is shown to it. Certificates and keys are PEM."""

    server: str
    namespace: str = DEFAULT_NAMESPACE
    authority: bytes | None = None  # None: those of the system
    is_verified: bool = True
    server_name: str | None = None  # the name in the server's certificate; None: its host
    proxy: str | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def load(kubeconfig: str | None, context: str | None, environ: Mapping[str, str] = os.environ) -> Access:
    """Raises Unusable."""
    paths = kubeconfig or environ.get("KUBECONFIG") or "~/.kube/config"
    there = [path for path in map(_expanded, paths.split(os.pathsep)) if _is_there(path)]
    if there:
        try:
            return _access(there, context)
        # What is no kubeconfig at all fails anywhere.
        except (yaml.YAMLError, OSError, TypeError, ValueError, AttributeError, KeyError, Unusable) as error:
            where = ", ".join(map(str, there))
            why = f"it has no {error.args[0]}" if isinstance(error, KeyError) else error
            raise Unusable(f"the kubeconfig at {where} cannot be used: {why}") from error
    if kubeconfig or context:
        raise Unusable(f"there is no kubeconfig at {paths}")
    if not environ.get("KUBERNETES_SERVICE_HOST") or not (_ACCOUNT / "token").is_file():
        raise Unusable(f"there is no kubeconfig at {paths}, and this is no pod")
    return _in_a_pod(environ)


def bearer(token: str) -> Mapping[str, str]:
    """Raises Unusable, without the token: an error about the header would show it."""
    word = token.strip()
    if not word.isascii() or not word.isprintable():
        raise Unusable("its token is not one line of ASCII")
    return {"Authorization": f"Bearer {word}"}


def _is_there(path: Path) -> bool:
    """A pipe is a kubeconfig too. One in a folder that may not be read fails when it is opened, with its name."""
    try:
        return path.exists() and not path.is_dir()
    except PermissionError:
        return True


def _expanded(path: str) -> Path:
    return Path(path).expanduser()


def _in_a_pod(environ: Mapping[str, str]) -> Access:
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        authority=(_ACCOUNT / "ca.crt").read_bytes(),
        headers=bearer((_ACCOUNT / "token").read_text()),
    )


def _access(paths: Sequence[Path], context: str | None) -> Access:
    files = [(path.absolute().parent, yaml.load(path.read_text(), _Loader) or {}) for path in paths]  # noqa: S506 - it is the safe one.
    name = context or next((found for _, file in files if (found := file.get("current-context"))), None)
    if not name:
        raise Unusable("it has no current-context")
    _, chosen = _named(files, "context", name)
    cluster_folder, cluster = _named(files, "cluster", chosen["cluster"])
    access = Access(
        server=cluster["server"].rstrip("/"),
        namespace=str(chosen.get("namespace") or DEFAULT_NAMESPACE),
        authority=_content(cluster, "certificate-authority", cluster_folder),
        is_verified=not _is_insecure(cluster),
        server_name=cluster.get("tls-server-name") or None,
        proxy=cluster.get("proxy-url") or None,
    )
    if not chosen.get("user"):
        return access
    user_folder, user = _named(files, "user", chosen["user"])
    if user.get("as"):
        raise Unusable(f"it asks to act as {user['as']}, which penstock cannot")
    if "auth-provider" in user:
        from penstock.cli import auth_provider  # noqa: PLC0415 - it loads the whole client.

        return replace(access, headers=auth_provider.headers(paths, name))
    if "exec" in user:
        from penstock.cli import credential_plugin  # noqa: PLC0415 - few need it.

        return credential_plugin.authenticated(access, user["exec"], user_folder)
    return _authenticated(access, user, user_folder)


def _is_insecure(cluster: Mapping[str, Any]) -> bool:
    asked = cluster.get("insecure-skip-tls-verify") or False
    if not isinstance(asked, bool):
        raise Unusable(f"insecure-skip-tls-verify must be true or false, not {asked!r}")
    return asked


def _named(files: _Files, kind: str, name: str) -> tuple[Path, Mapping[str, Any]]:
    """The entry of that name, and the folder of its file: the first file that has one, as for kubectl."""
    for folder, file in files:
        for entry in file.get(f"{kind}s") or []:
            if entry["name"] == name:
                return folder, entry[kind] or {}
    raise Unusable(f"it has no {kind} {name}")


def _content(entry: Mapping[str, Any], key: str, folder: Path) -> bytes | None:
    """What stands in the entry as `KEY-data`, else in the file that it names as `KEY`."""
    if entry.get(f"{key}-data"):
        return base64.b64decode("".join(entry[f"{key}-data"].split()), validate=True)
    return (folder / _expanded(entry[key])).read_bytes() if entry.get(key) else None


def _authenticated(access: Access, user: Mapping[str, Any], folder: Path) -> Access:
    headers = access.headers
    if user.get("tokenFile"):
        headers = bearer((folder / user["tokenFile"]).read_text())
    elif user.get("token"):
        headers = bearer(user["token"])
    elif user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}"
        headers = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return replace(
        access,
        certificate=_content(user, "client-certificate", folder),
        key=_content(user, "client-key", folder),
        headers=headers,
    )
