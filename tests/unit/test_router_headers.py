from penstock.router import headers
from penstock.router.headers import Headers

HOST = (b"Host", b"chat.ml.svc")


def test_what_is_about_one_connection_is_taken_off_and_the_rest_is_as_it_came() -> None:
    received = [
        HOST,
        (b"Connection", b"keep-alive, X-Mine"),
        (b"Keep-Alive", b"timeout=5"),
        (b"TE", b"trailers"),
        (b"x-mine", b"1"),
        (b"X-Odd", b"caf\xe9"),
        (b"Cookie", b"a=1"),
        (b"cookie", b"b=2"),
    ]
    kept = headers.of_request(received, "10.0.0.1")
    assert kept[:4] == [HOST, (b"X-Odd", b"caf\xe9"), (b"Cookie", b"a=1"), (b"cookie", b"b=2")]


def test_the_client_s_address_is_added_to_those_before_it() -> None:
    received = [HOST, (b"X-Forwarded-For", b"1.2.3.4"), (b"X-Forwarded-For", b"5.6.7.8")]
    kept = dict(headers.of_request(received, "10.0.0.1"))
    assert kept[b"X-Forwarded-For"] == b"1.2.3.4, 5.6.7.8, 10.0.0.1"
    assert kept[b"X-Forwarded-Proto"] == b"http"


def test_the_protocol_that_a_gateway_saw_is_kept() -> None:
    assert dict(headers.of_request([HOST, (b"x-forwarded-proto", b"https")], "::1"))[b"X-Forwarded-Proto"] == b"https"


def test_connection_can_neither_take_the_host_nor_the_length() -> None:
    received: Headers = [HOST, (b"Content-Length", b"3"), (b"Connection", b"Host, Content-Length, X-A"), (b"X-A", b"")]
    assert headers.of_answer(received) == [HOST, (b"Content-Length", b"3")]


def test_a_websocket_is_asked_for_by_both_headers() -> None:
    upgrade = (b"Upgrade", b"WebSocket")
    assert headers.asks_for_websocket([(b"Connection", b"keep-alive, Upgrade"), upgrade])
    assert not headers.asks_for_websocket([upgrade])
    assert not headers.asks_for_websocket([(b"Connection", b"Upgrade"), (b"Upgrade", b"h2c")])


def test_a_head_ends_with_an_empty_line() -> None:
    assert headers.head("GET / HTTP/1.1", [HOST]) == b"GET / HTTP/1.1\r\nHost: chat.ml.svc\r\n\r\n"
