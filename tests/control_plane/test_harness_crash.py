"""What remains of a cluster whose components or whose starter died."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import cluster as clusters
from tests.harness import tools
from tests.harness.processes import Processes, started_at


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache in which no cluster runs, with the programs of the real one."""
    tools.ensure("kubernetes", "etcd", "kwok")
    (tmp_path / "tools").symlink_to(tools.cache_dir() / "tools")
    monkeypatch.delenv("PENSTOCK_CLUSTER_COPY", raising=False)
    monkeypatch.setenv("PENSTOCK_CACHE", str(tmp_path))
    yield tmp_path
    clusters.down("control-plane")


def test_up_replaces_a_crashed_cluster_and_down_leaves_nothing_but_logs(own_cache: Path) -> None:
    first = clusters.up("control-plane", "local")
    first.stop_component("etcd", signal_number=signal.SIGKILL)
    assert clusters.running("control-plane") is None
    assert clusters.status()["control-plane"] == "local, crashed"

    second = clusters.up("control-plane", "local")
    assert second.api_url != first.api_url
    processes = Processes(second.state)
    pids = [processes.record(name).pid for name in processes.names()]

    clusters.down("control-plane")
    assert not [pid for pid in pids if started_at(pid) is not None]
    assert [path.name for path in second.state.iterdir()] == ["logs"]
    assert "control-plane" in [path.name for path in (own_cache / "clusters").iterdir()]


def test_what_a_killed_starter_left_running_is_stopped(own_cache: Path) -> None:
    """Half a cluster: a program with a record, and no cluster file."""
    left = Processes(clusters.state("control-plane"))
    left.start("etcd", ["sleep", "60"])
    pid = left.record("etcd").pid
    clusters.down("control-plane")
    assert started_at(pid) is None
    assert not (own_cache / "clusters" / "control-plane" / "processes").exists()
