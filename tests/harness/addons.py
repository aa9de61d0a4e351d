"""What every cluster is expected to have beside the node itself: cluster DNS and resource metrics."""

from tests.harness import containerd, network, tools
from tests.harness.control_plane import ControlPlane
from tests.harness.data import filled
from tests.harness.handle import Cluster
from tests.harness.processes import Processes

METRICS_PORT = 6644


def start(plane: ControlPlane, cluster: Cluster) -> None:
    """Starts metrics-server on the node and CoreDNS in a pod; does not wait for either."""
    programs = tools.ensure("coredns", "metrics-server")
    Processes(plane.state).start("metrics-server", [programs["metrics-server"], *metrics_server_flags(plane)])
    image = containerd.import_program(plane.state, programs["coredns"])
    _apply(cluster, filled("coredns.yaml", coredns_image=image, dns_ip=network.DNS_IP))
    _apply(cluster, filled("metrics-server.yaml", node_ip=network.NODE_IP, port=METRICS_PORT))


def wait_until_ready(cluster: Cluster) -> None:
    """Waits until pods resolve names. Metrics need two samples, 20 seconds more: who wants them waits."""
    cluster.kubectl("rollout", "status", "--timeout=60s", "--namespace=kube-system", "deployment/coredns")


def metrics_server_flags(plane: ControlPlane) -> list[str]:
    config = plane.kubeconfig("admin")
    return [
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--bind-address={network.NODE_IP}",
        f"--secure-port={METRICS_PORT}",
        f"--cert-dir={plane.state / 'metrics-server'}",
        "--kubelet-insecure-tls",
        "--kubelet-preferred-address-types=InternalIP",
        "--metric-resolution=10s",
        "--kubelet-request-timeout=5s",  # It panics unless this is below the resolution.
    ]


def _apply(cluster: Cluster, manifests: str) -> None:
    cluster.kubectl("apply", "--server-side", "--filename=-", input=manifests)
