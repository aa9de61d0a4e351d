"""Penstock itself on a cluster: the Helm chart, installed or upgraded to images that were just built."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.harness import tools
from tests.harness.cluster import Cluster, KubectlError
from tests.harness.progress import HarnessError, step

CHART = Path(__file__).parents[2] / "helm" / "penstock"
NAMESPACE = "penstock-system"
OPERATOR = "deployment/penstock"


@dataclass(frozen=True)
class Penstock:
    """What is installed."""

    operator_image: str
    server_image: str


def install(cluster: Cluster, operator: str, server: str, *flags: str) -> Penstock:
    """`helm upgrade --install` with these flags, and wait until the operator runs.

    Raises HarnessError with the pods' state.
    """
    command: list[str | Path] = [
        *(tools.ensure("helm")["helm"], "upgrade", "--install", "penstock", CHART),
        *(f"--kubeconfig={cluster.kubeconfig}", f"--namespace={NAMESPACE}", "--create-namespace"),
        *("--wait", "--timeout=5m", *flags),
    ]
    for key, image in {"image": operator, "serverImage": server}.items():
        repository, _, tag = image.rpartition(":")
        command += [f"--set={key}.repository={repository}", f"--set-string={key}.tag={tag}"]
    with step("helm install penstock", lambda: _pods(cluster)):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pods = cluster.kubectl("get", "pods", f"--namespace={NAMESPACE}", "--output=wide")
        raise HarnessError(f"helm could not install Penstock: {done.stderr.strip()}\n{pods}")
    return Penstock(operator, server)


def _pods(cluster: Cluster) -> str:
    query = "--output=custom-columns=:.metadata.name,:.status.phase,:.status.containerStatuses[*].state.waiting.reason"
    try:
        return " ".join(cluster.kubectl("get", "pods", f"--namespace={NAMESPACE}", "--no-headers", query).split())
    except KubectlError as error:
        return str(error)
