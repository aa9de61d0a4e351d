"""End-to-end tests run on the node cluster."""

import pytest

from tests.harness.cluster import Cluster


@pytest.fixture(scope="session")
def cluster(node_cluster: Cluster) -> Cluster:
    return node_cluster
