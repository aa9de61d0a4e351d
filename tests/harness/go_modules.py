"""Files out of the Go modules that `tools/*/go.mod` pin: the charts and CRDs that come with a program's source."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.harness import golang
from tests.harness.lock import exclusive
from tests.harness.progress import HarnessError
from tests.harness.tools import Tool, cache_dir, key


def folder(tool: Tool, module: str, path: str) -> Path:
    """The folder `path` of a module that the tool is built with; downloaded once, and checked against its go.sum.

    Nothing is compiled. Raises HarnessError when the module cannot be had.
    """
    target = cache_dir() / "modules" / f"{tool.name}-{key(tool)}" / module / path
    with exclusive(cache_dir() / "modules" / "lock", waiting="waiting for another program that downloads Go modules"):
        if not target.exists():
            _download(tool, module, path, target)
    return target


def _download(tool: Tool, module: str, path: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir() / "modules", prefix=".download-") as scratch:
        shutil.copytree(_unpacked(tool, module, Path(scratch)) / path, Path(scratch) / "wanted")
        # One rename, so that a folder that exists is complete whatever interrupts us.
        (Path(scratch) / "wanted").rename(target)


def _unpacked(tool: Tool, module: str, scratch: Path) -> Path:
    done = subprocess.run(
        [golang.toolchain(scratch, tool.module), "mod", "download", "-json", module],
        cwd=tool.module,
        env=golang.environment(scratch),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise HarnessError(f"the Go module {module} cannot be downloaded:\n{done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])
