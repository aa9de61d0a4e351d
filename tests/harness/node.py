"""A real node: containerd, kubelet, kube-proxy, image registry, cluster DNS and two pretended GPUs."""

import time
from pathlib import Path

from tests.harness import addons, containerd, device_plugin, leftovers, network, packages, registry, tools
from tests.harness.control_plane import ControlPlane
from tests.harness.data import filled
from tests.harness.handle import Cluster
from tests.harness.processes import Processes
from tests.harness.progress import HarnessError, progress, tail

NAME = "node-1"  # the name in the kubelet's certificate
READY_SECONDS = 60.0


def prepare(state: Path) -> None:
    """Everything that must be there before the control plane starts: its address is that of the node's bridge.

    Removes what a crash may have left first.
    """
    packages.ensure(packages.NODE)
    stop(state)
    network.up(state)
    registry.start(state)


def start(plane: ControlPlane, cluster: Cluster) -> None:
    """Makes this machine the cluster's node, and waits until it is Ready and resolves names."""
    started = time.monotonic()
    programs = tools.ensure("kubernetes", "pause")
    containerd.start(plane.state, pause=programs["pause"])
    containerd.keep_images(plane.state, wanted=registry.images())
    leftovers.make_cgroups()
    _start_kubelet(plane, programs["kubelet"])
    _start_kube_proxy(plane, programs["kube-proxy"])
    device_plugin.start(plane.state)
    addons.start(plane, cluster)
    _wait_until_ready(cluster)
    addons.wait_until_ready(cluster)
    progress(f"node ready in {time.monotonic() - started:.1f} s")


def stop(state: Path) -> None:
    """Stops every program of the node and removes what it left outside its state folder; safe at any time."""
    if not network.is_changed(state):
        return
    processes = Processes(state)
    for name in ("metrics-server", "device-plugin", "kubelet", "kube-proxy"):
        processes.stop(name)
    containerd.stop(state)
    processes.stop("registry")
    leftovers.remove(state)
    network.down(state)


def _start_kubelet(plane: ControlPlane, program: Path) -> None:
    config = plane.state / "kubelet.yaml"
    config.write_text(
        filled(
            "kubelet.yaml",
            node_ip=network.NODE_IP,
            client_ca=plane.state / "pki" / "ca.crt",
            socket=containerd.socket(plane.state),
            cgroup=leftovers.CGROUP,
            dns_ip=network.DNS_IP,
            state=plane.state,
        )
    )
    flags = [
        f"--config={config}",
        f"--kubeconfig={plane.kubeconfig('kubelet')}",
        f"--root-dir={plane.state / 'kubelet'}",
        f"--cert-dir={plane.state / 'kubelet' / 'pki'}",
        f"--hostname-override={NAME}",
        f"--node-ip={network.NODE_IP}",
    ]
    Processes(plane.state).start("kubelet", [program, *flags])


def _start_kube_proxy(plane: ControlPlane, program: Path) -> None:
    config = plane.state / "kube-proxy.yaml"
    config.write_text(
        filled(
            "kube-proxy.yaml",
            kubeconfig=plane.kubeconfig("kube-proxy"),
            pod_cidr=network.POD_CIDR,
            node_ip=network.NODE_IP,
            node_name=NAME,
        )
    )
    Processes(plane.state).start("kube-proxy", [program, f"--config={config}"])


def _wait_until_ready(cluster: Cluster) -> None:
    processes = Processes(cluster.state)
    deadline = time.monotonic() + READY_SECONDS
    query = f'{{.items[?(@.metadata.name=="{NAME}")].status.conditions[?(@.type=="Ready")].status}}'
    while cluster.kubectl("get", "nodes", f"--output=jsonpath={query}") != "True":
        if not processes.is_running("kubelet") or time.monotonic() > deadline:
            raise HarnessError(f"the node is not Ready; the end of its log:\n{tail(processes.log('kubelet'))}")
        time.sleep(0.1)
