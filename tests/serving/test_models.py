"""The small real models are what they claim to be."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests import models
from tests.models import LABELS, sentences


def test_the_classifier_knows_the_mood_of_sentences_it_never_saw() -> None:
    directory = models.classifier()
    model = AutoModelForSequenceClassification.from_pretrained(directory)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    texts, labels = zip(*sentences(held_out=True), strict=True)
    with torch.inference_mode():
        chosen = model(**tokenizer(list(texts), padding=True, return_tensors="pt")).logits.argmax(-1).tolist()
    right = [model.config.id2label[index] == label for index, label in zip(chosen, labels, strict=True)]
    assert sum(right) / len(right) >= 0.85


def test_training_never_sees_the_held_out_sentences() -> None:
    assert not {text for text, _ in sentences(held_out=False)} & {text for text, _ in sentences(held_out=True)}
    assert {label for _, label in sentences(held_out=True)} == set(LABELS)


@pytest.mark.parametrize("make", [models.minilm, models.classifier])
def test_a_model_is_a_whole_model_directory(make: Callable[[], Path]) -> None:
    directory = make()
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in directory.iterdir()}
