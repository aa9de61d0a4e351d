"""The operator as a process: installed as the chart's ServiceAccount, started, measured, stopped."""

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
    token = cluster.kubectl("create", "token", "penstock", f"--namespace={_NAMESPACE}", "--duration=24h").strip()
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--output=json"))
    config["users"][0]["user"] = {"token": token}
    path = folder / "operator.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return path


class Operator:
    """One process of the operator; each `start` is a new one that writes on in the same log."""

    def __init__(self, kubeconfig: Path, log: Path) -> None:
        self._kubeconfig = kubeconfig
        self._log = log
        self._port = ports.free(1)[0]
        self._process: psutil.Popen | None = None

    async def start(self) -> None:
        """Start it and wait until it leads. Raises RuntimeError when it ends first."""
        self.spawn()
        async with asyncio.timeout(_START_SECONDS):
            while not self._leads():
                if self._running.poll() is not None:
                    raise RuntimeError(f"the operator ended with {self._running.returncode}; see {self._log}")
                await asyncio.sleep(0.1)

    def spawn(self) -> None:
        command = [sys.executable, "-m", "penstock.cli.main", "run", f"--kubeconfig={self._kubeconfig}"]
        flags = [f"--metrics-port={self._port}", "--pod-access=None", "--log-format=json"]
        with self._log.open("ab") as output:
            self._process = psutil.Popen([*command, *flags], stdout=output, stderr=subprocess.STDOUT)

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

    def _leads(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
                return b"\npenstock_leader 1.0" in answer.read()
        except OSError:
            return False
