"""What is made before a cluster starts, and what is said when it cannot be."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import base_image, docker, images, prepare
from tests.harness.handle import Cluster
from tests.harness.progress import HarnessError


def test_what_goes_wrong_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise HarnessError("Debian is silent")

    monkeypatch.setattr(docker, "answers", lambda: False)
    monkeypatch.setattr(base_image, "ensure", fail)
    assert prepare.main(["base-image"]) == 1
    assert capsys.readouterr().err == "error: Debian is silent\n"


@pytest.mark.parametrize("arguments", [[], ["everything"], ["tools", "images"]])
def test_a_wrong_call_names_what_there_is(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main(arguments) == 2
    assert "tools|base-image|images|model" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["tests.harness.tools", "tests.harness.base_image", "demo.outlook"])
def test_what_is_made_before_the_environment_needs_nothing_but_python(module: str) -> None:
    # -S leaves out every installed package.
    subprocess.run([sys.executable, "-S", "-c", f"import tests.harness.prepare, {module}"], check=True)


def test_a_cluster_of_others_is_told_before_anything_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def build(*_: object) -> str:
        raise AssertionError("built in vain")

    monkeypatch.setattr(images, "build", build)
    theirs = Cluster("existing", "node", tmp_path, "https://theirs", tmp_path, tmp_path, audit_log=None)
    with pytest.raises(HarnessError, match="registry that it pulls from"):
        images.ensure(theirs)


def test_only_debian_itself_is_a_mirror_of_debian() -> None:
    targets = (
        "Example bookworm https://packages.example.com/\n"
        "Debian bookworm-updates http://deb.debian.org/debian/\n"
        "Debian bookworm http://deb.debian.org/debian/\n"
    )
    assert base_image.debian_mirrors(targets) == ["http://deb.debian.org/debian/"]
