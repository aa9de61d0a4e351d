"""Image builds without a daemon. buildah's store is in the cache, because building torch's layer takes minutes."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.harness import packages
from tests.harness.progress import HarnessError, last_line, step, tail
from tests.harness.tools import cache_dir

UV_CACHE = "var/cache/uv"  # where the Dockerfiles mount a cache for uv


def has(image: str) -> bool:
    packages.ensure(packages.IMAGES)
    return _call("inspect", "--type=image", _local(image)).returncode == 0


def build(dockerfile: Path, image: str, *, context: Path, build_args: Mapping[str, str]) -> None:
    """Builds with cached layers. Raises HarnessError with the end of the build's output."""
    packages.ensure(packages.IMAGES)
    _share_uv_cache()
    # The containers of failed builds keep their layers mounted. The caller lets nobody else build meanwhile.
    _call("rm", "--all")
    _run(
        f"building {image}",
        "build",
        # chroot: the one isolation that needs nothing that a container with root lacks.
        "--isolation=chroot",
        "--layers",
        *(f"--build-arg={name}={value}" for name, value in build_args.items()),
        *(f"--volume={path}:{path}:ro" for path in _trusted()),
        f"--file={dockerfile}",
        f"--tag={_local(image)}",
        str(context),
    )
    _forget_older(image)


def push(image: str, target: str) -> None:
    """Pushes to a registry on loopback; layers that it has are not sent."""
    # zstd at its quickest: the server's 6 GB are to be sent once, and the node unpacks them at once.
    flags = ("--tls-verify=false", "--compression-format=zstd", "--compression-level=1")
    _run(f"pushing {image} to the cluster's registry", "push", *flags, _local(image), f"docker://{target}")


def _forget_older(image: str) -> None:
    """Removes other tags of this name, with the layers that nothing else uses."""
    name = _local(image).rpartition(":")[0]
    listed = _call("images", "--format={{.Name}}:{{.Tag}}", "--filter", f"reference={name}").stdout.split()
    older = [tag for tag in listed if tag != _local(image)]
    if older:
        _call("rmi", *older)


def _trusted() -> list[str]:
    """This machine's certificates and installer settings: a build reaches the package index that the machine has."""
    candidates = ("/etc/ssl/certs", "/etc/pip.conf", "/etc/uv/uv.toml")
    return [path for path in candidates if Path(path).exists()]


def _share_uv_cache() -> None:
    """Makes uv's cache of this machine the one of the builds: torch's wheels are gigabytes, and often there."""
    shared = Path(os.environ.get("UV_CACHE_DIR") or cache_dir() / "uv")
    shared.mkdir(parents=True, exist_ok=True)
    mount = _folder() / "tmp" / "buildah-cache" / UV_CACHE
    mount.parent.mkdir(parents=True, exist_ok=True)
    if not mount.is_symlink():
        mount.symlink_to(shared)


def _run(title: str, *arguments: str) -> None:
    log = _folder() / f"{arguments[0]}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output, step(title, last_line(log)):
        done = subprocess.run(_command(*arguments), env=_environment(), stdout=output, stderr=output, check=False)
    if done.returncode:
        raise HarnessError(f"buildah {arguments[0]} failed; the end of {log}:\n{tail(log)}")


def _call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*arguments), env=_environment(), capture_output=True, text=True, check=False)


def _command(*arguments: str) -> list[str]:
    store = ["--root", f"{_folder()}/root", "--runroot", f"{_folder()}/run", "--storage-driver=overlay"]
    return ["buildah", *store, *arguments]


def _environment() -> dict[str, str]:
    # Layers are written there before they are stored, and mounts of type cache are kept there.
    (_folder() / "tmp").mkdir(parents=True, exist_ok=True)
    return os.environ | {"TMPDIR": str(_folder() / "tmp")}


def _local(image: str) -> str:
    return f"localhost/{image}"


def _folder() -> Path:
    return cache_dir() / "buildah"
