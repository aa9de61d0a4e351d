"""What pods use of CPU and memory: metrics-server, for HPAs on them and `kubectl top`.

It is started only when somebody asks for it, for its build takes minutes; it stays with the cluster, and goes with it.
"""

from tests.harness import network, tools
from tests.harness.data import filled
from tests.harness.handle import Cluster
from tests.harness.processes import Processes

NAME = "metrics-server"
PORT = 6644


def ensure(cluster: Cluster) -> None:
    """Starts metrics-server on the node where it does not run; the first figures come 20 seconds later.

    Clusters of others have their own, or none.
    """
    if cluster.provider != "local":
        return
    program = tools.ensure(NAME)[NAME]
    processes = Processes(cluster.state)
    if processes.is_running(NAME):
        return
    processes.start(NAME, [program, *_flags(cluster)])
    manifests = filled("metrics-server.yaml", node_ip=network.NODE_IP, port=PORT)
    cluster.kubectl("apply", "--server-side", "--filename=-", input=manifests)


def _flags(cluster: Cluster) -> list[str]:
    return [
        f"--kubeconfig={cluster.kubeconfig}",
        f"--authentication-kubeconfig={cluster.kubeconfig}",
        f"--authorization-kubeconfig={cluster.kubeconfig}",
        f"--bind-address={network.NODE_IP}",
        f"--secure-port={PORT}",
        f"--cert-dir={cluster.state / NAME}",
        "--kubelet-insecure-tls",
        "--kubelet-preferred-address-types=InternalIP",
        "--metric-resolution=10s",
        "--kubelet-request-timeout=5s",  # It panics unless this is below the resolution.
    ]
