"""Penstock as users get it: the chart, both images and real models, on a real node."""

import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from tests import models
from tests.e2e import sharing
from tests.e2e.service import Isvc, apply_secret
from tests.harness import gateway as gateways
from tests.harness import images, object_store, release, resource_metrics
from tests.harness.cluster import Cluster
from tests.harness.gateway import Gateway
from tests.harness.release import Penstock

ECHO = Path(__file__).parent / "echo"
BUCKET = "models"
SECRET = "model-bucket"
FIRST = "test_cluster_lifecycle.py"  # makes its own cluster, of which a machine can have only one


@pytest.fixture(scope="session")
def cluster(node_cluster: Cluster) -> Cluster:
    return node_cluster


@pytest.fixture(autouse=True)
def _beside_others(request: pytest.FixtureRequest) -> Iterator[None]:
    """Other tests may run meanwhile, unless this one is marked `alone`: it replaces or stops what all of them use."""
    is_alone = request.node.get_closest_marker("alone") is not None
    with sharing.alone() if is_alone else sharing.beside_others():
        yield


@pytest.fixture(scope="session")
def penstock(cluster: Cluster) -> Penstock:
    """The chart, installed with images of the code as it is now."""
    with sharing.alone():
        operator, server = images.ensure(cluster)
        return release.install(cluster, operator, server)


@pytest.fixture(scope="session")
def echo_image(cluster: Cluster) -> str:
    """Python and a server that tells its host name: what tests of the cluster itself run."""
    with sharing.alone():
        return images.load(images.build(ECHO / "Dockerfile", "penstock/echo", context=ECHO))


@pytest.fixture(scope="session")
def gateway(cluster: Cluster) -> Gateway:
    """A Gateway for the routes of every test; only those that ask for it wait for its start."""
    with sharing.alone():
        return gateways.ensure(cluster)


@pytest.fixture(scope="session")
def resource_metrics_api(cluster: Cluster) -> None:
    """What pods use of CPU and memory, for HPAs and `kubectl top`."""
    with sharing.alone():
        resource_metrics.ensure(cluster)


@pytest.fixture(scope="session")
def bucket(cluster: Cluster) -> dict[str, str]:
    """A bucket with a chat model, an embedding model and a classifier; the variables that a Secret holds."""
    folders = {
        "smollm2-135m-instruct": models.smollm2(),
        "all-minilm-l6-v2": models.minilm(),
        "sentiment": models.classifier(),
    }
    with sharing.alone():
        return object_store.serve(cluster, BUCKET, folders)


@pytest.fixture
def model_secret(cluster: Cluster, namespace: str, bucket: dict[str, str]) -> str:
    """The name of a Secret in this test's namespace with the bucket's credentials."""
    apply_secret(cluster, namespace, SECRET, bucket)
    return SECRET


@pytest.fixture
def damaged_model(cluster: Cluster, bucket: dict[str, str], tmp_path: Path) -> str:
    """URI of the classifier with weights that are no numbers from the 17th token on.

    It loads, is ready and answers short texts, a smoke test's among them; each longer one is answered with a 500.
    """
    del bucket

    def damage(weights: NDArray[np.float32]) -> NDArray[np.float32]:
        weights[16:] = float("nan")
        return weights

    return _with_other_positions(cluster, "sentiment-damaged", tmp_path, damage)


@pytest.fixture
def short_model(cluster: Cluster, bucket: dict[str, str], tmp_path: Path) -> str:
    """URI of the classifier with 16 tokens of context: it refuses each longer text with a 400."""
    del bucket
    return _with_other_positions(cluster, "sentiment-short", tmp_path, lambda weights: weights[:16].copy())


def _with_other_positions(
    cluster: Cluster, name: str, tmp_path: Path, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> str:
    folder = tmp_path / name
    shutil.copytree(models.classifier(), folder)
    weights = load_file(folder / "model.safetensors")
    (positions,) = (each for each in weights if each.endswith("embeddings.position_embeddings.weight"))
    weights[positions] = change(weights[positions])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["max_position_embeddings"] = len(weights[positions])
    (folder / "config.json").write_text(json.dumps(config))
    object_store.serve(cluster, BUCKET, {name: folder})
    return f"s3://{BUCKET}/{name}"


@pytest.fixture
def service(cluster: Cluster, namespace: str, penstock: Penstock) -> Iterator[Callable[[str], Isvc]]:
    """Makes handles of services; those with GPUs have given them back when the next test begins."""
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
