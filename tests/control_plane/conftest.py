"""Tests of this tier run against a real API server, controllers and scheduler, with fake nodes."""

import pytest

from tests.harness.cluster import Cluster


@pytest.fixture
def cluster(control_plane: Cluster) -> Cluster:
    return control_plane
