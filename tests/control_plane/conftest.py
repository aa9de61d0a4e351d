"""What the tests against a real API server share."""

from pathlib import Path

import pytest

from tests.harness.handle import Cluster

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="session")
def inference_services(control_plane: Cluster) -> None:
    """The API server offers InferenceServices. Applied client-side: the file must fit an annotation."""
    control_plane.kubectl("apply", f"--filename={CRDS}")
    control_plane.kubectl("wait", "--for=condition=Established", "crd/inferenceservices.serving.penstock.dev")
