"""The image that images are built on where no public registry can be reached: Debian with Python, from apt's mirror."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.harness import buildah, packages
from tests.harness.progress import HarnessError, progress
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
    if buildah.has(IMAGE):
        return
    packages.ensure(packages.IMAGES)
    progress(f"making the base image {IMAGE} from Debian {SUITE}, about a minute")
    with tempfile.TemporaryDirectory(dir=cache_dir()) as folder:
        root = Path(folder) / "root"
        _bootstrap(root)
        for path in UNNEEDED:
            shutil.rmtree(root / path)
        dockerfile = Path(folder) / "Dockerfile"
        dockerfile.write_text(DOCKERFILE)
        buildah.build(dockerfile, IMAGE, context=root, build_args={})


def _bootstrap(root: Path) -> None:
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, root, *_mirror()],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise HarnessError(f"debootstrap failed:\n{done.stdout[-1500:]}{done.stderr[-500:]}")


def _mirror() -> list[str]:
    """The mirror that this machine's apt has for the suite; none leaves the choice to debootstrap."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(f"{SUITE} ")]
    return found[:1]
