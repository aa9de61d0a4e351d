"""A cluster in Docker containers, through kind and pytest-kind.

Written from their documentation and source; it has never been run, for want of a machine with privileged Docker.
The control-plane profile adds kwok's fake nodes; the node profile is kind's own node, without the local registry, the
metrics server and the fake GPUs of the local provider.
"""

from contextlib import chdir
from dataclasses import replace
from pathlib import Path

from pytest_kind import KindCluster

from tests.harness import existing, kwok, tools
from tests.harness.handle import Cluster
from tests.harness.processes import Processes
from tests.harness.requirements import KIND_IMAGE


def up(profile: str, state: Path) -> Cluster:
    kind = _kind(state)
    kind.create()
    cluster = Cluster("kind", profile, kind.kubeconfig_path, "", kind.kubectl_path, state, audit_log=None)
    if profile == "control-plane":
        kwok.start(state, kind.kubeconfig_path)
        kwok.make_nodes(cluster)
    return replace(cluster, api_url=existing.server(cluster))


def down(profile: str, state: Path) -> None:
    Processes(state).stop_all()
    _kind(state).delete()


def load_image(profile: str, state: Path, image: str) -> None:
    """Copies an image from Docker to the cluster's nodes."""
    _kind(state).load_docker_image(image)


def _kind(state: Path) -> KindCluster:
    # pytest-kind makes a folder where it stands.
    with chdir(state):
        return KindCluster(
            f"penstock-{state.name}",
            kubeconfig=state / "kubeconfig",
            image=KIND_IMAGE,
            kind_path=tools.ensure("kind")["kind"],
            kubectl_path=tools.kubectl(),
        )
