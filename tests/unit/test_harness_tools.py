import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import golang, progress, tools
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


@pytest.mark.parametrize("file", ["go.mod", "go.sum", "coredns/main.go"])
def test_a_changed_recipe_changes_the_key(recipes: Path, file: str) -> None:
    before = tools.key(TOOLS["etcd"])
    path = recipes / "cluster" / file
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
    _use_compiler(tmp_path, monkeypatch, _BUILD)
    assert tools.ensure("pause")["pause"].read_text() == "built\n"
    assert _folders(tools.cache_dir()) == ["tools"]


def test_programs_of_one_package_are_linked_once(
    recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del recipes
    _use_compiler(tmp_path, monkeypatch, _BUILD)
    programs = tools.ensure("kubernetes")
    assert {program.read_text() for program in programs.values()} == {"built\n"}
    assert len({program.resolve() for program in programs.values()}) == 2  # kubernetes and kubectl


def test_tools_of_one_module_are_built_by_one_run_of_the_compiler(
    recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del recipes
    runs = tmp_path / "runs"
    _use_compiler(tmp_path, monkeypatch, f'echo "$1" >> {runs}\n{_BUILD}')
    assert set(tools.ensure("etcd", "pause", "kwok")) == {"etcd", "pause", "kwok"}
    assert runs.read_text().split() == ["list", "build"] * 2


def test_a_build_says_how_many_of_its_packages_are_compiled(
    recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del recipes
    monkeypatch.setattr(progress, "TELL_SECONDS", 0.05)
    compile_slowly = f'[ "$1" = list ] && printf "a\\nb\\nc\\n" && exit; echo a >&2; echo b >&2; sleep 0.3\n{_BUILD}'
    _use_compiler(tmp_path, monkeypatch, compile_slowly)
    tools.ensure("pause")
    assert "2 of 3 packages" in capsys.readouterr().err


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


def test_who_waits_for_one_tool_goes_on_while_its_builder_has_more_to_build(
    recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del recipes
    _use_compiler(tmp_path, monkeypatch, _BUILD)
    # As if another process built all the rest.
    with exclusive(tools.cache_dir() / "tools" / "lock"):
        target = tools.folder(TOOLS["pause"])
        threading.Timer(0.3, target.mkdir, kwargs={"parents": True}).start()
        assert tools.ensure("pause") == {"pause": target / "pause"}


def test_the_end_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == ""
    log.write_text("1\n2\n3\n")
    assert tail(log, 2) == "2\n3"


# Of `build -v -gcflags=FLAGS -ldflags FLAGS -o FOLDER/ PACKAGE…`: a program for each package.
_BUILD = """[ "$1" = list ] && exit
mkdir -p "$GOCACHE"
folder=$7; shift 7
for package in "$@"; do echo built > "$folder${package##*/}"; done"""


def _use_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A `go` that is a shell script."""
    compiler = folder / "go"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    monkeypatch.setattr(golang, "toolchain", lambda *_: compiler)


def _folders(parent: Path) -> list[str]:
    return [path.name for path in parent.iterdir() if path.is_dir()]
