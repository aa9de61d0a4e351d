"""A cluster that somebody else runs, named by KUBECONFIG; it is used, and never started or stopped."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from tests.harness import tools
from tests.harness.handle import Cluster


def up(profile: str, state: Path) -> Cluster:
    """Raises KubectlError when the cluster does not answer."""
    # Only the variable counts: the current context of ~/.kube/config may be production.
    kubeconfig = Path(os.environ["KUBECONFIG"])
    kubectl = Path(shutil.which("kubectl") or tools.kubectl())
    cluster = Cluster("existing", profile, kubeconfig, "", kubectl, state, audit_log=None)
    return replace(cluster, api_url=server(cluster))


def server(cluster: Cluster) -> str:
    """The API server's address in the kubeconfig, once it has answered."""
    cluster.kubectl("get", "--raw", "/readyz")
    return cluster.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
