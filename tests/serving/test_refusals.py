"""What is refused, how, and that the field at fault is named."""

from typing import Any

import pytest
from penstock_server.protocol.openai import ChatRequest, CompletionRequest, EmbeddingRequest
from penstock_server.protocol.reading import Body
from pydantic import ValidationError

from tests.serving.server import Server

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}


def with_(**fields: Any) -> dict[str, Any]:
    return {**HELLO, **fields}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        pytest.param({}, "messages", id="a missing field"),
        pytest.param(with_(messages=[]), "messages", id="an empty list"),
        pytest.param(with_(messages=[{"role": "user", "content": 5}]), "messages[0].content", id="a wrong type"),
        pytest.param(with_(messages=[{"role": "robot", "content": "x"}]), "messages[0].role", id="an unknown role"),
        pytest.param(
            with_(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]),
            "messages[0].content[0].image_url",
            id="an image",
        ),
        pytest.param(with_(temperature="hot"), "temperature", id="a string for a number"),
        pytest.param(with_(temperature=2.5), "temperature", id="a number out of bounds"),
        pytest.param(with_(max_tokens=0), "max_tokens", id="nothing to write"),
        pytest.param(with_(max_tokens=True), "max_tokens", id="a boolean for a number"),
        pytest.param(with_(max_tokens=10_000), "messages", id="more than the context"),
        pytest.param(with_(seed=2**64), "seed", id="a seed that is too large"),
        pytest.param(with_(stop=[""]), "stop[0]", id="an empty stop string"),
        pytest.param(with_(tools=[{"type": "function"}]), "tools", id="tools"),
        pytest.param(with_(logprobs=True), "logprobs", id="logprobs"),
        pytest.param(with_(response_format={"type": "json_object"}), "response_format", id="a response format"),
        pytest.param(with_(no_such_field=1), "no_such_field", id="an unknown field"),
        pytest.param(with_(stream_options={"include_usage": True}), None, id="stream options without a stream"),
        pytest.param(with_(messages=[{"role": "assistant", "content": "x"}]), "messages", id="the template's own rule"),
        pytest.param([], None, id="a list for an object"),
    ],
)
def test_a_bad_request_names_its_field(text_server: Server, body: Any, param: str | None) -> None:
    answer = text_server.post(CHAT, body)
    assert answer.status == 400, answer.text
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["param"] == (param or "body")


@pytest.mark.parametrize("fields", [{"tools": []}, {"logprobs": False}, {"logit_bias": None}, {"user": "me"}, {"n": 1}])
def test_a_field_that_asks_for_nothing_is_taken(text_server: Server, fields: dict[str, Any]) -> None:
    assert text_server.post(CHAT, with_(**fields)).status == 200


@pytest.mark.parametrize("raw", [b"", b"{", b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000, b'{"temperature": Infinity}'])
def test_a_body_that_is_not_json_is_refused(text_server: Server, raw: bytes) -> None:
    answer = text_server.post(CHAT, raw)
    assert (answer.status, answer.error["code"]) == (400, "invalid_json")


def test_a_number_too_large_for_a_float_is_not_infinity(text_server: Server) -> None:
    body = b'{"messages": [{"role": "user", "content": "x"}], "presence_penalty": 1e999}'
    answer = text_server.post(CHAT, body)
    assert (answer.status, answer.error["param"]) == (400, "presence_penalty")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/no/such/path", 404), ("GET", CHAT, 405), ("POST", "/livez", 405), ("POST", "/", 404)],
)
def test_an_unknown_path_or_method_gets_the_same_error_object(
    text_server: Server, method: str, path: str, status: int
) -> None:
    answer = text_server.request(method, path)
    assert answer.status == status
    assert answer.error["type"] == "invalid_request_error"


def test_a_body_above_the_bound_is_413(text_server: Server) -> None:
    assert text_server.post(CHAT, b" " * (9 * 2**20)).status == 413


def test_another_content_type_is_415(text_server: Server) -> None:
    answer = text_server.post(CHAT, HELLO, **{"Content-Type": "text/plain"})
    assert (answer.status, answer.error["type"]) == (415, "invalid_request_error")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param(CompletionRequest, {"prompt": [""] * 10_000}, id="token ids"),
        pytest.param(CompletionRequest, {"prompt": "x", "stop": [1] * 10_000}, id="stop strings"),
        pytest.param(CompletionRequest, {f"field{i}": 1 for i in range(10_000)}, id="unknown fields"),
        pytest.param(EmbeddingRequest, {"input": [[""] * 10_000]}, id="inputs"),
        pytest.param(ChatRequest, {"messages": [1] * 10_000}, id="messages"),
        pytest.param(ChatRequest, {"messages": [{"role": "user", "content": [1] * 10_000}]}, id="parts"),
    ],
)
def test_a_body_full_of_faults_is_refused_at_the_first_ones(kind: type[Body], body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(body)
    assert caught.value.error_count() < 10


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_that_is_not_compressed_as_it_says_is_400(text_server: Server, coding: str) -> None:
    answer = text_server.post(CHAT, HELLO, **{"Content-Encoding": coding})
    assert (answer.status, answer.error["code"]) == (400, "invalid_body")


def test_more_texts_than_may_ever_wait_are_refused_for_good(text_server: Server) -> None:
    answer = text_server.post(CHAT, with_(n=8))
    assert (answer.status, answer.error["param"]) == (400, "n")


def test_another_models_name_is_404(text_server: Server) -> None:
    answer = text_server.post(CHAT, with_(model="other"))
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")


def test_another_task_is_refused_by_name(text_server: Server, embedding_server: Server) -> None:
    assert text_server.post("/v1/embeddings", {"input": "x"}).error["code"] == "unsupported_task"
    assert text_server.post("/predict", {"text": "x"}).error["code"] == "unsupported_task"
    assert embedding_server.post(CHAT, HELLO).error["code"] == "unsupported_task"


def test_a_token_id_outside_the_vocabulary_is_refused(text_server: Server, embedding_server: Server) -> None:
    assert text_server.post("/v1/completions", {"prompt": [5, 99_999]}).error["param"] == "prompt"
    assert embedding_server.post("/v1/embeddings", {"input": [[5], [99_999]]}).error["param"] == "input[1]"


def test_the_requests_id_comes_back_and_a_doubtful_one_is_replaced(text_server: Server) -> None:
    given = text_server.post(CHAT, HELLO, **{"X-Request-Id": "mine-1"})
    assert given.headers["x-request-id"] == "mine-1"
    text_server.logged('"code": 200.*"request_id": "mine-1"')
    doubtful = text_server.post(CHAT, HELLO, **{"X-Request-Id": "a b"})
    assert doubtful.headers["x-request-id"] not in {"", "a b"}


def test_no_prompt_is_ever_logged(text_server: Server) -> None:
    text_server.post(CHAT, with_(messages=[{"role": "user", "content": "a-great-secret"}]))
    text_server.post(CHAT, with_(messages=[{"role": "a-great-secret", "content": "a-great-secret"}]))
    assert "a-great-secret" not in text_server.log.read_text()
