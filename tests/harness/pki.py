"""The certificates and kubeconfigs of one cluster, all signed by one authority that lives as long as the cluster."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import trustme

API_SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "127.0.0.1",
    "10.96.0.1",  # the first Service address: kubernetes.default
    "10.88.0.1",  # the node
)
# kubeconfig -> (common name, organisation): what the API server takes as user and group.
CLIENTS = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "kubelet": ("system:node:node-1", "system:nodes"),
    "kwok": ("kwok", "system:masters"),
}


class Authority:
    """Signs certificates into one folder, and remembers itself there as ca.crt and ca.key."""

    def __init__(self, folder: Path) -> None:
        """Makes the authority in `folder`, or takes up the one that is there."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (folder / "ca.key").exists():
            self._ca = trustme.CA.from_pem((folder / "ca.crt").read_bytes(), (folder / "ca.key").read_bytes())
            return
        self._ca = trustme.CA()
        self._write("ca.crt", self._ca.cert_pem.bytes())
        self._write("ca.key", self._ca.private_key_pem.bytes())

    @property
    def certificate(self) -> str:
        """The authority's own certificate, PEM."""
        return (self.folder / "ca.crt").read_text()

    def issue(
        self, name: str, *, user: str, group: str = "", hosts: Sequence[str] = ("client.invalid",)
    ) -> tuple[Path, Path]:
        """NAME.crt and NAME.key for server and client use; `hosts` are DNS names and addresses."""
        # Go refuses an empty list of hosts, so a client has a name that nobody can have.
        # A random organisation would be a group of that name to the API server, so an empty one says "none".
        leaf = self._ca.issue_cert(*hosts, common_name=user, organization_name=group or "penstock-tests")
        certificate = self._write(f"{name}.crt", leaf.cert_chain_pems[0].bytes())
        return certificate, self._write(f"{name}.key", leaf.private_key_pem.bytes())

    def kubeconfig(self, path: Path, *, server: str, client: str) -> Path:
        """A kubeconfig for one of CLIENTS with everything embedded, readable by its owner only."""
        user, group = CLIENTS[client]
        certificate, key = self.issue(f"client-{client}", user=user, group=group)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "penstock",
                    "cluster": {"server": server, "certificate-authority-data": _base64(self.folder / "ca.crt")},
                }
            ],
            "users": [
                {
                    "name": client,
                    "user": {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)},
                }
            ],
            "contexts": [{"name": "penstock", "context": {"cluster": "penstock", "user": client}}],
            "current-context": "penstock",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=1))  # JSON is YAML, and needs no library to be written.
        return path

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        return path


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
