"""A cluster of host processes: upstream Kubernetes on this machine, without Docker."""

import shutil
from pathlib import Path

from tests.harness import control_plane, kwok, node, tools
from tests.harness.control_plane import ControlPlane
from tests.harness.handle import Cluster
from tests.harness.processes import Processes


def up(profile: str, state: Path, *, hpa_sync_seconds: int) -> Cluster:
    """Starts a new cluster; what a crashed one has left in `state` is removed first."""
    down(profile, state)
    try:
        return _node_up(state, hpa_sync_seconds) if profile == "node" else _control_plane_up(state, hpa_sync_seconds)
    except BaseException:
        # Half a cluster helps nobody; its logs stay.
        down(profile, state)
        raise


def down(profile: str, state: Path) -> None:
    """Stops and removes everything but the logs; a no-op where there is nothing."""
    if profile == "node":
        node.stop(state)
    # Their data is deleted next: there is nothing to finish.
    Processes(state).stop_all(grace=0)
    for path in state.glob("*"):
        if path.name != "logs":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def is_healthy(state: Path) -> bool:
    """Whether all that was started is running, and the API server is ready."""
    processes = Processes(state)
    return all(processes.is_running(name) for name in processes.names()) and control_plane.is_ready(
        control_plane.load(state)
    )


def _control_plane_up(state: Path, hpa_sync_seconds: int) -> Cluster:
    tools.ensure("kubernetes", "etcd", "kwok")
    plane = control_plane.start(state, on_node=False, hpa_sync_seconds=hpa_sync_seconds)
    cluster = _cluster("control-plane", plane)
    kwok.start(state, plane.kubeconfig("kwok"))
    kwok.make_nodes(cluster)
    return cluster


def _node_up(state: Path, hpa_sync_seconds: int) -> Cluster:
    node.prepare(state)
    plane = control_plane.start(state, on_node=True, hpa_sync_seconds=hpa_sync_seconds)
    cluster = _cluster("node", plane)
    node.start(plane, cluster)
    return cluster


def _cluster(profile: str, plane: ControlPlane) -> Cluster:
    return Cluster(
        provider="local",
        profile=profile,
        kubeconfig=plane.kubeconfig("admin"),
        api_url=plane.url,
        kubectl_path=tools.kubectl(),
        state=plane.state,
        audit_log=plane.audit_log,
    )
