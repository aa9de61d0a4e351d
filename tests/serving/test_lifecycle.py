"""Start, load, drain and end of a server process."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from penstock_server.config import parse
from penstock_server.failure import StartupFailure

from tests.serving import tiny
from tests.serving.server import Answer, Server, in_background, launch, started

CHAT = "/v1/chat/completions"
LONG: dict[str, Any] = {"prompt": "abc", "max_tokens": 450, "temperature": 0}


@pytest.fixture(scope="session")
def slow_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two long texts of it take longer than a drain's delay, on a fast machine too."""
    return tiny.gpt2(tmp_path_factory.mktemp("slow-gpt2"), layers=12)


@pytest.fixture
def server(slow_gpt2: Path) -> Iterator[Server]:
    """A server of the test's own, whose texts never end early (`gpt2` writes no end token when greedy)."""
    with started(slow_gpt2, "--model-name=tiny", "--drain-delay=1", "--max-queue=2") as running:
        yield running


class Stream:
    """A stream whose first event has arrived."""

    def __init__(self, server: Server) -> None:
        self._connection = server.connect()
        body = json.dumps({**LONG, "stream": True})
        self._connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        self._response = self._connection.getresponse()
        assert self._response.readline().startswith(b"data: ")

    def rest(self) -> list[str]:
        """All events after the first."""
        with closing(self._connection), self._response:
            return events(self._response.read())


def events(rest: bytes) -> list[str]:
    return [line.removeprefix("data: ") for line in rest.decode().splitlines() if line.startswith("data: ")]


def test_a_draining_server_is_unready_at_once_accepts_for_a_while_then_refuses_and_cuts_nothing(server: Server) -> None:
    stream = Stream(server)
    queued = in_background(lambda: server.post("/v1/completions", LONG))
    server.until(lambda: server.metric("inference_queue_depth") == 1, "one request waits")
    server.signal(signal.SIGTERM)
    server.until(lambda: server.get("/readyz").status == 503, "unready", seconds=0.9)
    accepted = server.post("/v1/models", {})
    assert accepted.status == 405
    late = in_background(lambda: server.post("/v1/completions", {**LONG, "max_tokens": 1}))
    refused: list[Answer] = []

    def is_refused() -> bool:
        refused.append(server.post("/v1/completions", {"prompt": ["x"] * 65}))
        return refused[-1].status == 503

    server.until(is_refused, "new work is refused")
    assert {answer.status for answer in refused[:-1]} == {400}
    assert refused[-1].error["code"] == "draining"
    assert refused[-1].headers["connection"] == "close"
    received = stream.rest()
    assert received[-1] == "[DONE]"
    assert json.loads(received[-2])["choices"][0]["finish_reason"] == "length"
    assert queued().json["usage"]["completion_tokens"] == 450
    assert late().status == 200
    assert server.exit_code() == 0


def test_the_drain_deadline_ends_a_stream_with_an_error_event_and_the_process_with_zero(gpt2: Path) -> None:
    with started(gpt2, "--drain-delay=0", "--drain-timeout=0") as server:
        stream = Stream(server)
        whole = in_background(lambda: server.post("/v1/completions", LONG))
        server.until(lambda: server.metric("inference_requests_in_flight") == 2, "both in flight")
        server.signal(signal.SIGTERM)
        last = json.loads(stream.rest()[-1])
        assert last["error"]["code"] == "draining"
        assert (whole().status, whole().error["code"]) == (503, "draining")
        assert server.exit_code() == 0


def test_an_idle_server_leaves_at_the_end_of_the_delay_even_with_open_connections(gpt2: Path) -> None:
    with started(gpt2, "--drain-delay=0") as server, closing(server.connect()) as idle:
        idle.request("GET", "/readyz")
        assert idle.getresponse().read()
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0


def test_a_request_past_the_deadline_gets_504_and_frees_the_engine(gpt2: Path) -> None:
    with started(gpt2, "--timeout=0.2") as server:
        answer = server.post("/v1/completions", LONG)
        assert (answer.status, answer.error["type"]) == (504, "timeout_error")
        rest = Stream(server).rest()
        assert json.loads(rest[-1])["error"]["code"] == "deadline_exceeded"
        server.until(lambda: server.post("/v1/completions", {"prompt": "x", "max_tokens": 1}).status == 200, "free")
        assert server.metric("inference_requests_total", 'code="504"') == 2


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_cancels_its_generation(server: Server, stream: bool) -> None:
    raw = socket.create_connection(("127.0.0.1", server.port))
    body = json.dumps({**LONG, "stream": stream}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    raw.sendall(head.encode() + b"\r\n\r\n" + body)
    server.until(lambda: server.metric("generation_tokens_total") > 5, "tokens are written")
    raw.close()
    server.until(lambda: server.metric("inference_requests_total", 'code="499"') == 1, "the request ended")
    assert server.post("/v1/completions", {"prompt": "x", "max_tokens": 1}).status == 200
    assert server.metric("generation_tokens_total") < 400


def test_a_full_queue_answers_429_with_retry_after_and_stays_alive(server: Server) -> None:
    streams = [Stream(server)]
    waiting = [in_background(lambda: server.post("/v1/completions", {**LONG, "max_tokens": 1})) for _ in range(2)]
    server.until(lambda: server.metric("inference_queue_depth") == 2, "the queue is full")
    answer = server.post("/v1/completions", {**LONG, "stream": True})
    assert (answer.status, answer.error["type"]) == (429, "rate_limit_error")
    assert int(answer.headers["retry-after"]) >= 1
    assert server.get("/livez").status == server.get("/readyz").status == 200
    assert streams[0].rest()[-1] == "[DONE]"
    assert [wait().status for wait in waiting] == [200, 200]


def test_container_concurrency_holds_requests_back_and_bounds_those_that_wait(embedder: Path, gpt2: Path) -> None:
    with started(gpt2, "--container-concurrency=1", "--max-queue=1") as server:
        stream = Stream(server)
        waiting = in_background(lambda: server.post("/v1/completions", {"prompt": "x", "max_tokens": 1}))
        server.until(lambda: server.metric("inference_queue_depth") == 1, "one waits")
        assert server.post("/v1/completions", LONG).status == 429
        assert stream.rest()[-1] == "[DONE]"
        assert waiting().status == 200


def test_a_client_that_sends_slowly_holds_no_permit(gpt2: Path) -> None:
    with started(gpt2, "--container-concurrency=1") as server, closing(server.connect()) as slow:
        slow.putrequest("POST", "/v1/completions")
        slow.putheader("Content-Type", "application/json")
        slow.putheader("Content-Length", "100")
        slow.endheaders(b"{")
        server.until(lambda: server.metric("inference_requests_in_flight") == 1, "the slow request has begun")
        assert server.post("/v1/completions", {"prompt": "x", "max_tokens": 1}).status == 200


def test_a_client_that_reads_nothing_is_cut_off_at_the_deadline(embedder: Path) -> None:
    body = json.dumps({"input": ["x"] * 2048}).encode()
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    with started(embedder, "--timeout=2") as server, socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", server.port))
        raw.sendall((head.encode() + b"\r\n\r\n" + body) * 8)
        server.until(lambda: server.metric("inference_requests_total", 'code="504"') == 1, "the deadline")
        server.until(lambda: server.metric("inference_requests_in_flight") == 0, "nothing is left behind")


def test_credentials_in_a_mistyped_address_are_not_logged(tmp_path: Path) -> None:
    assert failure(tmp_path, "--model=s3://key:topsecret@bucket", "--port=0") == (3, "InvalidStorageUri")
    assert "topsecret" not in (tmp_path / "log").read_text()


def test_a_server_that_cannot_listen_says_so(gpt2: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert failure(tmp_path, f"--model={gpt2}", "--host=127.0.0.1", f"--port={port}") == (6, "CannotListen")


@pytest.mark.parametrize(
    "argv", [[], ["--model=x", "--no-such"], ["--model=x", "--port=70000"], ["--model=x", "--task=dance"]]
)
def test_bad_arguments_are_refused(argv: list[str]) -> None:
    with pytest.raises(StartupFailure) as caught:
        parse(argv)
    assert (caught.value.code, caught.value.reason) == (2, "InvalidArguments")


def test_an_unknown_argument_ends_with_2_and_is_named_in_the_termination_log(tmp_path: Path) -> None:
    assert failure(tmp_path, "--model=x", "--no-such") == (2, "InvalidArguments")
    assert "--no-such" in json.loads((tmp_path / "termination").read_text())["message"]


def test_a_missing_model_ends_with_3(tmp_path: Path) -> None:
    assert failure(tmp_path, f"--model={tmp_path}/none", "--port=0") == (3, "ModelDownloadFailed")


def test_damaged_weights_end_with_4(tmp_path: Path) -> None:
    model = tiny.llama(tmp_path / "model")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    assert failure(tmp_path, f"--model={model}", "--port=0") == (4, "ModelLoadFailed")


def test_pickled_weights_are_refused_with_5(tmp_path: Path) -> None:
    model = tiny.llama(tmp_path / "model")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    assert failure(tmp_path, f"--model={model}", "--port=0") == (5, "UnsupportedModel")
    assert "pytorch_model.bin" in (tmp_path / "termination").read_text()


def test_an_unknown_architecture_ends_with_5_and_names_those_that_work(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["MambaForCausalLM"]}')
    assert failure(tmp_path, f"--model={tmp_path}", "--port=0") == (5, "UnsupportedModel")
    assert "LlamaForCausalLM" in (tmp_path / "termination").read_text()


def failure(folder: Path, *argv: str) -> tuple[int | None, str]:
    """(exit code, reason in the termination log) of a server that cannot start."""
    termination = folder / "termination"
    termination.touch()
    process = launch(list(argv), folder / "log", PENSTOCK_TERMINATION_LOG=str(termination))
    process.join(60)
    code = process.exitcode
    process.kill()
    return code, str(json.loads(termination.read_text())["reason"])


def test_the_first_seconds_answer_probes_and_refuse_work(gpt2: Path, tmp_path: Path) -> None:
    """A process as from a shell: while it imports torch it already answers, and it ends without an abort."""
    log = tmp_path / "log"
    command = [sys.executable, "-m", "penstock_server.main", f"--model={gpt2}", "--port=0", "--drain-delay=0"]
    with log.open("w") as output, subprocess.Popen(command, stderr=output) as process:
        try:
            server = Server(process, log)
            early = server.get("/startupz")
            assert early.status == 503
            assert early.json["state"] in {"downloading", "loading"}  # the first for an instant
            assert server.get("/readyz").status == 503
            assert (
                server.get("/livez").status == server.get("/metrics").status == server.get("/v1/models").status == 200
            )
            refused = server.post("/v1/completions", LONG)
            assert (refused.status, refused.error["code"]) == (503, "model_not_ready")
            assert "retry-after" in refused.headers
            server.until(lambda: server.get("/startupz").status == 200, "ready", seconds=120)
            assert server.get("/readyz").status == 200
            assert server.post("/v1/completions", {**LONG, "max_tokens": 2}).status == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_a_server_stopped_while_loading_leaves_at_once(gpt2: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-m", "penstock_server.main", f"--model={gpt2}", "--port=0"]
    with log.open("w") as output, subprocess.Popen(command, stderr=output) as process:
        Server(process, log).signal(signal.SIGTERM)
        assert process.wait(5) == 0


def test_a_server_stopped_while_python_still_imports_leaves_at_once(gpt2: Path) -> None:
    """The image's own command: as PID 1 it would not even hear of a signal that it has no handler for."""
    script = str(Path(sys.executable).with_name("penstock-server"))
    command = [sys.executable, "-X", "importtime", script, f"--model={gpt2}", "--port=0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any("asyncio" in line for line in process.stderr)  # of the first modules; a second's worth follows
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 0
        finally:
            process.kill()


def test_a_model_may_be_a_file_uri(embedder: Path, tmp_path: Path) -> None:
    with started(f"file://{embedder}", f"--cache-dir={tmp_path}") as server:
        assert server.post("/v1/embeddings", {"input": "x"}).status == 200
        assert server.get("/v1/models").json["data"][0]["id"] == embedder.name
