"""One connection to the API server, over the standard library's HTTP: what a command needs, loaded in 30 ms."""

import base64
import http.client
import json
import re
import ssl
import tempfile
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlencode, urlsplit

from penstock import errors
from penstock.cli.kubeconfig import Access, Unusable
from penstock.kinds import Manifest

_AGENT: Final = "penstock-cli"
_CONNECT_SECONDS: Final = 5
_ANSWER_SECONDS: Final = 30
_JSON: Final = "application/json"
_PORTS: Final = {"http": 80, "https": 443}


class Connection:
    """Kept from one call to the next. Redirects are not followed: they would take the credentials along."""

    def __init__(self, access: Access) -> None:
        """Raises kubeconfig.Unusable."""
        self._http = _connection(access)
        self._prefix = urlsplit(access.server).path
        self._headers = {"User-Agent": _AGENT, "Accept": _JSON, **access.headers}

    def close(self) -> None:
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = _JSON,
    ) -> Manifest:
        """Raises errors.ApiError and errors.Unreachable."""
        target = f"{self._prefix}{path}{'?' + urlencode(query) if query else ''}"
        headers = {**self._headers, **({"Content-Type": content_type} if body is not None else {})}
        content = None if body is None else json.dumps(body).encode()
        try:
            status, text, retry_after = self._exchange(method, target, content, headers)
            if status >= 300:
                raise _failure(status, text, retry_after)
            found: Manifest = json.loads(text)
        # What is no JSON came from something in between, a proxy or a load balancer.
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise errors.Unreachable(f"{method} {path}: {error!r}") from error
        return found

    def _exchange(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes, str | None]:
        was_open = self._http.sock is not None
        try:
            self._http.request(method, target, body, headers)
            response = self._http.getresponse()
        except (ConnectionError, http.client.RemoteDisconnected):
            self.close()
            # One that was kept may have been closed from the other side meanwhile. Reading again changes nothing.
            if was_open and method == "GET":
                return self._exchange(method, target, body, headers)
            raise
        return response.status, response.read(), response.headers.get("Retry-After")


class _SecureConnection(http.client.HTTPConnection):
    """As HTTPSConnection, but the name that the certificate has to bear can be another than the host's."""

    default_port = _PORTS["https"]

    def __init__(self, host: str, port: int, tls: ssl.SSLContext, server_name: str) -> None:
        super().__init__(host, port, timeout=_CONNECT_SECONDS)
        self._tls = tls
        self._server_name = server_name

    def connect(self) -> None:
        super().connect()
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name)
        self.sock.settimeout(_ANSWER_SECONDS)


def _connection(access: Access) -> http.client.HTTPConnection:
    scheme, host, port = _address("server", access.server, "http", "https")
    _, hop, hop_port = _address("proxy-url", access.proxy, "http") if access.proxy else (scheme, host, port)
    if scheme == "http":
        found = http.client.HTTPConnection(hop, hop_port, timeout=_ANSWER_SECONDS)
    else:
        found = _SecureConnection(hop, hop_port, _tls(access), access.server_name or host)
    if access.proxy:
        found.set_tunnel(host, port, _proxy_login(access.proxy))
    return found


def _proxy_login(url: str) -> Mapping[str, str]:
    """The header for a user and a password in the proxy's URL."""
    parts = urlsplit(url)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _address(name: str, url: str, *schemes: str) -> tuple[str, str, int]:
    """Scheme, host and port."""
    try:
        parts = urlsplit(url)
        if parts.scheme in schemes and parts.hostname and " " not in parts.hostname:
            return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]
    except ValueError:
        pass
    # Without what stands before the @: it may be a password.
    shown = re.sub(r"//.*@", "//", url)
    raise Unusable(f"the kubeconfig's {name} {shown} is no URL with {' or '.join(schemes)}")


def _tls(access: Access) -> ssl.SSLContext:
    try:
        return _context(access)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise Unusable(f"the kubeconfig's certificates cannot be used: {error}") from error


def _context(access: Access) -> ssl.SSLContext:
    found = ssl.create_default_context(cadata=access.authority.decode("ascii", "ignore") if access.authority else None)
    # Python 3.13 wants extensions that many clusters' own certificates lack, and that kubectl does not ask for.
    found.verify_flags &= ~ssl.VERIFY_X509_STRICT
    # An authority that is given is trusted, also if another one has signed it: so Go does, and Python from 3.13 on.
    found.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not access.is_verified:
        found.check_hostname = False
        found.verify_mode = ssl.CERT_NONE
    if access.certificate and access.key:
        # OpenSSL's own loader, which Python passes on, takes files alone; this one is readable for its owner only.
        with tempfile.NamedTemporaryFile() as file:
            file.write(access.certificate + b"\n" + access.key)
            file.flush()
            found.load_cert_chain(file.name)
    return found


def _failure(status: int, text: bytes, retry_after: str | None) -> errors.ApiError:
    try:
        body: dict[str, Any] = dict(json.loads(text))
    except (TypeError, ValueError):
        body = {"reason": http.client.responses.get(status, ""), "message": text.decode(errors="replace")[:500]}
    return errors.from_status(status, body, retry_after)
