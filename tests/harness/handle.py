"""A running cluster, whatever made it."""

import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness import control_plane
from tests.harness.processes import Processes
from tests.harness.progress import HarnessError

STOP_GRACE_SECONDS = 2.0  # The API server would wait a minute for its watches to end.


class KubectlError(HarnessError):
    """kubectl said no; the message is what it printed."""


@dataclass(frozen=True)
class Cluster:
    """How to reach a cluster and, where its components are ours, how to look into them and to break them."""

    provider: str  # existing, kind or local
    profile: str  # control-plane or node
    kubeconfig: Path
    api_url: str
    kubectl_path: Path
    state: Path
    audit_log: Path | None  # one JSON event a line, level Metadata; None where the API server is not ours

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 (the name subprocess has for it)
        """Standard output of kubectl; `input` is its standard input. Raises KubectlError with its standard error."""
        done = subprocess.run(
            [*self.kubectl_command, *arguments],
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    @property
    def kubectl_command(self) -> list[str]:
        """kubectl with what it needs to reach this cluster."""
        # Its own cache would grow in the home folder, by one entry for each cluster's port.
        cache = f"--cache-dir={self.state / 'kubectl'}"
        return [str(self.kubectl_path), f"--kubeconfig={self.kubeconfig}", cache]

    @property
    def flags(self) -> dict[str, Sequence[str]]:
        """The command of each component: no figure means anything without them."""
        return {name: self._processes.record(name).argv for name in self._processes.names()}

    def logs(self) -> dict[str, Path]:
        """The current log of each component on this machine."""
        return {log.stem: log for log in sorted((self.state / "logs").glob("*.log")) if log != self.audit_log}

    def stop_component(self, name: str, *, signal_number: int = signal.SIGTERM) -> None:
        """Ends one component (etcd, apiserver, controller-manager, scheduler, kwok, kubelet, …) until it is started."""
        self._must_be_local()
        self._processes.record(name)  # A name that nobody knows is an error, not a component that is down already.
        self._processes.interrupt(name, signal_number=signal_number, grace=STOP_GRACE_SECONDS)

    def start_component(self, name: str) -> None:
        """Starts it again as it was; returns when the API server is ready."""
        self._must_be_local()
        self._processes.resume(name)
        control_plane.wait_until_ready(control_plane.load(self.state))

    def restart(self, name: str) -> None:
        self.stop_component(name)
        self.start_component(name)

    @property
    def _processes(self) -> Processes:
        return Processes(self.state)

    def _must_be_local(self) -> None:
        if self.provider != "local":
            raise HarnessError(f"the components of a cluster by {self.provider!r} cannot be stopped one by one")
