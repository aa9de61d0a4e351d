"""/v1/embeddings and /predict, against real server processes with random models."""

import math

import openai
import pytest

from tests.serving.server import Server, in_background


def test_the_openai_client_gets_unit_vectors_in_order(embedding_server: Server) -> None:
    client = openai.OpenAI(base_url=f"{embedding_server.url}/v1", api_key="none")
    answer = client.embeddings.create(model="vectors", input=["one", "two", "a longer third text"])
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert [math.hypot(*item.embedding) for item in answer.data] == pytest.approx([1, 1, 1])
    assert answer.usage.prompt_tokens == sum(len(t) + 1 for t in ("one", "two", "a longer third text"))


def test_a_text_has_the_same_vector_alone_and_in_a_batch(embedding_server: Server) -> None:
    def vectors(texts: list[str]) -> list[list[float]]:
        answer = embedding_server.post("/v1/embeddings", {"input": texts})
        return [item["embedding"] for item in answer.json["data"]]

    texts = ["short", "a text that is quite a bit longer than the others", "mid-size text", "x"]
    together = vectors(texts)
    for text, vector in zip(texts, together, strict=True):
        assert vectors([text])[0] == pytest.approx(vector, abs=1e-5)


def test_concurrent_requests_get_their_own_rows(embedding_server: Server) -> None:
    texts = [f"text number {i} " + "x" * i for i in range(24)]
    alone = [embedding_server.post("/v1/embeddings", {"input": text}).json["data"] for text in texts]
    waits = [
        in_background(lambda text=text: embedding_server.post("/v1/embeddings", {"input": text}))  # type: ignore[misc]
        for text in texts
    ]
    for wait, expected in zip(waits, alone, strict=True):
        assert wait().json["data"][0]["embedding"] == pytest.approx(expected[0]["embedding"], abs=1e-5)


def test_a_text_above_the_limit_is_refused_and_never_cut(embedding_server: Server) -> None:
    answer = embedding_server.post("/v1/embeddings", {"input": ["fine", "x" * 500]})
    assert (answer.status, answer.error["param"], answer.error["code"]) == (400, "input[1]", "context_length_exceeded")


@pytest.mark.parametrize("given", ["", [], [""], [[]], 5, [1.5]])
def test_an_input_of_nothing_is_refused(embedding_server: Server, given: object) -> None:
    answer = embedding_server.post("/v1/embeddings", {"input": given})
    assert answer.status == 400
    assert answer.error["param"].startswith("input")


def test_one_text_gets_a_label_with_its_scores(classifier_server: Server) -> None:
    answer = classifier_server.post("/predict", {"text": "fine"}).json
    assert set(answer) == {"prediction", "confidence", "scores"}
    assert set(answer["scores"]) == {"bad", "fair", "good"}
    assert sum(answer["scores"].values()) == pytest.approx(1)
    assert answer["confidence"] == max(answer["scores"].values()) == answer["scores"][answer["prediction"]]


def test_several_texts_get_the_labels_they_get_alone(classifier_server: Server) -> None:
    texts = ["one", "a second text, which is longer", "three"]
    together = classifier_server.post("/predict", {"texts": texts}).json["predictions"]
    for text, prediction in zip(texts, together, strict=True):
        alone = classifier_server.post("/predict", {"text": text}).json
        assert alone["scores"] == pytest.approx(prediction["scores"], abs=1e-5)


def test_text_and_texts_exclude_each_other(classifier_server: Server) -> None:
    assert classifier_server.post("/predict", {}).status == 400
    assert classifier_server.post("/predict", {"text": "a", "texts": ["b"]}).status == 400
