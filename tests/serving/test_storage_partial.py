"""What of a half-downloaded file may be trusted, and checksums."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_server.storage import partial
from penstock_server.storage.checksum import Checksum, from_head
from penstock_server.storage.partial import PartialFile
from penstock_server.storage.s3 import RemoteFile

MEBIBYTE = 1 << 20


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial, "CHUNK_BYTES", MEBIBYTE)


def a_part(folder: Path, *, size: int = 3 * MEBIBYTE, etag: str = '"one"') -> PartialFile:
    return PartialFile(RemoteFile("f", "m/f", size, etag), folder / "data", folder / "marks")


def received(part: PartialFile, *indices: int) -> PartialFile:
    """The part, allocated, with these chunks filled."""
    part.allocate()
    for chunk in part.missing():
        if chunk.index in indices:
            with part.receiving(chunk):
                pass
    return part


def missing(part: PartialFile) -> list[int]:
    return [chunk.index for chunk in part.missing()]


def test_only_the_chunks_that_did_not_arrive_are_fetched_again(tmp_path: Path) -> None:
    received(a_part(tmp_path), 1)
    after_restart = a_part(tmp_path)
    after_restart.discard_unless_resumable()
    after_restart.allocate()
    assert missing(after_restart) == [0, 2]


def test_a_chunk_whose_writer_failed_is_missing(tmp_path: Path) -> None:
    part = received(a_part(tmp_path))
    with pytest.raises(ValueError, match="cut"), part.receiving(part.missing()[0]):
        raise ValueError("cut")
    assert missing(part) == [0, 1, 2]


@pytest.mark.parametrize("change", [{"etag": '"two"'}, {"size": 2 * MEBIBYTE}])
def test_chunks_of_another_version_are_never_kept(tmp_path: Path, change: dict[str, object]) -> None:
    received(a_part(tmp_path), 0, 1)
    changed = a_part(tmp_path, **change)  # type: ignore[arg-type]
    changed.discard_unless_resumable()
    assert not changed.data.exists()
    changed.allocate()
    assert 0 in missing(changed)


def test_marks_that_were_cut_short_are_not_believed(tmp_path: Path) -> None:
    part = received(a_part(tmp_path), 0, 1, 2)
    part.marks.write_bytes(part.marks.read_bytes()[:-1])
    part.allocate()
    assert missing(part) == [0, 1, 2]


def test_data_that_is_gone_is_fetched_again(tmp_path: Path) -> None:
    part = received(a_part(tmp_path), 0)
    part.data.unlink()
    part.allocate()
    assert missing(part) == [0, 1, 2]


def test_an_empty_file_needs_nothing(tmp_path: Path) -> None:
    part = received(a_part(tmp_path, size=0))
    assert missing(part) == []
    assert part.data.read_bytes() == b""


def test_the_last_chunk_ends_with_the_file(tmp_path: Path) -> None:
    part = received(a_part(tmp_path, size=MEBIBYTE + 5))
    assert [(chunk.start, chunk.end) for chunk in part.missing()] == [(0, MEBIBYTE), (MEBIBYTE, MEBIBYTE + 5)]


@given(st.binary(max_size=100), st.integers(1, 9))
def test_a_checksum_holds_for_its_content_only_however_it_is_cut(content: bytes, length: int) -> None:
    checksum = from_head({"ETag": f'"{hashlib.md5(content).hexdigest()}"'})
    assert checksum is not None
    assert checksum.matches(content[start : start + length] for start in range(0, len(content), length))
    assert not checksum.matches([content, b"."])


def test_crc32_is_the_one_of_s3() -> None:
    assert Checksum("crc32", "y/Q5Jg==").matches([b"1234", b"56789"])  # CRC-32's published check value, cbf43926


@pytest.mark.parametrize(
    "head",
    [
        {"ETag": '"0123456789abcdef0123456789abcdef-3"'},
        {"ETag": '"0123456789abcdef0123456789abcdef"', "ServerSideEncryption": "aws:kms"},
        {"ETag": '"0123456789abcdef0123456789abcdef"', "SSECustomerAlgorithm": "AES256"},
        {"ETag": '"a-3"', "ChecksumType": "COMPOSITE", "ChecksumCRC32": "y/Q5Jg==-3"},
    ],
)
def test_what_only_looks_like_a_checksum_is_not_used(head: dict[str, str]) -> None:
    assert from_head(head) is None
