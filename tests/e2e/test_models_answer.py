"""Real models behind a ClusterIP: chat, embeddings, classification."""

import json
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.e2e import sharing, specs
from tests.e2e.service import Isvc, eventually

pytestmark = sharing.models

LOADED_WITHIN = 180.0


def ask(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def test_a_chat_model_from_a_bucket_knows_the_capital_of_france(
    service: Callable[[str], Isvc], model_secret: str
) -> None:
    chat = service("chat")
    chat.apply(specs.model("s3://models/smollm2-135m-instruct", model_secret))
    eventually(chat.is_ready, chat, within=LOADED_WITHIN)
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    body = {"model": chat.name, "messages": messages, "max_tokens": 20, "temperature": 0}
    answer = ask(f"{chat.url()}/v1/chat/completions", body)
    assert "Paris" in answer["choices"][0]["message"]["content"]
    status = chat.status()
    assert status["modelStatus"]["states"] == {"activeModelState": "Loaded", "targetModelState": "Loaded"}
    assert status["url"] == f"http://{chat.name}.{chat.namespace}.svc"


def test_an_embedding_model_puts_like_beside_like(service: Callable[[str], Isvc], model_secret: str) -> None:
    embeddings = service("embeddings")
    embeddings.apply(specs.model("s3://models/all-minilm-l6-v2", model_secret))
    eventually(embeddings.is_ready, embeddings, within=LOADED_WITHIN)
    texts = ["a cat sits on the mat", "a kitten lies on the rug", "interest rates rose again"]
    answer = ask(f"{embeddings.url()}/v1/embeddings", {"model": embeddings.name, "input": texts})
    cat, kitten, rates = (each["embedding"] for each in answer["data"])
    assert len(cat) == 384
    assert _cosine(cat, kitten) > _cosine(cat, rates) + 0.3


def test_a_classifier_tells_praise_from_complaint(service: Callable[[str], Isvc], model_secret: str) -> None:
    classifier = service("classifier")
    classifier.apply(specs.model("s3://models/sentiment", model_secret))
    eventually(classifier.is_ready, classifier, within=LOADED_WITHIN)
    praise = ask(f"{classifier.url()}/predict", {"text": "I love it, this works wonderfully"})
    complaint = ask(f"{classifier.url()}/predict", {"text": "terrible, it broke on the first day"})
    assert praise["prediction"] != complaint["prediction"]
    assert min(praise["confidence"], complaint["confidence"]) > 0.5


def _cosine(one: list[float], other: list[float]) -> float:
    def length(vector: list[float]) -> float:
        return float(sum(x * x for x in vector) ** 0.5)

    return sum(x * y for x, y in zip(one, other, strict=True)) / (length(one) * length(other))
