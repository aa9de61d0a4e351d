"""Models from a real S3 server, over a network that is cut, held and changed under the download."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from penstock_server.storage import Progress, Reason, StorageError, fetch, partial
from structlog.testing import capture_logs

from tests.harness.object_store import ObjectStore
from tests.serving.object_storage import Proxy, serving

MEBIBYTE = 1 << 20
CHUNK = MEBIBYTE // 2
WEIGHTS = 12 * MEBIBYTE
_CHILD = """
import os, sys
from pathlib import Path
from penstock_server.storage import fetch, partial
partial.CHUNK_BYTES = 1 << 19
fetch("s3://models/llama", into=Path(sys.argv[1]), progress=lambda seen: None, env=os.environ)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with serving(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(scope="module")
def client(store: ObjectStore) -> Iterator[Any]:
    with closing(store.client()) as connected:
        connected.create_bucket(Bucket="models")
        yield connected


@pytest.fixture
def weights(client: Any) -> bytes:
    """The bytes of s3://models/llama/model.safetensors, which has a config.json beside it; new in every test."""
    return upload(client)


@pytest.fixture
def proxy(store: ObjectStore) -> Iterator[Proxy]:
    with Proxy(store.endpoint) as running:
        yield running


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial, "CHUNK_BYTES", CHUNK)


@pytest.fixture(autouse=True)
def no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "absent"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def upload(client: Any, *, prefix: str = "llama") -> bytes:
    content = os.urandom(WEIGHTS)
    client.delete_object(Bucket="models", Key=f"{prefix}/tokenizer.json")
    client.put_object(Bucket="models", Key=f"{prefix}/config.json", Body=os.urandom(32).hex().encode())
    client.put_object(Bucket="models", Key=f"{prefix}/model.safetensors", Body=content)
    return content


def environment(store: ObjectStore, *, endpoint: str | None = None, secret: str | None = None) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": store.access_key,
        "AWS_SECRET_ACCESS_KEY": secret or store.secret_key,
        "AWS_ENDPOINT_URL": endpoint or store.endpoint,
    }


def ignore(_: Progress) -> None:
    """No one asks."""


def fetch_llama(
    into: Path, env: dict[str, str], *, progress: Callable[[Progress], None] = ignore, stall_seconds: float = 20.0
) -> Path:
    return fetch("s3://models/llama", into=into, progress=progress, env=env, stall_seconds=stall_seconds)


def start_process(into: Path, env: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", _CHILD, str(into)], env=os.environ | env)


def bytes_marked(into: Path) -> int:
    """How much of the weights is there for the next download if this one ends now."""
    marks = max(
        (path.read_bytes().partition(b"\n")[2] for path in into.glob("*.partial/marks/*")), key=len, default=b""
    )
    return marks.count(b"#") * CHUNK


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_model_arrives_whole_over_parallel_ranges(
    tmp_path: Path, store: ObjectStore, weights: bytes, proxy: Proxy
) -> None:
    seen: list[Progress] = []
    directory = fetch_llama(tmp_path, environment(store, endpoint=proxy.endpoint), progress=seen.append)
    assert (directory / "model.safetensors").read_bytes() == weights
    assert proxy.most_open > 2
    assert seen[-1] == Progress(WEIGHTS + 64, WEIGHTS + 64)
    assert [progress.bytes for progress in seen] == sorted(progress.bytes for progress in seen)
    assert not list(tmp_path.glob("*.partial"))


def test_a_model_that_is_there_is_not_fetched_again(
    tmp_path: Path, store: ObjectStore, weights: bytes, proxy: Proxy
) -> None:
    first = fetch_llama(tmp_path, environment(store))
    assert fetch_llama(tmp_path, environment(store, endpoint=proxy.endpoint)) == first
    assert proxy.passed < MEBIBYTE


def test_a_changed_bucket_is_another_directory(tmp_path: Path, store: ObjectStore, weights: bytes, client: Any) -> None:
    before = fetch_llama(tmp_path, environment(store))
    newer = upload(client)
    after = fetch_llama(tmp_path, environment(store))
    assert after != before
    assert (before / "model.safetensors").read_bytes() == weights
    assert (after / "model.safetensors").read_bytes() == newer


def test_a_killed_download_goes_on_where_it_was(
    tmp_path: Path, store: ObjectStore, weights: bytes, proxy: Proxy
) -> None:
    proxy.hold_after(WEIGHTS * 2 // 3)
    with start_process(tmp_path, environment(store, endpoint=proxy.endpoint)) as process:
        wait_until(lambda: bytes_marked(tmp_path) >= 3 * MEBIBYTE)
        process.kill()
    proxy.release()
    kept = bytes_marked(tmp_path)
    assert kept < WEIGHTS
    with Proxy(store.endpoint) as second:
        directory = fetch_llama(tmp_path, environment(store, endpoint=second.endpoint))
    assert (directory / "model.safetensors").read_bytes() == weights
    assert second.passed < WEIGHTS - kept + CHUNK


def test_a_connection_that_is_cut_costs_only_the_rest_of_its_range(
    tmp_path: Path, store: ObjectStore, weights: bytes, proxy: Proxy
) -> None:
    proxy.cut(6, after=CHUNK // 2)
    directory = fetch_llama(tmp_path, environment(store, endpoint=proxy.endpoint))
    assert (directory / "model.safetensors").read_bytes() == weights
    assert proxy.passed < WEIGHTS + 6 * CHUNK


@pytest.mark.parametrize("key", ["model.safetensors", "config.json", "tokenizer.json"])
def test_versions_are_never_mixed_when_an_object_comes_or_changes_midway(
    tmp_path: Path, *, store: ObjectStore, weights: bytes, client: Any, proxy: Proxy, key: str
) -> None:
    proxy.hold_after(WEIGHTS // 2)
    newer = os.urandom(WEIGHTS)
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(fetch_llama, tmp_path, environment(store, endpoint=proxy.endpoint))
        proxy.wait_until_held()
        client.put_object(Bucket="models", Key=f"llama/{key}", Body=newer)
        proxy.release()
        directory = fetching.result(timeout=20)
    expected = {"model.safetensors": weights, key: newer}
    assert {name: (directory / name).read_bytes() for name in expected} == expected


def test_two_processes_download_a_model_once(tmp_path: Path, store: ObjectStore, weights: bytes, proxy: Proxy) -> None:
    env = environment(store, endpoint=proxy.endpoint)
    proxy.hold_after(WEIGHTS // 2)
    is_waiting = threading.Event()
    with start_process(tmp_path, env) as first, ThreadPoolExecutor(1) as pool:
        proxy.wait_until_held()
        second = pool.submit(fetch_llama, tmp_path, environment(store), progress=lambda _: is_waiting.set())
        assert is_waiting.wait(timeout=10)
        proxy.release()
        directory = second.result(timeout=20)
    assert first.returncode == 0
    assert (directory / "model.safetensors").read_bytes() == weights
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [directory]


def test_a_process_takes_over_from_one_that_was_killed(
    tmp_path: Path, store: ObjectStore, weights: bytes, proxy: Proxy
) -> None:
    proxy.hold_after(WEIGHTS * 2 // 3)
    is_waiting = threading.Event()
    env = environment(store, endpoint=proxy.endpoint)
    with start_process(tmp_path, env) as first, ThreadPoolExecutor(1) as pool, Proxy(store.endpoint) as own:
        wait_until(lambda: bytes_marked(tmp_path) >= 3 * MEBIBYTE)
        own_env = environment(store, endpoint=own.endpoint)
        second = pool.submit(fetch_llama, tmp_path, own_env, progress=lambda _: is_waiting.set())
        assert is_waiting.wait(timeout=10)
        assert not second.done()
        first.kill()
        directory = second.result(timeout=20)
    assert (directory / "model.safetensors").read_bytes() == weights
    assert own.passed < WEIGHTS - 3 * MEBIBYTE + CHUNK


def test_a_download_without_a_byte_stalls_and_keeps_what_it_has(
    tmp_path: Path, store: ObjectStore, weights: bytes, proxy: Proxy
) -> None:
    proxy.hold_after(WEIGHTS * 2 // 3)
    with pytest.raises(StorageError, match=r"no byte arrived for 0\.8 s") as caught:
        fetch_llama(tmp_path, environment(store, endpoint=proxy.endpoint), stall_seconds=0.8)
    assert caught.value.reason is Reason.MODEL_DOWNLOAD_STALLED
    assert bytes_marked(tmp_path) >= 3 * MEBIBYTE


def test_an_exception_of_the_reporter_ends_the_download(tmp_path: Path, store: ObjectStore, weights: bytes) -> None:
    class Cancelled(Exception):
        pass

    def cancel(_: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        fetch_llama(tmp_path, environment(store), progress=cancel)
    assert not list(tmp_path.glob("*-*/"))


def test_a_wrong_secret_says_what_to_fix_and_not_what_it_was(
    tmp_path: Path, store: ObjectStore, weights: bytes
) -> None:
    with pytest.raises(StorageError, match="SignatureDoesNotMatch; check AWS_ACCESS_KEY_ID") as caught:
        fetch_llama(tmp_path, environment(store, secret="not-the-secret"))
    assert caught.value.reason is Reason.MODEL_DOWNLOAD_FAILED
    assert "not-the-secret" not in str(caught.value)
    assert store.access_key not in str(caught.value)


def test_missing_credentials_say_so(tmp_path: Path, store: ObjectStore) -> None:
    with pytest.raises(StorageError, match=r"no complete credentials.*AWS_NO_SIGN_REQUEST"):
        fetch_llama(tmp_path, {"AWS_ENDPOINT_URL": store.endpoint})


def test_a_public_bucket_needs_no_credentials(tmp_path: Path, store: ObjectStore, weights: bytes, client: Any) -> None:
    everyone = '{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": ["s3:ListBucket", "s3:GetObject"], '
    everyone += '"Resource": ["arn:aws:s3:::models", "arn:aws:s3:::models/*"]}]}'
    client.put_bucket_policy(Bucket="models", Policy=everyone)
    try:
        directory = fetch_llama(tmp_path, {"AWS_ENDPOINT_URL": store.endpoint, "AWS_NO_SIGN_REQUEST": "true"})
    finally:
        client.delete_bucket_policy(Bucket="models")
    assert (directory / "model.safetensors").read_bytes() == weights


def test_an_unknown_bucket_is_named(tmp_path: Path, store: ObjectStore, client: Any) -> None:
    with pytest.raises(StorageError, match="s3://absent/: S3 answered NoSuchBucket"):
        fetch("s3://absent", into=tmp_path, progress=ignore, env=environment(store))


def test_an_endpoint_that_nobody_serves_is_explained(tmp_path: Path) -> None:
    env = {"AWS_ENDPOINT_URL": "http://user:hidden@127.0.0.1:1", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    with pytest.raises(StorageError, match="check AWS_ENDPOINT_URL") as caught:
        fetch_llama(tmp_path, env)
    assert "hidden" not in str(caught.value)


def test_pickles_stay_in_the_bucket_and_the_log_says_so(
    tmp_path: Path, store: ObjectStore, weights: bytes, client: Any
) -> None:
    client.put_object(Bucket="models", Key="llama/pytorch_model.bin", Body=b"pickle")
    try:
        with capture_logs() as logs:
            directory = fetch_llama(tmp_path, environment(store))
    finally:
        client.delete_object(Bucket="models", Key="llama/pytorch_model.bin")
    assert sorted(path.name for path in directory.iterdir()) == ["config.json", "model.safetensors"]
    assert [entry["files"] for entry in logs if "files" in entry] == [["pytorch_model.bin"]]


def test_a_bucket_with_nothing_but_pickles_is_refused(tmp_path: Path, store: ObjectStore, client: Any) -> None:
    for name in ("config.json", "pytorch_model.bin"):
        client.put_object(Bucket="models", Key=f"pickled/{name}", Body=b"{}")
    with pytest.raises(StorageError, match="only as pickles"):
        fetch("s3://models/pickled", into=tmp_path, progress=ignore, env=environment(store))


def test_a_model_that_does_not_fit_is_refused_before_a_byte_is_fetched(
    tmp_path: Path, store: ObjectStore, weights: bytes, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NearlyFull:
        f_bavail, f_frsize = 10, 4096

    monkeypatch.setattr(os, "statvfs", lambda _: NearlyFull)
    with pytest.raises(StorageError, match=r"needs 0\.01 GB more .* 0\.00 GB are free") as caught:
        fetch_llama(tmp_path, environment(store, endpoint=proxy.endpoint))
    assert caught.value.reason is Reason.NOT_ENOUGH_DISK
    assert proxy.passed < MEBIBYTE


def test_bytes_that_differ_from_the_checksum_are_never_served(
    tmp_path: Path, store: ObjectStore, weights: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stored = next(tmp_path_factory.getbasetemp().glob("s3*/buckets/models/llama/model.safetensors"))
    with stored.open("r+b") as file:
        file.write(bytes(8))
    with pytest.raises(StorageError, match="differs from its crc32 checksum"):
        fetch_llama(tmp_path, environment(store))
    assert not list(tmp_path.glob("*-*/"))
    with stored.open("r+b") as file:
        file.write(weights[:8])
    directory = fetch_llama(tmp_path, environment(store))
    assert (directory / "model.safetensors").read_bytes() == weights
