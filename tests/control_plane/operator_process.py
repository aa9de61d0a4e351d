"""The operator as a process of its own, with exactly the rights that the chart gives it."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from tests.chart import rendering
from tests.control_plane.waiting import eventually
from tests.harness import crds, ports, tools
from tests.harness.cluster import Cluster
from tests.harness.progress import tail

_RIGHTS = ("rbac", "serviceaccount", "crd")


@dataclass(frozen=True)
class Installation:
    """The chart's rights for one release, and a kubeconfig of its ServiceAccount."""

    release: str
    namespace: str  # of the ServiceAccount and the Lease
    namespaces: tuple[str, ...]  # looked after; none means all
    kubeconfig: Path
    rendered: str  # what was applied of the chart

    @property
    def user(self) -> str:
        """The name that the audit log knows the operator by."""
        return f"system:serviceaccount:{self.namespace}:{self.release}"

    def through(self, url: str) -> "Installation":
        """The same, reaching the API server by another way."""
        config = yaml.safe_load(self.kubeconfig.read_text())
        config["clusters"][0]["cluster"] = {"server": url}
        other = self.kubeconfig.with_name(f"{self.kubeconfig.name}-{secrets.token_hex(3)}")
        other.write_text(yaml.safe_dump(config))
        return replace(self, kubeconfig=other)


def install(
    cluster: Cluster, namespaces: Sequence[str], folder: Path, *flags: str, everywhere: bool = False
) -> Installation:
    """Apply the chart's CRD, ServiceAccount and roles for these namespaces, the first of which holds the release.

    The flags are Helm's. `everywhere` makes it a release for all namespaces.
    """
    served = () if everywhere else tuple(namespaces)
    namespace, release = namespaces[0], f"penstock-{secrets.token_hex(3)}"
    rendered = rendering.helm(
        "template",
        release,
        rendering.CHART,
        f"--namespace={namespace}",
        f"--kube-version={tools.KUBERNETES_VERSION}",
        f"--set-json=watchNamespaces={json.dumps(served)}",
        *(f"--show-only=templates/{name}.yaml" for name in _RIGHTS),
        *flags,
    )
    assert rendered.returncode == 0, rendered.stderr
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", input=rendered.stdout)
    crds.wait_until_established(cluster, "crd/inferenceservices.serving.penstock.dev")
    token = cluster.kubectl("create", "token", release, f"--namespace={namespace}", "--duration=2h")
    kubeconfig = folder / f"{release}.kubeconfig"
    kubeconfig.write_text(_kubeconfig(cluster, token.strip()))
    kubeconfig.chmod(0o600)
    return Installation(release, namespace, served, kubeconfig, rendered.stdout)


def uninstall(cluster: Cluster, installation: Installation) -> None:
    """Remove what belongs to no namespace, except for the CRD."""
    cluster.kubectl("delete", "clusterrole,clusterrolebinding", installation.release, "--ignore-not-found")


class Operator:
    """`penstock run`, or a `program` (Python source) that takes its arguments.

    `environment` adds to or overrides the chart's settings.
    """

    def __init__(
        self,
        installation: Installation,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        *,
        program: str | None = None,
    ) -> None:
        self.installation = installation
        self.log = folder / f"operator-{secrets.token_hex(3)}.log"
        self.port = ports.free(1)[0]
        self._program = ["-c", program] if program else ["-m", "penstock.cli.main"]
        self._environment = {
            **os.environ,
            "PENSTOCK_NAMESPACES": ",".join(installation.namespaces),
            "PENSTOCK_LEASE_NAMESPACE": installation.namespace,
            "PENSTOCK_LEASE_NAME": installation.release,
            "PENSTOCK_SERVICE_ACCOUNT": installation.release,
            "PENSTOCK_METRICS_PORT": str(self.port),
            "PENSTOCK_LOG_FORMAT": "json",
            # Fake pods have no network.
            "PENSTOCK_POD_ACCESS": "None",
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Operator":
        """Start the process; `wait_until_leading` says when it acts."""
        command = [sys.executable, *self._program, "run", f"--kubeconfig={self.installation.kubeconfig}"]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        return self

    def wait_until_leading(self, *, within: float = 30.0) -> "Operator":
        eventually(self._assert_leading, within=within)
        return self

    def wait_until_synced(self, *, within: float = 30.0) -> "Operator":
        """Until it has listed everything; a standby has, too."""
        eventually(lambda: self._assert_ok("readyz"), within=within)
        return self

    def kill(self) -> None:
        """SIGKILL: no chance to release or to finish anything."""
        self._signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self._signal(signal.SIGTERM)
        return self.wait()

    def freeze(self) -> None:
        """Stop it from running, as a machine that swaps does."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def wait(self, *, within: float = 30.0) -> int:
        """The exit status. Raises subprocess.TimeoutExpired."""
        assert self._process
        return self._process.wait(timeout=within)

    def end(self) -> None:
        """SIGKILL it if it still runs: for cleaning up."""
        if self.is_running:
            self.kill()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name whose labels include these."""
        text = self._read("metrics")
        samples = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE)
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        return sum(float(value) for found, value in samples if wanted <= set(found.split(",")))

    @property
    def passes(self) -> float:
        return self.metric("penstock_reconcile_duration_seconds_count")

    def settle(self) -> None:
        """Until nothing wakes it for a second."""
        seen, since = self.passes, time.monotonic()

        def assert_quiet() -> None:
            nonlocal seen, since
            if self.passes != seen:
                seen, since = self.passes, time.monotonic()
            assert time.monotonic() - since > 1.0, f"{seen} passes and counting"

        eventually(assert_quiet, within=20.0)

    def told(self) -> str:
        """Its whole log."""
        return self.log.read_text()

    def tail(self) -> str:
        return tail(self.log)

    def _assert_leading(self) -> None:
        self._assert_ok("readyz")
        assert self.metric("penstock_leader") == 1

    def _assert_ok(self, path: str) -> None:
        assert self.is_running, f"the operator ended:\n{self.tail()}"
        self._read(path)

    def assert_refused(self, *words: str) -> None:
        """It is not ready, and says so in these words."""
        assert self.is_running, f"the operator ended:\n{self.tail()}"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5).close()
            answer = "it is ready"
        except urllib.error.HTTPError as refused:
            answer = refused.read().decode()
        except OSError as error:
            answer = repr(error)
        assert [word for word in words if word not in answer] == [], answer

    def _read(self, path: str) -> str:
        """Raises AssertionError where nothing answers yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=5) as answer:
                body: bytes = answer.read()
                return body.decode()
        except OSError as error:
            raise AssertionError(f"/{path}: {error!r}; end of the log:\n{self.tail()}") from error

    def _signal(self, number: int) -> None:
        assert self._process
        self._process.send_signal(number)


def _kubeconfig(cluster: Cluster, token: str) -> str:
    """The admin's way to the cluster, with the token instead of the admin's certificate."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    return str(yaml.safe_dump(config))
