"""A real server process under test, and the few requests that tests make of it."""

import http.client
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from subprocess import Popen
from typing import Any

from penstock_server.main import main

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "penstock_server.engine.build",
        "penstock_server.lifecycle",
        "transformers.models.bert.modeling_bert",
        "transformers.models.gpt2.modeling_gpt2",
        "transformers.models.llama.modeling_llama",
    ]
)
START_SECONDS = 120.0
STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, read to its end."""

    status: int
    headers: dict[str, str]  # names in lower case
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> dict[str, Any]:
        return dict(self.json["error"])

    @property
    def events(self) -> list[Any]:
        """The events of a stream; the end mark as a string."""
        data = [line.removeprefix("data: ") for line in self.text.splitlines() if line.startswith("data: ")]
        return [event if event == "[DONE]" else json.loads(event) for event in data]


class Server:
    """A running `penstock-server`."""

    def __init__(self, process: ForkServerProcess | Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log
        self.port = int(self.logged(r'"port": (\d+)')[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=STOP_SECONDS)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """`body`: bytes as they are, anything else as JSON."""
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = self.connect()
        try:
            connection.request(method, path, raw, {"Content-Type": "application/json", **headers})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read().decode())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.request("POST", path, body, **headers)

    def metric(self, name: str, *labels: str) -> float:
        """Sum of the series of `name` whose labels include all of `labels` (as `key="value"`)."""
        lines = self.get("/metrics").text.splitlines()
        found = [line for line in lines if re.match(rf"{name}[{{ ]", line) and all(label in line for label in labels)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)

    def until(self, holds: Callable[[], Any], what: str, seconds: float = STOP_SECONDS) -> None:
        """Wait for a condition, or fail with the server's log."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{self.log.read_text()}"
            time.sleep(0.01)

    def logged(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + START_SECONDS
        while (found := re.search(pattern, self.log.read_text())) is None:
            text = self.log.read_text()
            assert self.exit_code(0) is None, f"ended with {self.exit_code(0)}:\n{text}"
            assert time.monotonic() < deadline, f"never logged {pattern}:\n{text}"
            time.sleep(0.01)
        return found

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid or 0, number)

    def exit_code(self, seconds: float = STOP_SECONDS) -> int | None:
        """None if it still runs after so long."""
        if isinstance(self.process, Popen):
            return self.process.poll()
        self.process.join(seconds)
        return self.process.exitcode


@contextmanager
def started(model: Path | str, *args: str, ready: bool = True) -> Iterator[Server]:
    """A server on a free port, ready unless told otherwise; killed at the end if it still runs."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        log.touch()
        process = launch([f"--model={model}", "--port=0", "--host=127.0.0.1", *args], log)
        try:
            server = Server(process, log)
            if ready:
                server.until(lambda: server.get("/readyz").status == 200, "ready", START_SECONDS)
            yield server
        finally:
            process.kill()
            process.join()
            process.close()


def launch(argv: list[str], log: Path, **env: str) -> ForkServerProcess:
    """A server process of its own, with stderr in `log`.

    Forked from a process that has imported torch, which takes ten seconds of CPU, and the server: the rest is as from
    a shell.
    """
    process = FORKS.Process(target=_main, args=(argv, log, env))
    process.start()
    return process


def _main(argv: list[str], log: Path, env: dict[str, str]) -> None:
    os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), sys.stderr.fileno())
    os.environ.update(env)
    main(argv)


def in_background(work: Callable[[], Answer]) -> Callable[[], Answer]:
    """Start `work` in a thread; call the result to wait for its answer."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()

    def wait() -> Answer:
        thread.join(STOP_SECONDS)
        return answers[0]

    return wait
