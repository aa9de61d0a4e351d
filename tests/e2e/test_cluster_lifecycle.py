"""The node cluster comes and goes without a trace. These tests make their own, so they run before all others do."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.harness import cluster as clusters
from tests.harness import leftovers, network
from tests.harness.cluster import Cluster
from tests.harness.processes import Processes

FOLDERS = (
    leftovers.DEVICE_PLUGINS,
    leftovers.CNI_RESULTS,
    leftovers.CONTAINER_LOGS,
    leftovers.SHIM_SOCKETS,
    Path("/run/netns"),
    Path("/opt"),
    Path("/var/log"),
    Path("/var/lib"),
    *leftovers.hierarchies(Path("/proc/self/mounts").read_text()),
)


@pytest.fixture
def no_cluster() -> None:
    if clusters.running("node"):
        reason = "a node cluster is running, and this test starts and stops its own: `make cluster-down` first"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


@pytest.fixture
def before(no_cluster: None) -> Iterator[dict[str, object]]:
    """What the machine looked like; the cluster goes away whatever happens."""
    clusters.down("node")
    yield machine()
    clusters.down("node")


def machine() -> dict[str, object]:
    """Everything of this machine that a node changes."""
    state = str(clusters.state("node"))
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return {
        "links": output("ip", "-brief", "link"),
        "addresses": output("ip", "-brief", "address"),
        "routes": output("ip", "route"),
        "rules": {save: rules(output(save)) for save in ("iptables-save", "ip6tables-save")},
        "mounts": [line for line in mounts if state in line or "kubelet" in line or "netns" in line],
        "folders": {str(folder): sorted(path.name for path in folder.glob("*")) for folder in FOLDERS},
        "settings": {name: Path("/proc/sys", name).read_text() for name in network.SYSCTLS if known(name)},
        "processes": [words for words in commands() if state in words],
    }


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def rules(saved: str) -> list[str]:
    """Without the built-in chains: asking for a table creates them, and empty they do nothing."""
    lines = [line for line in saved.splitlines() if line.startswith((":", "-"))]
    return [line.split("[")[0] for line in lines if not line.endswith("ACCEPT [0:0]")]


def known(setting: str) -> bool:
    """Those of netfilter appear with its first rule."""
    return Path("/proc/sys", setting).exists() and "netfilter" not in setting


def commands() -> list[str]:
    return [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]


def run_a_pod(cluster: Cluster) -> None:
    """CoreDNS is one, with a volume, a network and a memory cgroup: all that a pod leaves when nobody cleans up."""
    cluster.kubectl("rollout", "status", "--namespace=kube-system", "deployment/coredns", "--timeout=30s")
    assert list(leftovers.contained())
    assert leftovers.mounts_under(cluster.state, Path("/proc/self/mounts").read_text())


def test_a_stopped_cluster_leaves_nothing_behind(before: dict[str, object]) -> None:
    run_a_pod(clusters.up("node", "local"))
    clusters.down("node")
    assert machine() == before


def test_a_cluster_starts_after_all_its_programs_were_killed(before: dict[str, object]) -> None:
    cluster = clusters.up("node", "local")
    processes = Processes(cluster.state)
    for name in processes.names():
        processes.kill(name, signal.SIGKILL)
    assert not clusters.running("node")

    run_a_pod(clusters.up("node", "local"))
    clusters.down("node")
    assert machine() == before


def test_a_cluster_whose_programs_and_pods_were_killed_leaves_nothing_behind(before: dict[str, object]) -> None:
    cluster = clusters.up("node", "local")
    processes = Processes(cluster.state)
    for name in processes.names():
        processes.kill(name, signal.SIGKILL)
    for pid in {*leftovers.shims(cluster.state), *leftovers.contained()}:
        os.kill(pid, signal.SIGKILL)

    clusters.down("node")
    assert machine() == before
