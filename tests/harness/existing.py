"""A cluster that somebody else runs, named by KUBECONFIG; it is used, and never started or stopped."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from tests.harness import tools
from tests.harness.handle import Cluster, KubectlError


def up(profile: str, state: Path) -> Cluster:
    """Raises KubectlError when KUBECONFIG names no cluster, or one that does not answer."""
    kubectl = Path(shutil.which("kubectl") or tools.kubectl())
    cluster = Cluster("existing", profile, state / "kubeconfig", "", kubectl, state, audit_log=None)
    _keep_context(kubectl, cluster.kubeconfig)
    return replace(cluster, api_url=server(cluster))


def server(cluster: Cluster) -> str:
    """The API server's address in the kubeconfig, once it has answered."""
    cluster.kubectl("get", "--raw", "/readyz")
    return cluster.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")


def _keep_context(kubectl: Path, target: Path) -> None:
    """Writes the current context, alone and with its certificates, to a file of our own.

    KUBECONFIG may be a list of relative paths, and somebody may choose another context while tests run.
    """
    # Only the variable counts, as it does for kubectl: the current context of ~/.kube/config may be production.
    named = os.environ["KUBECONFIG"]
    view = [str(kubectl), "config", "view", "--minify", "--flatten", "--raw"]
    done = subprocess.run(view, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KubectlError(f"KUBECONFIG={named} names no cluster: {done.stderr.strip()}")
    target.touch(mode=0o600)  # It holds credentials, until `down`.
    target.write_text(done.stdout)
