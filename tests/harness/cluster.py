"""The one way to a cluster: `up`, `down`, `status`, `prune`; one cluster per profile and machine."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from tests.harness import existing, kind, local, requirements
from tests.harness.control_plane import HPA_SYNC_SECONDS
from tests.harness.handle import Cluster, KubectlError
from tests.harness.lock import exclusive
from tests.harness.progress import HarnessError, progress
from tests.harness.tools import cache_dir

__all__ = [
    "PROFILES",
    "PROVIDERS",
    "CannotRunHere",
    "Cluster",
    "HarnessError",
    "KubectlError",
    "down",
    "prune",
    "running",
    "status",
    "up",
]

PROFILES = ("control-plane", "node")
PROVIDERS = ("existing", "kind", "local")


class CannotRunHere(HarnessError):
    """This machine lacks something that the cluster needs."""


def up(profile: str, provider: str | None = None, *, hpa_sync_seconds: int = HPA_SYNC_SECONDS) -> Cluster:
    """The cluster of that profile: the running one when it is healthy, else a new one.

    `provider` is one of PROVIDERS, or None for kind where it works and local elsewhere; a running cluster must be of
    the provider named. Raises CannotRunHere before any work, HarnessError when starting fails.
    """
    with _locked(profile):
        found = _load(profile)
        if found and provider not in {None, found.provider}:
            raise HarnessError(
                f"the {profile} cluster is there by {found.provider!r}: run `down` before --cluster {provider}"
            )
        # An existing one is asked for by KUBECONFIG, which may name another one by now.
        if found and found.provider != "existing" and _is_healthy(found):
            return found
        chosen = provider or (found.provider if found else _choose())
        reason = requirements.missing(chosen, profile)
        if reason:
            raise CannotRunHere(reason)
        cluster = _start(chosen, profile, hpa_sync_seconds)
        _file(profile).write_text(json.dumps(asdict(cluster), default=str))
        return cluster


def named_provider() -> str | None:
    """The provider that PENSTOCK_CLUSTER asks for; None when it leaves the choice to `up`. Raises HarnessError."""
    name = os.environ.get("PENSTOCK_CLUSTER") or "auto"
    if name not in {"auto", *PROVIDERS}:
        raise HarnessError(f"PENSTOCK_CLUSTER is {name!r}, and must be auto, {', '.join(PROVIDERS)}")
    return None if name == "auto" else name


def down(profile: str, *, with_copies: bool = False) -> None:
    """Stops and removes the cluster of that profile, also a crashed or half-started one; its logs stay.

    `with_copies` takes those along that tests side by side have made, and leave only when they are killed.
    """
    with _locked(profile):
        found = _load(profile)
        if found and found.provider == "kind":
            kind.down(profile, state(profile))
        if found and found.provider == "existing":
            progress("the cluster is not ours to stop")
        local.down(profile, state(profile))
        for copy in state(profile).parent.glob(f"{profile}-*/") if with_copies else ():
            local.down(profile, copy)


def load_image(profile: str, image: str) -> None:
    """Copies an image from Docker to the nodes of a kind cluster; the other providers pull from a registry."""
    kind.load_image(profile, state(profile), image)


def running(profile: str) -> Cluster | None:
    """The cluster of that profile when it is there and healthy."""
    found = _load(profile)
    return found if found and _is_healthy(found) else None


def status() -> dict[str, str]:
    """Profile -> "not running", "crashed" or where it is."""
    return {profile: _describe(profile) for profile in PROFILES}


def prune() -> None:
    """Empties the cache folder: programs, images, logs, downloads. Raises HarnessError while a cluster is there."""
    for profile in PROFILES:
        if _load(profile):
            raise HarnessError(
                f"the {profile} cluster runs from the cache: stop it first with `down --profile {profile}`"
            )
        down(profile, with_copies=True)
    for path in cache_dir().glob("*"):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def state(profile: str) -> Path:
    """The folder of everything that belongs to the cluster of that profile.

    Control planes need no node, so that a machine can have several: PENSTOCK_CLUSTER_COPY names one of them.
    """
    copy = os.environ.get("PENSTOCK_CLUSTER_COPY") if profile == "control-plane" else None
    return cache_dir() / "clusters" / (f"{profile}-{copy}" if copy else profile)


def _start(provider: str, profile: str, hpa_sync_seconds: int) -> Cluster:
    progress(f"starting a {profile} cluster with provider {provider}")
    state(profile).mkdir(parents=True, exist_ok=True, mode=0o700)
    if provider == "existing":
        return existing.up(profile, state(profile))
    if provider == "kind":
        return kind.up(profile, state(profile))
    return local.up(profile, state(profile), hpa_sync_seconds=hpa_sync_seconds)


def _choose() -> str:
    return "kind" if requirements.docker_is_usable() else "local"


def _is_healthy(cluster: Cluster) -> bool:
    if cluster.provider == "local":
        return local.is_healthy(cluster.state)
    try:
        cluster.kubectl("get", "--raw", "/readyz", "--request-timeout=5s")
    except KubectlError:
        return False
    return True


def _describe(profile: str) -> str:
    found = _load(profile)
    if not found:
        return "not running"
    return f"{found.provider} at {found.api_url}" if _is_healthy(found) else f"{found.provider}, crashed"


def _load(profile: str) -> Cluster | None:
    """What `up` wrote last; written when all was ready, so that a half-started cluster has none."""
    if not _file(profile).exists():
        return None
    saved = json.loads(_file(profile).read_text())
    paths = {name: Path(saved[name]) for name in ("kubeconfig", "kubectl_path", "state")}
    return Cluster(**saved | paths | {"audit_log": saved["audit_log"] and Path(saved["audit_log"])})


def _file(profile: str) -> Path:
    return state(profile) / "cluster.json"


@contextmanager
def _locked(profile: str) -> Iterator[None]:
    lock = cache_dir() / "clusters" / f"{profile}.lock"
    with exclusive(lock, waiting=f"waiting for another program that starts or stops the {profile} cluster"):
        yield
