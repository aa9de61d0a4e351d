"""The OpenAI text routes, against a real server process with a random model."""

import openai
import pytest

from tests.serving import tiny
from tests.serving.server import Server

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def client(text_server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{text_server.url}/v1", api_key="none", max_retries=0)


def test_the_openai_client_gets_an_answer_with_its_usage(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "hi"}], max_tokens=7)
    assert answer.choices[0].message.role == "assistant"
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 7
    assert answer.usage.prompt_tokens == len("<user>hi<assistant>")


def test_a_stream_has_the_same_text_as_the_whole_answer(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "hi"}], max_tokens=40, temperature=0
    )
    with client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "hi"}],
        max_tokens=40,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason


def test_a_stream_ends_with_its_mark(text_server: Server) -> None:
    answer = text_server.post("/v1/completions", {"prompt": "abc", "max_tokens": 3, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.events[-1] == "[DONE]"
    assert answer.events[-2]["choices"][0]["finish_reason"] in {"stop", "length"}


def test_equal_seeds_give_equal_texts_and_other_seeds_other_texts(client: openai.OpenAI) -> None:
    def text(seed: int) -> str:
        return client.completions.create(model="tiny", prompt="once", max_tokens=30, seed=seed).choices[0].text

    assert text(1) == text(1)
    assert text(1) != text(2)


def test_the_choices_of_a_seeded_request_differ_from_each_other(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt=["a", "b"], n=2, max_tokens=20, seed=1)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.choices[0].text != answer.choices[1].text


def test_a_stop_string_ends_the_text_before_itself(client: openai.OpenAI) -> None:
    whole = client.completions.create(model="tiny", prompt="x", max_tokens=40, seed=3).choices[0].text
    stop = whole[5:7]
    cut = client.completions.create(model="tiny", prompt="x", max_tokens=40, seed=3, stop=stop).choices[0]
    assert cut.text == whole[: whole.index(stop)]
    assert cut.finish_reason == "stop"


def test_a_presence_penalty_makes_greedy_text_repeat_itself_less(client: openai.OpenAI) -> None:
    def distinct(penalty: float) -> int:
        answer = client.completions.create(
            model="tiny", prompt="x", max_tokens=60, temperature=0, presence_penalty=penalty, frequency_penalty=penalty
        )
        return len(set(answer.choices[0].text))

    assert distinct(2.0) > distinct(0.0)


def test_a_tiny_nucleus_is_the_same_as_greedy(client: openai.OpenAI) -> None:
    nucleus = client.completions.create(model="tiny", prompt="x", max_tokens=20, top_p=1e-9)
    greedy = client.completions.create(model="tiny", prompt="x", max_tokens=20, temperature=0)
    first = client.completions.create(model="tiny", prompt="x", max_tokens=20, extra_body={"top_k": 1})
    cold = client.completions.create(model="tiny", prompt="x", max_tokens=20, temperature=1e-40)
    assert len({answer.choices[0].text for answer in (nucleus, greedy, first, cold)}) == 1


def test_the_plain_route_needs_no_model_name(text_server: Server) -> None:
    answer = text_server.post("/completions", {"prompt": "abc", "max_tokens": 4})
    assert answer.status == 200
    assert answer.json["usage"]["completion_tokens"] <= 4


def test_a_prompt_of_token_ids_is_taken_as_it_is(client: openai.OpenAI) -> None:
    ids = tiny.byte_tokenizer().encode("hello")
    from_ids = client.completions.create(model="tiny", prompt=ids, max_tokens=9, temperature=0)
    from_text = client.completions.create(model="tiny", prompt="hello", max_tokens=9, temperature=0)
    assert from_ids.choices[0].text == from_text.choices[0].text


def test_a_conversation_as_parts_reads_like_one_text(text_server: Server) -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]}]
    body = {"max_completion_tokens": 9, "temperature": 0}
    split = text_server.post("/v1/chat/completions", {"messages": parts, **body})
    whole = text_server.post("/v1/chat/completions", {"messages": HELLO, **body})
    assert split.json["choices"] == whole.json["choices"]


def test_the_model_is_listed_with_its_device_and_context(text_server: Server) -> None:
    listed = text_server.get("/v1/models").json["data"]
    assert [(m["id"], m["device"], m["max_model_len"], m["dtype"]) for m in listed] == [
        ("tiny", "cpu", tiny.CONTEXT, "float32")
    ]
    assert text_server.get("/v1/models/tiny").json["id"] == "tiny"
    assert text_server.get("/v1/models/other").error["code"] == "model_not_found"
