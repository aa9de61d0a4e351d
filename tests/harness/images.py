"""Builds container images from Dockerfiles and brings them to where the cluster pulls from.

With Docker where a daemon answers, else with buildah, which needs root and no daemon. An image's tag is the content of
all that its Dockerfile copies, so that nothing that is unchanged is built or pushed twice.

    python -m tests.harness.images    builds both images of this repository and brings them to the running node cluster
"""

import hashlib
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.harness import base_image, buildah, cluster, docker, registry, requirements
from tests.harness.handle import Cluster
from tests.harness.lock import exclusive
from tests.harness.progress import HarnessError, progress
from tests.harness.tools import REPOSITORY, cache_dir

DOCKERFILES = {
    "penstock/operator": REPOSITORY / "Dockerfile.operator",
    "penstock/server": REPOSITORY / "Dockerfile.server",
}


def build(
    dockerfile: Path, name: str, *, context: Path = REPOSITORY, build_args: Mapping[str, str] | None = None
) -> str:
    """Builds `name`, such as "penstock/server"; returns it with its tag. A no-op when that image is there.

    Raises HarnessError with the end of the build's output.
    """
    arguments = dict(build_args or {})
    # One at a time: a build ends with the removal of what failed ones left, and would take another's as such.
    with exclusive(cache_dir() / "image-builds.lock", waiting="waiting for another program that is building images"):
        return _build(dockerfile, name, context, arguments)


def _build(dockerfile: Path, name: str, context: Path, arguments: dict[str, str]) -> str:
    with_docker = docker.answers()
    if not with_docker:
        arguments.setdefault("BASE_IMAGE", base_image.NAME)
    image = f"{name}:{digest(dockerfile, context, arguments)}"
    if registry.has(image) or (docker if with_docker else buildah).has(image):
        return image
    if with_docker:
        progress(f"building {image} with Docker")
        docker.build(dockerfile, image, context=context, build_args=arguments)
        return image
    if arguments["BASE_IMAGE"] == base_image.NAME:
        base_image.ensure()
    buildah.build(dockerfile, image, context=context, build_args=arguments)
    return image


def ensure(found: Cluster) -> tuple[str, str]:
    """The operator's and the server's image of this repository, built and brought to the cluster."""
    _check(found)
    operator, server = (_bring(found, build(dockerfile, name)) for name, dockerfile in DOCKERFILES.items())
    return operator, server


def ensure_operator(found: Cluster) -> str:
    """The operator's alone, for clusters that run no model of ours."""
    _check(found)
    name = "penstock/operator"
    return _bring(found, build(DOCKERFILES[name], name))


def load(image: str) -> str:
    """Brings a built image to the running node cluster; returns the name under which its pods find it."""
    return _bring(_node_cluster(), image)


def _node_cluster() -> Cluster:
    found = cluster.running("node")
    if not found:
        raise HarnessError("no node cluster is running: start one with `python -m tests.harness up --profile node`")
    return found


def _check(found: Cluster) -> None:
    """Before minutes of building. Raises HarnessError where there is no way to bring an image to the cluster."""
    if found.provider == "existing":
        raise HarnessError(requirements.NO_IMAGES)


def _bring(found: Cluster, image: str) -> str:
    if found.provider == "kind":
        cluster.load_image("node", image)
        return image
    _check(found)
    return push(image)


def push(image: str) -> str:
    """Pushes a built image to the local registry; returns the name under which pods find it."""
    if not registry.has(image):
        (docker if docker.answers() else buildah).push(image, f"{registry.ADDRESS}/{image}")
        registry.keep_only(image)
    return f"{registry.ADDRESS}/{image}"


def digest(dockerfile: Path, context: Path, build_args: Mapping[str, str]) -> str:
    """Changes with the Dockerfile, the build arguments, and every file that the Dockerfile copies; 12 hex digits."""
    recipe = hashlib.sha256(dockerfile.read_bytes())
    recipe.update(repr(sorted(build_args.items())).encode())
    for file in sorted(set(_inputs(dockerfile.read_text(), context))):
        # The mode counts: a script that loses its x bit is another image.
        recipe.update(f"{file.relative_to(context)} {file.stat().st_mode:o} ".encode())
        recipe.update(hashlib.sha256(file.read_bytes()).digest())
    return recipe.hexdigest()[:12]


def copied(dockerfile: str) -> list[str]:
    """What the text of a Dockerfile copies from its context, as written there."""
    lines = dockerfile.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line) for line in lines if line.startswith(("COPY ", "ADD "))]
    own = [words[1:-1] for words in commands if not any(word.startswith("--from=") for word in words)]
    return [word for words in own for word in words if not word.startswith("--")]


def _inputs(dockerfile: str, context: Path) -> Iterator[Path]:
    for pattern in copied(dockerfile):
        for path in context.glob(pattern):
            files = path.rglob("*") if path.is_dir() else [path]
            yield from (file for file in files if file.is_file() and "__pycache__" not in file.parts)


def main() -> int:
    """Prints the name of each image in the cluster, one a line."""
    try:
        _check(_node_cluster())
        for name, dockerfile in DOCKERFILES.items():
            print(load(build(dockerfile, name)), flush=True)
    except HarnessError as error:
        progress(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
