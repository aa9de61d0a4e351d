"""A controller as a process: started, measured, stopped. Ours is installed as the chart's ServiceAccount."""

import asyncio
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import yaml

from tests.harness import crds, ports
from tests.harness.cluster import Cluster

_INSTALL = Path(__file__).parent.parent / "manifests" / "install.yaml"
_NAMESPACE = "penstock-system"
_KINDS = ("Namespace", "CustomResourceDefinition", "ServiceAccount")
_START_SECONDS = 60


def install(cluster: Cluster, folder: Path) -> Path:
    """Apply the install manifest without its pods; the kubeconfig of its ServiceAccount, written into `folder`."""
    objects = [obj for obj in yaml.safe_load_all(_INSTALL.read_text()) if obj]
    wanted = [obj for obj in objects if obj["kind"] in _KINDS or "rbac" in obj["apiVersion"]]
    applied = json.dumps({"apiVersion": "v1", "kind": "List", "items": wanted})
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=applied)
    crd = "customresourcedefinition/inferenceservices.serving.penstock.dev"
    crds.wait_until_established(cluster, crd)
    return credentials(cluster, "penstock", _NAMESPACE, folder / "operator.kubeconfig")


def credentials(cluster: Cluster, account: str, namespace: str, path: Path) -> Path:
    """A kubeconfig of a ServiceAccount, written to `path`."""
    token = cluster.kubectl("create", "token", account, f"--namespace={namespace}", "--duration=24h").strip()
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--output=json"))
    config["users"][0]["user"] = {"token": token}
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return path


class Process:
    """A controller as a process, measured; each `spawn` is a new one that writes on in the same log."""

    client = ""  # who it is in the audit log

    def __init__(self, log: Path) -> None:
        self._log = log
        self._port = ports.free(1)[0]
        self._process: psutil.Popen | None = None

    async def start(self) -> None:
        """Start it and wait until it works. Raises RuntimeError when it ends first."""
        self.spawn()
        async with asyncio.timeout(_START_SECONDS):
            while not self.is_working():
                if self._running.poll() is not None:
                    raise RuntimeError(f"{self.client} ended with {self._running.returncode}; see {self._log}")
                await asyncio.sleep(0.1)

    def spawn(self) -> None:
        with self._log.open("ab") as output:
            self._process = psutil.Popen(self.command(), stdout=output, stderr=subprocess.STDOUT)

    def command(self) -> list[str]:
        raise NotImplementedError

    def is_working(self) -> bool:
        return bool(self.metrics())

    def metrics(self) -> bytes:
        """What it says for Prometheus; empty while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
                found: bytes = answer.read()
                return found
        except OSError:
            return b""

    async def stop(self, number: int = signal.SIGTERM) -> None:
        """Send the signal and wait for the end."""
        if self._process is None:
            return
        self._process.send_signal(number)
        await asyncio.to_thread(self._process.wait, 30)
        self._process = None

    def cpu_seconds(self) -> float:
        """User and system time since its start."""
        times = self._running.cpu_times()
        return float(times.user + times.system)

    def peak_rss(self) -> int:
        """The most memory it ever had resident, in bytes."""
        status = Path(f"/proc/{self._running.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def rss(self) -> int:
        return int(self._running.memory_info().rss)

    @property
    def pid(self) -> int:
        return int(self._running.pid)

    @property
    def _running(self) -> psutil.Popen:
        assert self._process is not None, "start it first"
        return self._process


class Operator(Process):
    """Ours, as the chart's ServiceAccount."""

    client = "penstock"

    def __init__(self, kubeconfig: Path, log: Path) -> None:
        super().__init__(log)
        self._kubeconfig = kubeconfig

    def command(self) -> list[str]:
        command = [sys.executable, "-m", "penstock.cli.main", "run", f"--kubeconfig={self._kubeconfig}"]
        return [*command, f"--metrics-port={self._port}", "--pod-access=None", "--log-format=json"]

    def is_working(self) -> bool:
        return b"\npenstock_leader 1.0" in self.metrics()
