"""The interceptor of KEDA's HTTP add-on for bench.router, and the API server that it reads its routes from.

It learns from an EndpointSlice whether its service has a pod, and connects to that service by name. Nobody answers for
Services here, so the interceptor has a hosts file of its own in which the name is the pod's address, 127.0.0.1.
"""

import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from tests.harness import crds, local, ports, requirements
from tests.harness.cluster import Cluster, HarnessError
from tests.harness.control_plane import HPA_SYNC_SECONDS
from tests.harness.tools import cache_dir

Manifest = dict[str, Any]

_NAME: Final = "chat"
_NAMESPACE: Final = "bench"
# An EndpointSlice may not hold a loopback address. This one is reserved for examples, and nobody connects to it.
_POD_ADDRESS: Final = "198.51.100.1"
_START_SECONDS: Final = 60
_WITH_HOSTS: Final = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'


@dataclass(frozen=True)
class Keda:
    """The interceptor's program, and where its objects are."""

    cluster: Cluster
    program: Path
    pod_port: int
    scratch: Path

    @contextmanager
    def running(self) -> Iterator[tuple[psutil.Popen, int]]:
        """The interceptor and its port: on one core, as the router has one thread, else as in its own manifests."""
        port, admin_port, metrics_port = ports.free(3)
        environment = {
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(self.cluster.kubeconfig),
            "KEDA_HTTP_PROXY_PORT": str(port),
            "KEDA_HTTP_ADMIN_PORT": str(admin_port),
            "OTEL_PROM_EXPORTER_PORT": str(metrics_port),
            "GOMAXPROCS": "1",
        }
        hosts = self.scratch / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {_NAME}.{_NAMESPACE}\n")
        command = [str(self.program), "--zap-log-level=info", "--zap-encoder=console", "--zap-time-encoding=rfc3339"]
        unshared = ["unshare", "--map-root-user", "--mount", "sh", "-c", _WITH_HOSTS, "sh", str(hosts), *command]
        with self._log.open("wb") as log:
            started = psutil.Popen(unshared, env=environment, stdout=log, stderr=log)
        try:
            self._wait_until_ready(admin_port)
            yield started, port
        finally:
            started.kill()
            started.wait()

    def sleep(self) -> None:
        """The service has no pod."""
        self.apply(_slice(self.pod_port, endpoints=[]))

    def wake(self) -> None:
        self.apply(_slice(self.pod_port, endpoints=[{"addresses": [_POD_ADDRESS], "conditions": {"ready": True}}]))

    def version(self) -> str:
        """As the interceptor that ran last has said."""
        found = re.search(r"Interceptor Version: (\S+)", self._log.read_text())
        return found[1] if found else "unknown"

    @property
    def _log(self) -> Path:
        return self.scratch / "keda-interceptor.log"

    def apply(self, *objects: Manifest) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.cluster.kubectl("apply", "--server-side", "--filename=-", input=json.dumps(listed))

    def _wait_until_ready(self, admin_port: int) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not _is_ready(admin_port):
            if time.monotonic() > deadline:
                raise HarnessError(f"the interceptor is not ready; its log:\n{self._log.read_text()}")
            time.sleep(0.1)


@contextmanager
def installed(program: Path, definitions: Path, pod_port: int, scratch: Path) -> Iterator[Keda]:
    """An API server that has the objects of one awake service, until the block is left."""
    with _api_server() as cluster:
        cluster.kubectl("apply", "--server-side", f"--filename={definitions}")
        crds.wait_until_established(cluster, f"--filename={definitions}")
        cluster.kubectl("create", "namespace", _NAMESPACE)
        found = Keda(cluster, program, pod_port, scratch)
        found.apply(_service(pod_port), _route(pod_port))
        found.wake()
        yield found


@contextmanager
def _api_server() -> Iterator[Cluster]:
    """With etcd, and without the controllers: they would share the cores with what is measured."""
    if reason := requirements.missing("local", "control-plane"):
        raise SystemExit(f"error: {reason}")
    state = cache_dir() / "clusters" / "bench-router"
    try:
        cluster = local.up("control-plane", state, hpa_sync_seconds=HPA_SYNC_SECONDS)
        for component in ("kwok", "scheduler", "controller-manager"):
            cluster.stop_component(component)
        yield cluster
    finally:
        local.down("control-plane", state)


def _is_ready(admin_port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _service(pod_port: int) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _NAME, "namespace": _NAMESPACE},
        "spec": {"ports": [{"name": "http", "port": pod_port}]},
    }


def _slice(pod_port: int, *, endpoints: list[Manifest]) -> Manifest:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": _NAME, "namespace": _NAMESPACE, "labels": {"kubernetes.io/service-name": _NAME}},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": pod_port}],
    }


def _route(pod_port: int) -> Manifest:
    return {
        "apiVersion": "http.keda.sh/v1beta1",
        "kind": "InterceptorRoute",
        "metadata": {"name": _NAME, "namespace": _NAMESPACE},
        "spec": {
            "rules": [{"hosts": [_NAME]}],
            "scalingMetric": {"concurrency": {"targetValue": 100}},
            "target": {"service": _NAME, "port": pod_port},
        },
    }
