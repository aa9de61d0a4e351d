"""Fake nodes whose pods report what a test wants, without running anything.

They carry a taint that only control-plane tests tolerate: a fake Ready must never stand in for a real one.
A pod's behaviour is its annotation BEHAVIOUR, else the tag of its first container's image, and may change at any time:

  crash-loop         CrashLoopBackOff after exit code 1
  oom                CrashLoopBackOff after OOMKilled
  image-pull-error   ImagePullBackOff
  never-ready        running, but not ready
  anything else      running and ready

The annotation DELAY (a duration such as "5s") puts the change off.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from tests.harness import tools
from tests.harness.handle import Cluster
from tests.harness.processes import Processes

BEHAVIOUR = "kwok.penstock.dev/behaviour"
DELAY = "kwok.penstock.dev/delay"
TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}
GPU_TAINT = {"key": "nvidia.com/gpu", "effect": "NoSchedule"}
CPU_NODES, GPU_NODES, GPUS_PER_NODE = 10, 4, 8
# Fake pods need addresses of their own. Those set aside for benchmarks are nobody's, here or elsewhere.
POD_CIDR = "198.18.0.0/15"
STAGES = Path(__file__).parent / "data" / "kwok-stages.yaml"


def start(state: Path, kubeconfig: Path) -> None:
    """Starts kwok; it plays every node of the cluster that carries its annotation."""
    Processes(state).start(
        "kwok",
        [
            tools.ensure("kwok")["kwok"],
            f"--kubeconfig={kubeconfig}",
            f"--config={STAGES}",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            f"--cidr={POD_CIDR}",
            "--node-ip=198.19.255.254",
            "--node-lease-duration-seconds=40",
        ],
    )


def nodes() -> Iterator[dict[str, object]]:
    """The nodes to create: some with GPUs and the usual taint, the others without."""
    for number in range(CPU_NODES):
        yield node(f"kwok-cpu-{number}")
    for number in range(GPU_NODES):
        yield node(f"kwok-gpu-{number}", gpus=GPUS_PER_NODE)


def node(name: str, *, gpus: int = 0) -> dict[str, object]:
    """A v1 Node with room for 1,000 pods; kwok makes it Ready."""
    capacity = {"cpu": "256", "memory": "2Ti", "pods": "1000", "ephemeral-storage": "10Ti"}
    if gpus:
        capacity["nvidia.com/gpu"] = str(gpus)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "type": "kwok",
            },
        },
        "spec": {"taints": [TAINT, *([GPU_TAINT] if gpus else [])]},
        "status": {"capacity": capacity, "allocatable": capacity},
    }


def make_nodes(cluster: Cluster) -> None:
    """Creates the nodes and waits until they are Ready. Raises KubectlError when they are not within 60 s."""
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(nodes())})
    cluster.kubectl("apply", "--server-side", "--validate=false", "-f", "-", input=manifest)
    cluster.kubectl("wait", "--for=condition=Ready", "node", "-l", "type=kwok", "--timeout=60s")
