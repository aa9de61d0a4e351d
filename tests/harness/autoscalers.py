"""The kinds of KEDA and of the Vertical Pod Autoscaler, as their own releases have them. Nothing acts on them."""

from typing import Final

from tests.harness import go_modules
from tests.harness.gateway_api import apply_crds
from tests.harness.handle import Cluster
from tests.harness.tools import Tool

# No program: only the files of the modules that its go.mod names.
_DEFINITIONS: Final = Tool("definitions", {}, minutes=0)
_KEDA: Final = "github.com/kedacore/keda/v2"
_VPA: Final = "k8s.io/autoscaler/vertical-pod-autoscaler"


def install_keda_crds(cluster: Cluster) -> None:
    """Makes the API server offer ScaledObjects; safe to repeat."""
    folder = go_modules.folder(_DEFINITIONS, _KEDA, "config/crd/bases")
    apply_crds(cluster, [folder / "keda.sh_scaledobjects.yaml"])


def install_all_keda_crds(cluster: Cluster) -> None:
    """All that KEDA's own processes look at."""
    apply_crds(cluster, sorted(go_modules.folder(_DEFINITIONS, _KEDA, "config/crd/bases").glob("*.yaml")))


def install_vpa_crds(cluster: Cluster) -> None:
    """Makes the API server offer VerticalPodAutoscalers; safe to repeat."""
    folder = go_modules.folder(_DEFINITIONS, _VPA, "deploy")
    apply_crds(cluster, [folder / "vpa-v1-crd-gen.yaml"])
