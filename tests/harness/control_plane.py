"""etcd, the API server, the controllers and the scheduler, as host processes."""

import json
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.harness import pki, ports, tools
from tests.harness.processes import Processes
from tests.harness.progress import HarnessError, progress, tail

SERVICE_CIDR = "10.96.0.0/16"
NODE_IP = "10.88.0.1"
HPA_SYNC_SECONDS = 15
READY_SECONDS = 60.0
CLIENT_LIMITS = ("--kube-api-qps=500", "--kube-api-burst=1000")  # The defaults, 20/30, throttle a thousand HPAs.
# Who did what and when, without bodies: RBAC tests compare it with the roles, benchmarks count requests in it.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "None", "nonResourceURLs": ["/readyz*", "/livez*", "/healthz*"]}, {"level": "Metadata"}],
}


@dataclass(frozen=True)
class Ports:
    api: int
    etcd: int
    etcd_peer: int
    controller_manager: int
    scheduler: int


@dataclass(frozen=True)
class ControlPlane:
    """Where one control plane lives; everything else is derived from it."""

    state: Path
    address: str  # where the API server listens: loopback, or the bridge that pods reach
    ports: Ports
    hpa_sync_seconds: int = HPA_SYNC_SECONDS

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.ports.api}"

    @property
    def authority(self) -> pki.Authority:
        return pki.Authority(self.state / "pki")

    @property
    def audit_log(self) -> Path:
        return self.state / "logs" / "audit.log"

    def kubeconfig(self, client: str) -> Path:
        """The kubeconfig of one of `pki.CLIENTS`."""
        return self.state / "kubeconfigs" / client


def start(state: Path, *, on_node: bool, hpa_sync_seconds: int = HPA_SYNC_SECONDS) -> ControlPlane:
    """Starts a new control plane in an empty state folder and waits until it is ready.

    With `on_node` the API server listens on the bridge, which must be up, so that pods reach it and nobody outside the
    machine does; without, on loopback.
    """
    programs = tools.ensure("kubernetes", "etcd")
    address = NODE_IP if on_node else "127.0.0.1"
    plane = ControlPlane(state, address, Ports(*ports.free(5)), hpa_sync_seconds)
    _write_files(plane)
    processes = Processes(state)
    processes.start("etcd", [programs["etcd"], *etcd_flags(plane)])
    processes.start("apiserver", [programs["kube-apiserver"], *api_server_flags(plane)])
    wait_until_ready(plane)
    processes.start("controller-manager", [programs["kube-controller-manager"], *controller_manager_flags(plane)])
    processes.start("scheduler", [programs["kube-scheduler"], *scheduler_flags(plane)])
    progress(f"control plane ready at {plane.url}")
    return plane


def load(state: Path) -> ControlPlane:
    """The control plane that was started in this state folder."""
    saved = json.loads((state / "control-plane.json").read_text())
    return ControlPlane(state, saved["address"], Ports(**saved["ports"]), saved["hpa_sync_seconds"])


def is_ready(plane: ControlPlane) -> bool:
    """One look at the API server's /readyz."""
    context = ssl.create_default_context(cafile=plane.state / "pki" / "ca.crt")
    try:
        with urllib.request.urlopen(f"{plane.url}/readyz", context=context, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_until_ready(plane: ControlPlane) -> None:
    """Raises HarnessError with the end of the log when the API server dies or is not ready in time."""
    processes = Processes(plane.state)
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready(plane):
        for name in ("etcd", "apiserver"):
            if not processes.is_running(name) or time.monotonic() > deadline:
                raise HarnessError(f"{name} did not become ready; the end of its log:\n{tail(processes.log(name))}")
        time.sleep(0.1)


def etcd_flags(plane: ControlPlane) -> list[str]:
    client, peer = f"http://127.0.0.1:{plane.ports.etcd}", f"http://127.0.0.1:{plane.ports.etcd_peer}"
    return [
        f"--data-dir={plane.state / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",  # Nothing here must survive a power cut, and fsync on a busy disk costs seconds.
        "--quota-backend-bytes=4294967296",
        "--log-level=warn",
    ]


def api_server_flags(plane: ControlPlane) -> list[str]:
    keys = plane.state / "pki"
    # The reconciler would publish the address as an endpoint, and loopback addresses are not allowed there.
    reconciler = ["--endpoint-reconciler-type=none"] if plane.address.startswith("127.") else []
    return [
        *reconciler,
        f"--etcd-servers=http://127.0.0.1:{plane.ports.etcd}",
        f"--bind-address={plane.address}",
        f"--advertise-address={plane.address}",
        f"--secure-port={plane.ports.api}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        f"--tls-cert-file={keys / 'apiserver.crt'}",
        f"--tls-private-key-file={keys / 'apiserver.key'}",
        f"--client-ca-file={keys / 'ca.crt'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={keys / 'service-account.key'}",
        f"--service-account-signing-key-file={keys / 'service-account.key'}",
        f"--requestheader-client-ca-file={keys / 'ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={keys / 'front-proxy.crt'}",
        f"--proxy-client-key-file={keys / 'front-proxy.key'}",
        f"--kubelet-client-certificate={keys / 'kubelet-client.crt'}",
        f"--kubelet-client-key={keys / 'kubelet-client.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--enable-aggregator-routing=true",  # Aggregated APIs are host processes, reached by endpoint, not by Service.
        "--allow-privileged=true",
        f"--audit-policy-file={plane.state / 'audit-policy.json'}",
        f"--audit-log-path={plane.audit_log}",
        "--audit-log-maxsize=2000",  # MB: a test that reads it must not lose half of it to rotation.
    ]


def controller_manager_flags(plane: ControlPlane) -> list[str]:
    keys = plane.state / "pki"
    return [
        *_client_flags(plane, "kube-controller-manager"),
        f"--secure-port={plane.ports.controller_manager}",
        f"--root-ca-file={keys / 'ca.crt'}",
        f"--service-account-private-key-file={keys / 'service-account.key'}",
        "--use-service-account-credentials=true",
        f"--cluster-signing-cert-file={keys / 'ca.crt'}",
        f"--cluster-signing-key-file={keys / 'ca.key'}",
        f"--horizontal-pod-autoscaler-sync-period={plane.hpa_sync_seconds}s",
    ]


def scheduler_flags(plane: ControlPlane) -> list[str]:
    return [*_client_flags(plane, "kube-scheduler"), f"--secure-port={plane.ports.scheduler}"]


def _client_flags(plane: ControlPlane, client: str) -> list[str]:
    config = plane.kubeconfig(client)
    return [
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",  # There is one of each, and after a kill nobody should wait for its lease to expire.
        *CLIENT_LIMITS,
    ]


def _write_files(plane: ControlPlane) -> None:
    plane.audit_log.parent.mkdir(parents=True, exist_ok=True)
    plane.audit_log.unlink(missing_ok=True)
    (plane.state / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY))
    authority = plane.authority
    authority.issue("apiserver", user="kube-apiserver", hosts=pki.API_SERVER_NAMES)
    authority.issue("front-proxy", user="front-proxy-client")
    authority.issue("kubelet-client", user="kube-apiserver-kubelet-client", group="system:masters")
    authority.issue("service-account", user="service-account")
    plane.kubeconfig("admin").parent.mkdir(exist_ok=True)
    for client in pki.CLIENTS:
        authority.kubeconfig(plane.kubeconfig(client), server=plane.url, client=client)
    saved = {"address": plane.address, "ports": asdict(plane.ports), "hpa_sync_seconds": plane.hpa_sync_seconds}
    (plane.state / "control-plane.json").write_text(json.dumps(saved))
