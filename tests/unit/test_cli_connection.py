"""The commands' connection to the API server: what it shows, whom it trusts, and what becomes of it when it breaks."""

import base64
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from penstock import errors
from penstock.cli import client
from penstock.cli.client import Failure
from penstock.cli.connection import Connection, _proxy_login
from penstock.cli.kubeconfig import Access, Unusable

SERVICE = {"metadata": {"name": "chat", "namespace": "ml"}}
Answer = Callable[["Handler"], tuple[int, Any]]


class Handler(BaseHTTPRequestHandler):
    """Notes each request, and answers it as the test says."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, content.decode()))
        status, body = self.server.answer(self)
        text = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(text)

    def do_PATCH(self) -> None:
        self.do_GET()

    def do_CONNECT(self) -> None:
        """As a proxy that is the server, too."""
        self.server.requests.append((self.command, self.path, ""))
        self.send_response(200)
        self.end_headers()
        self.close_connection = False

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.requests: list[tuple[str, str, str]] = []

    def handle_error(self, *_: Any) -> None:
        """A client that does not trust us hangs up, which is none of our business."""


@contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    with Server(answer) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextmanager
def connected(server: Server, scheme: str = "http", path: str = "", **access: Any) -> Iterator[Connection]:
    connection = Connection(Access(f"{scheme}://127.0.0.1:{server.server_port}{path}", **access))
    yield connection
    connection.close()


def echo(handler: Handler) -> tuple[int, Any]:
    return 200, {"authorization": handler.headers.get("Authorization"), "type": handler.headers.get("Content-Type")}


def certified(authority: trustme.CA, name: str, *, asks: trustme.CA | None = None) -> ssl.SSLContext:
    """A server's side, which wants a certificate of `asks` from its clients."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(found)
    if asks is not None:
        found.verify_mode = ssl.CERT_REQUIRED
        asks.configure_trust(found)
    return found


def test_a_call_shows_the_credentials_and_what_it_sends() -> None:
    headers = {"Authorization": "Bearer t"}
    with serving(echo) as server, connected(server, path="/k8s/clusters/c1", headers=headers) as connection:
        assert connection.call("GET", "/api", query={"limit": "1"})["authorization"] == "Bearer t"
        assert connection.call("PATCH", "/api", body={"a": 1}, content_type="application/x")["type"] == "application/x"
    assert server.requests == [
        ("GET", "/k8s/clusters/c1/api?limit=1", ""),
        ("PATCH", "/k8s/clusters/c1/api", '{"a": 1}'),
    ]


def test_server_and_client_know_each_other_by_their_certificates() -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    mine = ours.issue_cert("ann")
    shown: dict[str, Any] = {
        "authority": theirs.cert_pem.bytes(),
        "server_name": "kubernetes",
        "certificate": mine.cert_chain_pems[0].bytes(),
        "key": mine.private_key_pem.bytes(),
    }
    with serving(echo, certified(theirs, "kubernetes", asks=ours)) as server:
        with connected(server, "https", **shown) as connection:
            assert connection.call("GET", "/api")
        for lacking in ("authority", "server_name"):
            assert_refused(server, "CERTIFICATE_VERIFY_FAILED", **{**shown, lacking: None})
        assert_refused(server, "GET", **{**shown, "certificate": None})
        with connected(server, "https", **{**shown, "authority": None, "is_verified": False}) as connection:
            assert connection.call("GET", "/api")


def assert_refused(server: Server, words: str, **access: Any) -> None:
    with connected(server, "https", **access) as connection, pytest.raises(errors.Unreachable, match=words):
        connection.call("GET", "/api")


def test_a_proxy_is_asked_for_a_tunnel() -> None:
    with serving(echo) as server:
        proxy = f"http://127.0.0.1:{server.server_port}"
        connection = Connection(Access("http://kubernetes.example:6443", proxy=proxy))
        assert connection.call("GET", "/api")
        connection.close()
    assert [each[:2] for each in server.requests] == [("CONNECT", "kubernetes.example:6443"), ("GET", "/api")]


def test_a_redirect_is_not_followed() -> None:
    with serving(lambda _: (302, "")) as server:
        with connected(server) as connection, pytest.raises(errors.ApiError, match="302"):
            connection.call("GET", "/api")
        assert len(server.requests) == 1


def test_what_is_no_json_came_from_something_in_between() -> None:
    page = serving(lambda _: (200, "<html>"))
    with page as server, connected(server) as connection, pytest.raises(errors.Unreachable):
        connection.call("GET", "/api")


def hang_up_once() -> Answer:
    """The second request finds the connection closed."""
    calls: list[None] = []

    def answer(handler: Handler) -> tuple[int, Any]:
        calls.append(None)
        if len(calls) == 2:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
        return 200, {"call": len(calls)}

    return answer


def test_reading_survives_a_connection_that_was_closed_meanwhile() -> None:
    with serving(hang_up_once()) as server, connected(server) as connection:
        assert [connection.call("GET", "/api")["call"] for _ in range(2)] == [1, 3]


def test_a_write_is_not_repeated() -> None:
    with serving(hang_up_once()) as server, connected(server) as connection:
        connection.call("GET", "/api")
        with pytest.raises(errors.Unreachable):
            connection.call("PATCH", "/api", body={})
        assert connection.call("GET", "/api")["call"] == 3


@pytest.mark.parametrize(
    "access",
    [
        Access("kubernetes:6443"),
        Access("ftp://kubernetes"),
        Access("https://kubernetes:port"),
        Access("https://kubernetes", proxy="socks5://proxy"),
        Access("https://kubernetes", authority=b"no certificate"),
        Access("https://kubernetes", certificate=b"no certificate", key=b"no key"),
    ],
    ids=["no scheme", "no HTTP", "no port", "no HTTP proxy", "no authority", "no certificate"],
)
def test_what_cannot_be_used_is_told(access: Access) -> None:
    with pytest.raises(Unusable, match="the kubeconfig's"):
        Connection(access)


@pytest.mark.parametrize(("expired", "is_renewed"), [(2, True), (1, False)], ids=["of old", "from the start"])
def test_credentials_that_run_out_are_read_anew(tmp_path: Path, expired: int, is_renewed: bool) -> None:
    """From the request of that number on the first token is refused."""
    token = tmp_path / "token"
    token.write_text("first")

    def answer(handler: Handler) -> tuple[int, Any]:
        token.write_text("second")
        is_refused = len(server.requests) >= expired and handler.headers["Authorization"] == "Bearer first"
        return (401, {"reason": "Unauthorized"}) if is_refused else (200, SERVICE)

    with serving(answer) as server:
        path = tmp_path / "config"
        path.write_text(
            yaml.safe_dump(
                {
                    "current-context": "x",
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "ml"}}],
                    "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                    "users": [{"name": "u", "user": {"tokenFile": "token"}}],
                }
            )
        )
        if is_renewed:
            with client.connect(str(path), None, None) as found:
                assert [found.service("chat").metadata.name for _ in range(2)] == ["chat", "chat"]
        else:
            with pytest.raises(Failure, match="401"), client.connect(str(path), None, None) as found:
                found.service("chat")


def test_a_name_stays_a_name_in_the_url(tmp_path: Path) -> None:
    path = tmp_path / "config"
    with serving(lambda _: (404, {"reason": "NotFound"})) as server:
        cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
        context = {"name": "x", "context": {"cluster": "c"}}
        path.write_text(yaml.safe_dump({"current-context": "x", "contexts": [context], "clusters": [cluster]}))
        with pytest.raises(Failure), client.connect(str(path), None, "a b") as found:
            found.service("../x")
    assert server.requests[0][1].endswith("/namespaces/a%20b/inferenceservices/..%2Fx")


def test_the_proxy_hears_the_user_and_password_of_its_url() -> None:
    heard = _proxy_login("http://bob:p%40ss@proxy:3128")
    assert heard == {"Proxy-Authorization": f"Basic {base64.b64encode(b'bob:p@ss').decode()}"}
    assert _proxy_login("http://proxy:3128") == {}


@pytest.mark.parametrize("url", ["socks5://u:SECRET@127.0.0.1:1", "http://exa mple:80"])
def test_a_url_that_cannot_be_used_is_shown_without_its_password(url: str) -> None:
    with pytest.raises(Unusable) as raised:
        Connection(Access("https://127.0.0.1:1", proxy=url, is_verified=False))
    assert "SECRET" not in str(raised.value)


def test_text_around_an_authority_s_certificate_is_skipped() -> None:
    authority = trustme.CA()
    noted = "# Főtanúsítvány\n".encode() + authority.cert_pem.bytes()
    Connection(Access("https://127.0.0.1:1", authority=noted)).close()
