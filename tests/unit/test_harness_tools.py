import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import golang, tools
from tests.harness.lock import exclusive
from tests.harness.progress import HarnessError, tail
from tests.harness.tools import TOOLS, Tool


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose tools may be edited, and an empty cache."""
    shutil.copytree(tools.REPOSITORY / "tools", tmp_path / "tools")
    monkeypatch.setattr(tools, "REPOSITORY", tmp_path)
    monkeypatch.setenv("PENSTOCK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "tools"


@pytest.mark.parametrize("file", ["go.mod", "go.sum"])
def test_a_changed_recipe_changes_the_key(recipes: Path, file: str) -> None:
    before = tools.key(TOOLS["etcd"])
    path = recipes / "etcd" / file
    path.write_text(path.read_text() + "\n")
    assert tools.key(TOOLS["etcd"]) != before


def test_a_changed_linker_flag_or_program_changes_the_key() -> None:
    etcd = TOOLS["etcd"]
    others = [replace(etcd, variables={"main.version": "2"}), replace(etcd, programs={"etcd": "example.com/other"})]
    assert len({tools.key(each) for each in [etcd, *others]}) == 3


def test_the_key_of_a_tool_does_not_depend_on_the_others() -> None:
    assert tools.key(replace(TOOLS["etcd"])) == tools.key(TOOLS["etcd"])


def test_what_is_built_is_not_built_again(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del recipes
    monkeypatch.setattr(tools, "_build_missing", lambda _: pytest.fail("built again"))
    tools.folder(TOOLS["etcd"]).mkdir(parents=True)
    assert tools.ensure("etcd") == {"etcd": tools.folder(TOOLS["etcd"]) / "etcd"}


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS.keys())
def test_every_tool_is_pinned(tool: Tool) -> None:
    assert (tool.module / "go.mod").exists()
    assert (tool.module / "go.sum").exists()


def test_a_full_disk_is_told_before_anything_is_built(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del recipes
    monkeypatch.setattr(tools, "FREE_BYTES_FOR_A_BUILD", 2**80)
    with pytest.raises(HarnessError, match="PENSTOCK_CACHE"):
        tools.ensure("etcd")


def test_a_failed_build_shows_what_the_compiler_said_and_leaves_nothing(
    recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del recipes
    _use_compiler(tmp_path, monkeypatch, "echo undefined: something; exit 1")
    with pytest.raises(HarnessError, match="undefined: something"):
        tools.ensure("pause")
    assert _folders(tools.cache_dir()) == ["tools"]
    assert _folders(tools.cache_dir() / "tools") == []


def test_a_finished_build_is_kept_and_the_compiler_s_own_caches_are_deleted(
    recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del recipes
    _use_compiler(tmp_path, monkeypatch, 'mkdir -p "$GOCACHE" && echo built > "$3"')
    assert tools.ensure("pause")["pause"].read_text() == "built\n"
    assert _folders(tools.cache_dir()) == ["tools"]


def test_the_lock_keeps_a_second_program_out_until_it_is_free(tmp_path: Path) -> None:
    path, mark = tmp_path / "lock", tmp_path / "mark"
    code = f"""
from pathlib import Path
from tests.harness.lock import exclusive
with exclusive(Path({str(path)!r}), waiting="waiting"):
    Path({str(mark)!r}).touch()
"""
    with exclusive(path):
        other = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
        assert other.stderr
        assert other.stderr.readline() == "waiting\n"
        assert not mark.exists()
    other.communicate(timeout=10)
    assert mark.exists()


def test_the_end_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == ""
    log.write_text("1\n2\n3\n")
    assert tail(log, 2) == "2\n3"


def _use_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A `go` whose `build -o FILE …` is a shell script."""
    compiler = folder / "go"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    monkeypatch.setattr(golang, "toolchain", lambda *_: compiler)


def _folders(parent: Path) -> list[str]:
    return [path.name for path in parent.iterdir() if path.is_dir()]
