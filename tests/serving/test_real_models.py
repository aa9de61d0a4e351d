"""Real weights give real answers."""

from tests import models
from tests.serving.server import started


def test_smollm2_knows_the_capital_of_france() -> None:
    question = {"role": "user", "content": "What is the capital of France?"}
    with started(models.smollm2()) as server:
        answer = server.post("/v1/chat/completions", {"messages": [question], "max_tokens": 24, "temperature": 0})
    assert "Paris" in answer.json["choices"][0]["message"]["content"]


def test_minilm_puts_a_paraphrase_nearer_than_another_subject() -> None:
    texts = ["How do I reset my password?", "I forgot my login credentials", "The cat sleeps on the warm roof"]
    with started(models.minilm()) as server:
        data = server.post("/v1/embeddings", {"input": texts}).json["data"]
    asked, near, far = (item["embedding"] for item in data)
    assert (
        sum(a * b for a, b in zip(asked, near, strict=True)) > sum(a * b for a, b in zip(asked, far, strict=True)) + 0.2
    )


def test_the_classifier_tells_praise_from_complaint() -> None:
    with started(models.classifier()) as server:
        answers = server.post("/predict", {"texts": ["I loved every minute of it", "It was a terrible waste of money"]})
    assert [item["prediction"] for item in answers.json["predictions"]] == ["positive", "negative"]
