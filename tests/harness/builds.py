"""Go programs, compiled: everything that one module builds in one run of the compiler, so that it compiles once."""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.harness import golang
from tests.harness.progress import HarnessError, step, tail

_DOWNLOADING = "go: downloading "


def build(scratch: Path, module: Path, packages: Sequence[str], *, ldflags: str, log: Path, title: str) -> Path:
    """Builds these packages of one module; returns a folder below `scratch` with a program for each.

    Raises HarnessError with what the compiler said.
    """
    go = golang.toolchain(scratch, module)
    programs = Path(tempfile.mkdtemp(dir=scratch, prefix="programs-"))
    # The linker leaves debug information out (-w): so it need not be compiled.
    arguments = ("-v", "-gcflags=all=-dwarf=false", "-ldflags", ldflags, "-o", f"{programs}/", *packages)
    log.write_text("")
    with step(f"fetching the Go modules of {title}; log: {log}", lambda: f"{_downloaded(log)} modules"):
        listed = _go(go, scratch, module, log, "list", "-deps", *packages)
    total = len(listed.splitlines())
    with step(f"building {title}", lambda: f"{_compiled(log)} of {total} packages"):
        _go(go, scratch, module, log, "build", *arguments)
    return programs


def name(package: str) -> str:
    """How Go names the program of a package: as the last part of its path."""
    return package.rpartition("/")[2]


def keep(built: Path, programs: Mapping[str, str], target: Path) -> None:
    """Moves programs (name -> package) into the new folder `target`, which is there complete or not at all."""
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=".building-"))
    try:
        for program, package in programs.items():
            file = folder / name(package)
            if not file.exists():
                (built / name(package)).rename(file)
            if program != file.name:
                (folder / program).symlink_to(file.name)
        # One rename, so that a folder that exists is complete whatever interrupts us.
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _go(go: Path, scratch: Path, module: Path, log: Path, *arguments: str) -> str:
    with log.open("a") as output:
        done = subprocess.run(
            # nice: who waits for a build goes on working meanwhile.
            ["nice", go, *arguments],
            cwd=module,
            env=golang.environment(scratch),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            check=False,
        )
    if done.returncode:
        raise HarnessError(
            f"go {arguments[0]} failed in {module}; the end of {log}:\n{tail(log)}\n{done.stdout[-2000:]}"
        )
    return done.stdout


def _downloaded(log: Path) -> int:
    return sum(line.startswith(_DOWNLOADING) for line in _lines(log))


def _compiled(log: Path) -> int:
    return sum(not line.startswith("go: ") for line in _lines(log))


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()
