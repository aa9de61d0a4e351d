"""Images: tags by content, images without a builder, files of the node."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from tests.harness import device_plugin, images, static_image
from tests.harness.data import filled

DOCKERFILE = """\
ARG BASE_IMAGE
FROM ${BASE_IMAGE} AS build
COPY --chown=1:1 pyproject.toml \\
    uv.lock ./
COPY src src
FROM scratch
COPY --from=build /built /built
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "src" / "__pycache__").mkdir(parents=True)
    for name in ("Dockerfile", "pyproject.toml", "uv.lock", "src/app.py", "src/__pycache__/app.pyc", "notes.txt"):
        (tmp_path / name).write_text(DOCKERFILE if name == "Dockerfile" else name)
    return tmp_path


def tag(context: Path, **build_args: str) -> str:
    return images.digest(context / "Dockerfile", context, build_args)


def test_only_what_is_copied_from_the_context_is_an_input() -> None:
    assert images.copied(DOCKERFILE) == ["pyproject.toml", "uv.lock", "src"]


@pytest.mark.parametrize("changed", ["Dockerfile", "uv.lock", "src/app.py"])
def test_a_changed_input_changes_the_tag(context: Path, changed: str) -> None:
    before = tag(context)
    (context / changed).write_text(f"{DOCKERFILE}# changed\n")
    assert tag(context) != before


def test_a_build_argument_changes_the_tag(context: Path) -> None:
    assert tag(context, BASE_IMAGE="debian:12") != tag(context, BASE_IMAGE="debian:13")


def test_a_new_file_in_a_copied_folder_changes_the_tag(context: Path) -> None:
    before = tag(context)
    (context / "src" / "more.py").touch()
    assert tag(context) != before


@pytest.mark.parametrize("changed", ["notes.txt", "src/__pycache__/app.pyc"])
def test_what_no_image_holds_does_not_change_the_tag(context: Path, changed: str) -> None:
    before = tag(context)
    (context / changed).write_text("changed")
    assert tag(context) == before


def test_a_static_image_names_its_blobs_by_their_content(tmp_path: Path) -> None:
    program, archive = tmp_path / "pause", tmp_path / "image.tar"
    program.write_bytes(b"\x7fELF")
    static_image.write(program, archive)

    with tarfile.open(archive) as tar:
        files = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
    blobs = {f"sha256:{hashlib.sha256(files[name]).hexdigest()}": name for name in files if name.startswith("blobs/")}
    assert all(name == digest.replace("sha256:", "blobs/sha256/") for digest, name in blobs.items())
    (named,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(files[blobs[named["digest"]]])
    assert {manifest["config"]["digest"], manifest["layers"][0]["digest"]} < set(blobs)
    assert named["annotations"]["io.containerd.image.name"] == static_image.reference(program)


def test_another_program_of_the_same_name_is_another_image(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"one")
    before = static_image.reference(program)
    program.write_bytes(b"two")
    assert static_image.reference(program) != before


def test_a_file_of_the_node_with_a_forgotten_value_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"registry.yaml has no value for \{address\}"):
        filled("registry.yaml", root="/tmp")


def test_a_device_is_sick_as_long_as_its_file_is_there(tmp_path: Path) -> None:
    (tmp_path / "devices").mkdir()
    device_plugin.make_sick(tmp_path, "gpu-1")
    assert device_plugin.health(tmp_path / "devices") == {"gpu-0": "Healthy", "gpu-1": "Unhealthy"}
    device_plugin.heal(tmp_path, "gpu-1")
    assert set(device_plugin.health(tmp_path / "devices").values()) == {"Healthy"}
