"""The kinds of the Gateway API, as its own release has them, in the version that our Envoy Gateway is built with."""

from pathlib import Path

from tests.harness import crds, go_modules
from tests.harness.handle import Cluster
from tests.harness.tools import TOOLS

TOOL = TOOLS["envoy-gateway"]
MODULE = "sigs.k8s.io/gateway-api"
CHANNEL = "standard"  # what most clusters have; Envoy Gateway does without the experimental kinds and fields


def install_crds(cluster: Cluster) -> None:
    """Makes the API server offer HTTPRoutes, Gateways and their kin. Nothing acts on them; safe to repeat."""
    folder = go_modules.folder(TOOL, MODULE, f"config/crd/{CHANNEL}")
    # Beside them is a policy that refuses other releases of the kinds: a test may want one.
    apply_crds(cluster, [file for file in sorted(folder.glob("*.yaml")) if "_vap_" not in file.name])


def apply_crds(cluster: Cluster, files: list[Path]) -> None:
    """Applies the CRDs and waits until they are served. Server-side: they are too large for an annotation."""
    named = [f"--filename={file}" for file in files]
    cluster.kubectl("apply", "--server-side", "--force-conflicts", *named)
    crds.wait_until_established(cluster, *named)
