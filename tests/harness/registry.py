"""The image registry on loopback that the node pulls from and builds are pushed to."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.harness import tools
from tests.harness.data import filled
from tests.harness.processes import Processes
from tests.harness.progress import HarnessError, tail

PORT = 5000
ADDRESS = f"127.0.0.1:{PORT}"  # containerd and buildah take a registry on loopback as plain HTTP
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


def start(state: Path) -> None:
    """Starts the registry on what the cache holds and waits for it. Raises HarnessError when the port is taken."""
    processes = Processes(state)
    if processes.is_running("registry"):
        return
    _refuse_taken_port()
    program = tools.ensure("registry")["registry"]
    config = state / "registry.yaml"
    config.write_text(filled("registry.yaml", root=_root(), address=ADDRESS))
    # It ends with an error where nothing was ever pushed.
    if (_root() / "docker").exists():
        # Only a registry that is not running may collect: an upload under way would lose its layers.
        subprocess.run(
            [program, "garbage-collect", "--delete-untagged", "--quiet", config], check=True, capture_output=True
        )
    processes.start("registry", [program, "serve", config])
    _wait_until_it_answers(processes)


def has(image: str) -> bool:
    """Whether `name:tag` is in the registry; False when no registry runs."""
    name, _, tag = image.rpartition(":")
    return _answer(f"/v2/{name}/manifests/{tag}") is not None


def images() -> set[str]:
    """Every image as `127.0.0.1:5000/name:tag`; empty when no registry runs."""
    names = json.loads(_answer("/v2/_catalog") or "{}").get("repositories", [])
    return {f"{ADDRESS}/{name}:{tag}" for name in names for tag in _tags(name)}


def keep_only(image: str) -> None:
    """Forgets the other tags of this image's name; their layers go at the next start."""
    name, _, kept = image.rpartition(":")
    for tag in _tags(name):
        if tag != kept:
            # By tag, on disk: the API deletes by digest, and two tags may share one.
            shutil.rmtree(_root() / "docker/registry/v2/repositories" / name / "_manifests/tags" / tag)


def _tags(name: str) -> list[str]:
    return json.loads(_answer(f"/v2/{name}/tags/list") or "{}").get("tags") or []


def _answer(path: str) -> bytes | None:
    request = urllib.request.Request(f"http://{ADDRESS}{path}", headers={"Accept": MANIFESTS})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())
    except (urllib.error.URLError, ConnectionError):
        return None


def _refuse_taken_port() -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            raise HarnessError(f"port {PORT} on 127.0.0.1 is taken, and the local cluster's image registry needs it")


def _wait_until_it_answers(processes: Processes) -> None:
    deadline = time.monotonic() + 30
    while _answer("/v2/") is None:
        if not processes.is_running("registry") or time.monotonic() > deadline:
            raise HarnessError(f"the registry does not answer; the end of its log:\n{tail(processes.log('registry'))}")
        time.sleep(0.05)


def _root() -> Path:
    return tools.cache_dir() / "registry"
