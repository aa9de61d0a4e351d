"""An S3 server on loopback, and a proxy before it that counts, holds and cuts what the server sends."""

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from botocore.exceptions import BotoCoreError

from tests.harness import ports, tools
from tests.harness.object_store import ObjectStore
from tests.harness.processes import Processes

_ANSWER_SECONDS = 30.0


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[ObjectStore]:
    """versitygw over the folder `buckets` below `folder`, on a free port of 127.0.0.1."""
    store = ObjectStore(secrets.token_hex(8), secrets.token_hex(24), f"http://127.0.0.1:{ports.free(1)[0]}")
    buckets = folder / "buckets"
    buckets.mkdir()
    processes = Processes(folder)
    environment = os.environ | {"ROOT_ACCESS_KEY": store.access_key, "ROOT_SECRET_KEY": store.secret_key}
    program = tools.ensure("versitygw")["versitygw"]
    address = store.endpoint.removeprefix("http://")
    processes.start("versitygw", [program, address, buckets], env=environment)
    try:
        _wait_until_it_answers(store, processes.log("versitygw"))
        yield store
    finally:
        processes.stop_all()


def _wait_until_it_answers(store: ObjectStore, log: Path) -> None:
    deadline = time.monotonic() + _ANSWER_SECONDS
    with contextlib.closing(store.client()) as client:
        while time.monotonic() < deadline:
            with contextlib.suppress(BotoCoreError):
                client.list_buckets()
                return
            time.sleep(0.02)
    raise TimeoutError(f"versitygw does not answer:\n{log.read_text()}")


class Proxy:
    """A TCP proxy on a free port of 127.0.0.1. Bytes are those from the server to the client."""

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._limit: int | None = None
        self._cuts_left = 0
        self._bytes_before_cut = 0
        self._open = 0
        self.passed = 0
        self.most_open = 0  # connections at the same time
        self.endpoint = "http://{}:{}".format(*self._listener.getsockname())

    def __enter__(self) -> "Proxy":
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            _shut(each)
        for thread in self._threads:
            thread.join()

    def hold_after(self, count: int) -> None:
        """Keep every connection waiting once `count` bytes have passed."""
        with self._changed:
            self._limit = count

    def wait_until_held(self) -> None:
        """Return when the limit is reached."""
        with self._changed:
            assert self._changed.wait_for(self._is_held, timeout=20), f"only {self.passed} bytes passed"

    def release(self) -> None:
        """Let everything through from now on."""
        with self._changed:
            self._limit = None
            self._changed.notify_all()

    def cut(self, connections: int, *, after: int) -> None:
        """Cut the next `connections`, each after `after` bytes."""
        with self._changed:
            self._cuts_left, self._bytes_before_cut = connections, after

    def _is_held(self) -> bool:
        return self._limit is not None and self.passed >= self._limit

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            self._sockets += [client, server]
            self._run(self._up, client, server)
            self._run(self._down, server, client)

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                server.sendall(data)
        _shut(server)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        with server, client, contextlib.suppress(OSError):
            self._count_open(1)
            passed = 0
            while data := server.recv(1 << 16):
                if self._is_cut(passed):
                    break
                self._wait_for_release(len(data))
                client.sendall(data)
                passed += len(data)
            _shut(client)
        self._count_open(-1)

    def _wait_for_release(self, count: int) -> None:
        with self._changed:
            self.passed += count
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._is_held())

    def _is_cut(self, passed: int) -> bool:
        with self._changed:
            if not self._cuts_left or passed < self._bytes_before_cut:
                return False
            self._cuts_left -= 1
            return True

    def _count_open(self, step: int) -> None:
        with self._changed:
            self._open += step
            self.most_open = max(self.most_open, self._open)

    def _run(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()


def _shut(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
