"""What every cluster is expected to have beside the node itself: cluster DNS."""

from tests.harness import containerd, network, tools
from tests.harness.control_plane import ControlPlane
from tests.harness.data import filled
from tests.harness.handle import Cluster


def start(plane: ControlPlane, cluster: Cluster) -> None:
    """Starts CoreDNS in a pod; does not wait for it."""
    image = containerd.import_program(plane.state, tools.ensure("coredns")["coredns"])
    manifests = filled("coredns.yaml", coredns_image=image, dns_ip=network.DNS_IP)
    cluster.kubectl("apply", "--server-side", "--filename=-", input=manifests)


def wait_until_ready(cluster: Cluster) -> None:
    """Waits until pods resolve names."""
    cluster.kubectl("rollout", "status", "--timeout=60s", "--namespace=kube-system", "deployment/coredns")
