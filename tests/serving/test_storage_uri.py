"""Addresses of models, and which files below one are a model."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_server.storage import Progress, Reason, StorageError, fetch
from penstock_server.storage.selection import check_loadable, is_wanted, relative_path
from penstock_server.storage.uri import Bucket, Claim, LocalDirectory, parse

SEGMENTS = st.text(st.characters(exclude_characters="/", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)


def _ignore(_: Progress) -> None:
    """No one asks."""


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("/models/a b", LocalDirectory(Path("/models/a b"))),
        ("models/here", LocalDirectory(Path("models/here"))),
        ("file:///models/a%20b", LocalDirectory(Path("/models/a b"))),
        ("pvc://claim/path/below", Claim("claim", "path/below")),
        ("pvc://claim", Claim("claim", "")),
        ("s3://bucket", Bucket("bucket", "")),
        ("s3://bucket/", Bucket("bucket", "")),
        ("s3://bucket/llama", Bucket("bucket", "llama/")),
        ("s3://bucket/llama/v1/", Bucket("bucket", "llama/v1/")),
    ],
)
def test_an_address_names_one_place(uri: str, location: object) -> None:
    assert parse(uri) == location


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "hf://org/repo",
        "file://host/path",
        "file://relative",
        "pvc://",
        "s3://",
        "s3:///prefix",
        "s3://b",
        "a\nb",
        "x" * 3000,
    ],
)
def test_an_address_that_names_no_place_is_explained(uri: str) -> None:
    with pytest.raises(StorageError) as caught:
        parse(uri)
    assert caught.value.reason is Reason.INVALID_STORAGE_URI
    assert caught.value.message.startswith("storageUri: ")


@given(st.text(max_size=60) | st.tuples(st.sampled_from(["file", "pvc", "s3"]), st.text(max_size=60)).map("://".join))
def test_any_text_is_an_address_or_is_refused(uri: str) -> None:
    with suppress(StorageError):
        assert isinstance(parse(uri), LocalDirectory | Claim | Bucket)


@given(st.lists(SEGMENTS, min_size=1, max_size=4))
def test_a_prefix_never_takes_in_its_siblings(segments: list[str]) -> None:
    location = parse("s3://bucket/" + "/".join(segments))
    assert location == Bucket("bucket", "/".join(segments) + "/")


def test_credentials_in_an_address_are_refused_without_repeating_them() -> None:
    with pytest.raises(StorageError) as caught:
        parse("s3://AKIAEXAMPLE:topsecret@bucket/model")
    assert "topsecret" not in str(caught.value)
    assert "environment" in str(caught.value)


def test_a_local_directory_is_used_as_it_is(tmp_path: Path) -> None:
    _touch(tmp_path, "config.json", "model.safetensors")
    cache = tmp_path / "cache"
    assert fetch(tmp_path.as_uri(), into=cache, progress=_ignore, env={}) == tmp_path
    assert not cache.exists()


def test_a_local_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="absent"):
        fetch(str(tmp_path / "absent"), into=tmp_path, progress=_ignore, env={})


def test_a_claim_is_explained_to_who_has_no_operator(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="/mnt/models") as caught:
        fetch("pvc://claim/path", into=tmp_path, progress=_ignore, env={})
    assert caught.value.reason is Reason.INVALID_STORAGE_URI


@pytest.mark.parametrize(
    "path",
    [
        "config.json",
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.model",
        "vocab.txt",
        "chat_template.jinja",
        "1_Pooling/config.json",
        "2_Dense/model.safetensors",
        "additional_chat_templates/tools.jinja",
    ],
)
def test_what_the_server_reads_is_fetched(path: str) -> None:
    assert is_wanted(path)


@pytest.mark.parametrize(
    "path",
    [
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "model.pt",
        "consolidated.00.pth",
        "consolidated.safetensors",
        "tf_model.h5",
        "flax_model.msgpack",
        "model.gguf",
        "onnx/model.onnx",
        "onnx/config.json",
        "original/model.safetensors",
        "modeling_custom.py",
        "README.md",
        "1_Pooling/deeper/config.json",
    ],
)
def test_what_the_server_cannot_use_or_trust_is_left(path: str) -> None:
    assert not is_wanted(path)


def test_weights_that_are_only_pickles_are_refused_with_the_way_out() -> None:
    with pytest.raises(StorageError, match=r"only as pickles \(pytorch_model\.bin\).*safetensors"):
        check_loadable(["config.json", "pytorch_model.bin"], "s3://bucket/model/")


@pytest.mark.parametrize(
    ("paths", "message"),
    [([], "empty"), (["config.json"], "no .*safetensors"), (["model.safetensors"], "no config.json")],
)
def test_a_place_without_a_model_says_what_is_missing(paths: list[str], message: str) -> None:
    with pytest.raises(StorageError, match=message):
        check_loadable(paths, "s3://bucket/model/")


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/passwd", "a//b", "./x", "a\\..\\b", "a/\x00", "x" * 256, "."]
)
def test_a_key_that_could_leave_the_directory_is_refused(path: str) -> None:
    with pytest.raises(StorageError, match="refused"):
        relative_path(f"model/{path}", "model/")


@given(st.text(max_size=40) | st.lists(st.sampled_from(["..", ".", "", "a", "é"]), max_size=6).map("/".join))
def test_no_key_leads_out_of_the_directory(path: str) -> None:
    root = Path("/cache/model")
    try:
        relative = relative_path(f"model/{path}", "model/")
    except StorageError:
        return
    assert root in (root / relative).parents
    assert ".." not in Path(relative).parts


def _touch(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).touch()
