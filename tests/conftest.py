"""Fixtures of the tiers that need a cluster. A tier chooses its own by overriding `cluster`."""

import os
import re
import secrets
from collections.abc import Generator, Iterator
from typing import Any

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


# Kubernetes' own is 15: tests of scaling would wait for that.
HPA_SYNC_SECONDS = 5

# Of the process that runs the tests, or hands them to workers: the clusters that were there before.
BEFORE = pytest.StashKey[set[str]]()
# Of each process that runs tests: the clusters that they used.
USED = pytest.StashKey[set[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[BEFORE] = {profile for profile in clusters.PROFILES if clusters.running(profile)}
    config.stash[USED] = set()


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest, worker_id: str) -> Iterator[Cluster]:
    """A real control plane with fake nodes, shared by all tests that run meanwhile: keep to your own namespace.

    Where tests run side by side, each worker has a control plane of its own: some of them stop it, or have releases
    that serve all namespaces.
    """
    with pytest.MonkeyPatch.context() as environment:
        if worker_id != "master":
            environment.setenv("PENSTOCK_CLUSTER_COPY", worker_id)
        was_running = clusters.running("control-plane") is not None
        yield _cluster("control-plane", request.config)
        if not was_running:
            clusters.down("control-plane")


@pytest.fixture(scope="session")
def node_cluster(request: pytest.FixtureRequest) -> Cluster:
    """A cluster with one real node, which runs pods; the workers of one run share it."""
    request.config.stash[USED].add("node")
    return _cluster("node", request.config)


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


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker says which clusters it used; whoever runs the workers, or the tests, stops those it started."""
    workers: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if workers is not None:
        used = session.config.stash[USED]
        workers["clusters"] = sorted(used)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    used: set[str] = node.config.stash[USED]
    used.update(getattr(node, "workeroutput", {}).get("clusters", []))


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workeroutput"):
        return
    # A cluster that was running before stays; one that was started for the tests goes with them.
    used, before = config.stash[USED], config.stash[BEFORE]
    for profile in used - before:
        clusters.down(profile)


def _cluster(profile: str, config: pytest.Config) -> Cluster:
    try:
        # Building takes minutes the first time: its progress must be seen.
        with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            return clusters.up(profile, clusters.named_provider(), hpa_sync_seconds=HPA_SYNC_SECONDS)
    except CannotRunHere as reason:
        # In CI nothing may pass by not running.
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no {profile} cluster here: {reason}")
