"""The rendered objects and the samples, as a real API server takes them."""

import json
from pathlib import Path

import pytest

from tests.chart import rendering
from tests.harness import crds
from tests.harness.cluster import Cluster

SAMPLES = sorted((rendering.REPOSITORY / "manifests" / "samples").glob("*.yaml"))
CRD = rendering.REPOSITORY / "crds" / rendering.CHART_CRD.name
# Strict, as kubectl is by default: a field that the API does not know is an error, not lost.
DRY_RUN = ("apply", "--dry-run=server", "--validate=strict")


@pytest.fixture
def cluster(control_plane: Cluster) -> Cluster:
    """The control plane, serving InferenceServices."""
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={CRD}")
    crds.wait_until_established(control_plane, f"--filename={CRD}")
    return control_plane


@pytest.fixture
def restricted_namespace(cluster: Cluster, namespace: str) -> str:
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    return namespace


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_is_accepted(cluster: Cluster, namespace: str, sample: Path) -> None:
    printed = cluster.kubectl(*DRY_RUN, f"--namespace={namespace}", f"--filename={sample}")

    assert "created (server dry run)" in printed


def test_the_samples_are_there() -> None:
    taught = {"smollm2", "minilm", "classifier", "gpu", "custom-container", "blue-green", "auto-gpu", "canary"}
    assert {path.stem for path in SAMPLES} >= taught | {"canary-gateway", "ab-test"}


def test_every_object_of_the_install_manifest_is_accepted(cluster: Cluster, namespace: str) -> None:
    text = rendering.INSTALL.read_text().replace(rendering.NAMESPACE, namespace)

    printed = cluster.kubectl(*DRY_RUN, "--filename=-", input=text)

    assert printed.count("(server dry run)") == text.count("\nkind: ")


@pytest.mark.parametrize("pod", rendering.pods(), ids=lambda pod: pod["containers"][0]["name"])
def test_the_pods_are_admitted_to_a_restricted_namespace(
    cluster: Cluster, restricted_namespace: str, pod: dict[str, object]
) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "admitted", "namespace": restricted_namespace},
        "spec": {**pod, "serviceAccountName": "default"},
    }

    printed = cluster.kubectl(*DRY_RUN, "--filename=-", input=json.dumps(manifest))

    assert printed.startswith("pod/admitted created")


def test_helm_installs_into_chosen_namespaces_and_leaves_nothing_behind(cluster: Cluster, namespace: str) -> None:
    flags = (f"--namespace={namespace}", f"--kubeconfig={cluster.kubeconfig}")
    values = ("--set=crd.create=false", f"--set=watchNamespaces={{{namespace}}}")

    installed = rendering.helm("install", namespace, rendering.CHART, *flags, *values)
    kinds = cluster.kubectl("get", "deployments,roles,services", "--output=name", f"--namespace={namespace}").split()
    removed = rendering.helm("uninstall", namespace, "--wait", *flags)

    assert installed.returncode == 0, installed.stderr
    assert "kubectl apply -f manifests/samples/smollm2.yaml" in installed.stdout
    assert len(kinds) == 12
    assert removed.returncode == 0, removed.stderr
    assert cluster.kubectl("get", "deployments,roles,services", "--output=name", f"--namespace={namespace}") == ""
    assert cluster.kubectl("get", f"--filename={CRD}", "--output=name")
