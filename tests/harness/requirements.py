"""What this machine must have before long work starts."""

import os
import shutil
import subprocess
import sys

from tests.harness import tools
from tests.harness.tools import TOOLS, cache_dir

NODE_FREE_BYTES = 25 * 2**30  # images in buildah's, the registry's and containerd's stores
# What kind 0.33 is tested with; the name and the digest are from its own defaults.
KIND_IMAGE = "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
NO_IMAGES = (
    "images cannot be brought to a cluster of others: build both Dockerfiles, push the images to a registry that it "
    "pulls from, and install helm/penstock with --set image.repository=... and --set serverImage.repository=..."
)


def missing(provider: str, profile: str) -> str | None:
    """One line that says what is missing and why it is needed; None when nothing is."""
    if provider == "kind":
        return None if docker_is_usable() else "kind needs Docker that may run privileged containers"
    if provider == "existing":
        return None if os.environ.get("KUBECONFIG") else "--cluster existing needs KUBECONFIG to name the cluster"
    if sys.platform != "linux":
        return f"a local cluster runs Linux programs, and this is {sys.platform}; with Docker, use --cluster kind"
    if profile == "node":
        return _missing_for_a_node()
    return _missing_for_builds("kubernetes", "etcd", "kwok")


def _missing_for_a_node() -> str | None:
    if os.geteuid() != 0:
        return "a node needs root: containerd and the kubelet make namespaces, mounts and network interfaces"
    if _free_bytes() < NODE_FREE_BYTES and not (cache_dir() / "tools").exists():
        return f"a node's images need {NODE_FREE_BYTES >> 30} GiB free for {cache_dir()} (PENSTOCK_CACHE moves it)"
    return _missing_for_builds("kubernetes", "etcd", "registry", "coredns", "pause")


def _missing_for_builds(*names: str) -> str | None:
    if all(tools.folder(TOOLS[name]).exists() for name in names):
        return None
    if _free_bytes() < tools.FREE_BYTES_FOR_A_BUILD:
        return (
            f"building needs {tools.FREE_BYTES_FOR_A_BUILD >> 30} GiB free for {cache_dir()} (PENSTOCK_CACHE moves it)"
        )
    return None


def _free_bytes() -> int:
    cache_dir().mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(cache_dir()).free


def docker_is_usable() -> bool:
    """Whether Docker answers and starts a privileged container (of the image that kind needs anyway)."""
    if not shutil.which("docker") or not _succeeds("docker", "info"):
        return False
    return _succeeds("docker", "run", "--rm", "--privileged", "--entrypoint", "true", KIND_IMAGE, seconds=600)


def _succeeds(*command: str, seconds: float = 20) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=seconds, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
