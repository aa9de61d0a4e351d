"""Tests of this tier run against a real API server, controllers and scheduler, with fake nodes."""

from pathlib import Path

import pytest

from tests.harness.cluster import Cluster

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="session")
def cluster(control_plane: Cluster) -> Cluster:
    return control_plane


@pytest.fixture(scope="session")
def inference_services(control_plane: Cluster) -> None:
    """The API server offers InferenceServices. Applied client-side: the file must fit an annotation."""
    control_plane.kubectl("apply", f"--filename={CRDS}")
    control_plane.kubectl("wait", "--for=condition=Established", "crd/inferenceservices.serving.penstock.dev")
