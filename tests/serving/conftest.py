"""Model directories, and one server process per kind of model for tests that leave it as it was."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import tiny
from tests.serving.server import Server, started


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="session")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.embedder(tmp_path_factory.mktemp("embedder"))


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="session")
def text_server(llama: Path) -> Iterator[Server]:
    with started(llama, "--model-name=tiny", "--max-queue=4") as server:
        yield server


@pytest.fixture(scope="session")
def embedding_server(embedder: Path) -> Iterator[Server]:
    with started(embedder, "--model-name=vectors") as server:
        yield server


@pytest.fixture(scope="session")
def classifier_server(classifier: Path) -> Iterator[Server]:
    with started(classifier, "--model-name=labels") as server:
        yield server
