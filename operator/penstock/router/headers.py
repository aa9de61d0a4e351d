"""Headers as a proxy passes them on: byte for byte, but for those that are about one connection. Pure."""

from collections.abc import Iterable
from typing import Final, TypeAlias

Headers: TypeAlias = list[tuple[bytes, bytes]]

CONTENT_LENGTH: Final = b"content-length"
CHUNKED: Final = (b"Transfer-Encoding", b"chunked")
CLOSE: Final = (b"Connection", b"close")
UPGRADE: Final = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]

# https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# The router itself says when the body may come, once there is somebody to take it.
_OF_REQUESTS: Final = frozenset({b"expect", b"x-forwarded-for", b"x-forwarded-proto"})
# Where a body ends is not for the header Connection to say, nor whom it is for.
_KEPT: Final = frozenset({b"host", CONTENT_LENGTH})


def of_request(received: Iterable[tuple[bytes, bytes]], client: str) -> Headers:
    """What a pod is sent of the request of a client with that address."""
    received = list(received)
    kept = _end_to_end(received)
    passed = [(name, value) for name, value in kept if name.lower() not in _OF_REQUESTS]
    came_through = [value for name, value in kept if name.lower() == b"x-forwarded-for"]
    proto = next((value for name, value in kept if name.lower() == b"x-forwarded-proto"), b"http")
    forwarded = b", ".join([*came_through, client.encode()])
    return [*passed, (b"X-Forwarded-For", forwarded), (b"X-Forwarded-Proto", proto)]


def of_answer(received: Iterable[tuple[bytes, bytes]]) -> Headers:
    """What a client is sent of a pod's answer."""
    return _end_to_end(list(received))


def asks_for_websocket(received: Iterable[tuple[bytes, bytes]]) -> bool:
    received = list(received)
    return b"upgrade" in _tokens(received, b"connection") and b"websocket" in _tokens(received, b"upgrade")


def expects_continue(received: Iterable[tuple[bytes, bytes]]) -> bool:
    return b"100-continue" in _tokens(received, b"expect")


def without_length(headers: Headers) -> Headers:
    return [each for each in headers if each[0].lower() != CONTENT_LENGTH]


def head(first: str, headers: Headers) -> bytes:
    """The head of a message, from its first line on."""
    lines = [first.encode("utf-8", "surrogateescape"), *(name + b": " + value for name, value in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _end_to_end(received: Headers) -> Headers:
    named = _tokens(received, b"connection") - _KEPT
    return [each for each in received if each[0].lower() not in _HOP_BY_HOP | named]


def _tokens(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> frozenset[bytes]:
    values = (value for each, value in headers if each.lower() == name)
    return frozenset(token.strip().lower() for value in values for token in value.split(b",") if token.strip())
