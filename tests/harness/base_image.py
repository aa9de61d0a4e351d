"""The image that images are built on where no public registry can be reached: Debian with Python, from apt's mirror."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.harness import buildah, packages
from tests.harness.lock import exclusive
from tests.harness.progress import HarnessError, last_line, step, tail
from tests.harness.tools import cache_dir

SUITE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
UNNEEDED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
DOCKERFILE = "FROM scratch\nCOPY . /\n"
TAG = hashlib.sha256(repr((SUITE, PACKAGES, UNNEEDED, DOCKERFILE)).encode()).hexdigest()[:12]
IMAGE = f"penstock/base:{TAG}"
NAME = f"localhost/{IMAGE}"  # as the value of BASE_IMAGE


def ensure() -> None:
    """Makes the image when buildah's store lacks it, in about a minute. Raises HarnessError when Debian is silent."""
    with exclusive(cache_dir() / "base-image.lock", waiting="waiting for another program that makes the base image"):
        if not buildah.has(IMAGE):
            _make()


def _make() -> None:
    packages.ensure(packages.IMAGES)
    log = cache_dir() / "debootstrap.log"
    with step(f"making the base image from Debian {SUITE}, about a minute; log: {log}", last_line(log)):
        _build(log)


def _build(log: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache_dir()) as folder:
        root = Path(folder) / "root"
        _bootstrap(root, log)
        for path in UNNEEDED:
            shutil.rmtree(root / path)
        dockerfile = Path(folder) / "Dockerfile"
        dockerfile.write_text(DOCKERFILE)
        buildah.build(dockerfile, IMAGE, context=root, build_args={})


def _bootstrap(root: Path, log: Path) -> None:
    with log.open("wb") as output:
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, root, *_mirror()],
            stdout=output,
            stderr=output,
            check=False,
        )
    if done.returncode:
        raise HarnessError(f"debootstrap failed; the end of {log}:\n{tail(log)}")


def _mirror() -> list[str]:
    """The mirror that this machine's apt has for the suite; none leaves the choice to debootstrap."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    return debian_mirrors(done.stdout)[:1]


def debian_mirrors(targets: str) -> list[str]:
    """The addresses of Debian itself among lines of origin, code name and address: others name their suites alike."""
    return [line.split()[-1] for line in targets.splitlines() if line.startswith(f"Debian {SUITE} ")]
