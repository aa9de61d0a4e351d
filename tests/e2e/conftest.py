"""End-to-end tests run on the node cluster."""

import pytest

from tests.harness.cluster import Cluster

FIRST = "test_cluster_lifecycle.py"  # makes its own cluster, of which a machine can have only one


@pytest.fixture(scope="session")
def cluster(node_cluster: Cluster) -> Cluster:
    return node_cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name != FIRST)
