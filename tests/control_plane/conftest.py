"""Tests of this tier run against a real API server, controllers and scheduler, with fake nodes."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pykube
import pytest

from tests.control_plane.audit import Audit
from tests.control_plane.objects import Objects
from tests.control_plane.operator_process import Installation, Operator, install, uninstall
from tests.harness import autoscalers, crds, gateway_api
from tests.harness.cluster import Cluster

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="session")
def cluster(control_plane: Cluster) -> Cluster:
    return control_plane


@pytest.fixture(scope="session")
def inference_services(control_plane: Cluster) -> None:
    """The API server offers InferenceServices. Applied client-side: the file must fit an annotation."""
    control_plane.kubectl("apply", f"--filename={CRDS}")
    crds.wait_until_established(control_plane, "crd/inferenceservices.serving.penstock.dev")


@pytest.fixture(scope="session", autouse=True)
def gateway_kinds(control_plane: Cluster) -> None:
    """The API server offers HTTPRoutes; nothing acts on them."""
    gateway_api.install_crds(control_plane)


@pytest.fixture(scope="session", autouse=True)
def autoscaler_kinds(control_plane: Cluster) -> None:
    """The API server offers ScaledObjects and VerticalPodAutoscalers; nothing acts on them."""
    autoscalers.install_keda_crds(control_plane)
    autoscalers.install_vpa_crds(control_plane)


@pytest.fixture(scope="module")
def installation(
    control_plane: Cluster, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """The chart's rights in a namespace of this module's own: its operator serves no other."""
    words = re.sub(r"[^a-z0-9]+", "-", request.module.__name__.rpartition(".")[2])
    with installed(control_plane, words, tmp_path_factory.mktemp("operator")) as found:
        yield found


@pytest.fixture
def own_installation(control_plane: Cluster, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """The same for one test, which starts and breaks operators of its own."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40]
    with installed(control_plane, words, tmp_path) as found:
        yield found


@contextmanager
def installed(cluster: Cluster, words: str, folder: Path) -> Iterator[Installation]:
    namespace = f"{words}-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", namespace)
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={namespace}", "--timeout=30s")
    found = install(cluster, [namespace], folder)
    yield found
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    uninstall(cluster, found)


@pytest.fixture(scope="module")
def module_operator(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """One operator for the module's tests."""
    found = Operator(installation, tmp_path_factory.mktemp("log")).start().wait_until_leading()
    yield found
    assert found.stop() == 0


@pytest.fixture
def operator(module_operator: Operator) -> Iterator[Operator]:
    """The module's operator; what it logged during a test is printed, which pytest shows when the test fails."""
    before = len(module_operator.told())
    yield module_operator
    print(module_operator.told()[before:])


@pytest.fixture(scope="session")
def session_client(control_plane: Cluster) -> Iterator[pykube.HTTPClient]:
    client = pykube.HTTPClient(pykube.KubeConfig.from_file(str(control_plane.kubeconfig)))
    yield client
    client.session.close()


@pytest.fixture(scope="module")
def objects(session_client: pykube.HTTPClient, installation: Installation) -> Objects:
    """The objects of the module's namespace."""
    return Objects(session_client, installation.namespace)


@pytest.fixture
def own_objects(session_client: pykube.HTTPClient, own_installation: Installation) -> Objects:
    """The objects of the test's own namespace."""
    return Objects(session_client, own_installation.namespace)


@pytest.fixture
def name() -> str:
    """Of a service of this test's own."""
    return f"chat-{secrets.token_hex(3)}"


@pytest.fixture
def audit(control_plane: Cluster) -> Audit:
    """What the API server is asked for from the start of this test on."""
    if control_plane.audit_log is None:
        pytest.skip("this cluster's API server does not let us read its audit log")
    return Audit(control_plane.audit_log)
