"""Penstock as users get it: the chart, both images and real models, on a real node."""

import json
import secrets
from collections.abc import Callable, Iterator

import pytest

from tests import models
from tests.e2e.service import Isvc
from tests.harness import images, object_store, release
from tests.harness.cluster import Cluster
from tests.harness.release import Penstock

BUCKET = "models"
SECRET = "model-bucket"
FIRST = "test_cluster_lifecycle.py"  # makes its own cluster, of which a machine can have only one


@pytest.fixture(scope="session")
def cluster(node_cluster: Cluster) -> Cluster:
    return node_cluster


@pytest.fixture(scope="session")
def penstock(cluster: Cluster) -> Penstock:
    """The chart, installed with images of the code as it is now."""
    operator, server = images.ensure(cluster)
    return release.install(cluster, operator, server)


@pytest.fixture(scope="session")
def bucket(cluster: Cluster) -> dict[str, str]:
    """A bucket with a chat model, an embedding model and a classifier; the variables that a Secret holds."""
    folders = {
        "smollm2-135m-instruct": models.smollm2(),
        "all-minilm-l6-v2": models.minilm(),
        "sentiment": models.classifier(),
    }
    return object_store.serve(cluster, BUCKET, folders)


@pytest.fixture
def model_secret(cluster: Cluster, namespace: str, bucket: dict[str, str]) -> str:
    """The name of a Secret in this test's namespace with the bucket's credentials."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": bucket}
    cluster.kubectl(f"--namespace={namespace}", "apply", "--filename=-", input=json.dumps(secret))
    return SECRET


@pytest.fixture
def service(cluster: Cluster, namespace: str, penstock: Penstock) -> Iterator[Callable[[str], Isvc]]:
    """Makes handles of services; their pods end before the next test, which may want the GPUs."""
    del penstock
    made: list[Isvc] = []

    def make(name: str) -> Isvc:
        made.append(Isvc(cluster, namespace, f"{name}-{secrets.token_hex(2)}"))
        return made[-1]

    yield make
    for each in made:
        each.remove()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name != FIRST)
