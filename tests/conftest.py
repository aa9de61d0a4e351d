"""Fixtures of the tiers that need a cluster. A tier chooses its own by overriding `cluster`."""

import os
import re
import secrets
from collections.abc import Generator, Iterator

import pykube
import pytest

from tests.harness import cluster as clusters
from tests.harness.cluster import CannotRunHere, Cluster
from tests.harness.progress import tail


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="accept what is generated now as the golden files")


@pytest.fixture
def is_updating_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A real control plane with fake nodes, shared by all tests that run meanwhile: keep to your own namespace."""
    yield from _session_cluster("control-plane", request.config)


@pytest.fixture(scope="session")
def node_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster with one real node, which runs pods."""
    yield from _session_cluster("node", request.config)


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of this test's own, named after it; deleted afterwards, without waiting for that."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    name = f"{words[:40].rstrip('-')}-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    # Without its service account, pods are refused at first and tried again much later.
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={name}", "--timeout=30s")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def pykube_client(cluster: Cluster) -> Iterator[pykube.HTTPClient]:
    """An independent client: what Penstock wrote is checked with code that did not write it."""
    client = pykube.HTTPClient(pykube.KubeConfig.from_file(str(cluster.kubeconfig)))
    yield client
    client.session.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the end of each component's log to the report of a failed cluster test."""
    report = yield
    if report.failed:
        report.sections += _logs(item)
    return report


def _logs(item: pytest.Item) -> list[tuple[str, str]]:
    values: dict[str, object] = getattr(item, "funcargs", {})
    used = next((value for value in values.values() if isinstance(value, Cluster)), None)
    return [(f"end of {log}", tail(log)) for log in used.logs().values()] if used else []


def _session_cluster(profile: str, config: pytest.Config) -> Iterator[Cluster]:
    """A cluster that was running before stays; one that was started for the tests goes with them."""
    was_running = clusters.running(profile) is not None
    try:
        # Building takes minutes the first time: its progress must be seen.
        with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            cluster = clusters.up(profile, clusters.named_provider())
    except CannotRunHere as reason:
        # In CI nothing may pass by not running.
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no {profile} cluster here: {reason}")
    yield cluster
    if not was_running:
        clusters.down(profile)
