"""Image builds with Docker, where a daemon answers. Verified with Docker 20.10; what CI runs is buildah."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.harness.progress import HarnessError


@cache
def answers() -> bool:
    """Whether there is a Docker daemon; asked once in a program's life."""
    return bool(shutil.which("docker")) and _succeeds("info")


def has(image: str) -> bool:
    return _succeeds("image", "inspect", image)


def build(dockerfile: Path, image: str, *, context: Path, build_args: Mapping[str, str]) -> None:
    """Raises HarnessError when the build fails; its output goes to the terminal as it comes."""
    arguments = [f"--build-arg={name}={value}" for name, value in build_args.items()]
    _run("build", f"--file={dockerfile}", f"--tag={image}", *arguments, str(context))


def push(image: str, target: str) -> None:
    _run("tag", image, target)
    _run("push", "--quiet", target)


def _run(*arguments: str) -> None:
    # The Dockerfiles mount caches, which the builder that is Docker's default before version 23 cannot do.
    environment = os.environ | {"DOCKER_BUILDKIT": "1"}
    if subprocess.run(["docker", *arguments], env=environment, stdout=subprocess.DEVNULL, check=False).returncode:
        raise HarnessError(f"docker {arguments[0]} failed")


def _succeeds(*arguments: str) -> bool:
    return subprocess.run(["docker", *arguments], capture_output=True, check=False).returncode == 0
