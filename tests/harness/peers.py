"""Prometheus, its adapter and KEDA beside a node cluster, as processes of this machine.

Nobody here builds them, for it takes a quarter of an hour: PENSTOCK_PEERS, or whoever asks, names a folder with the
programs. docs/reference/test-clusters.md says which versions they were tried with.
"""

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.harness import autoscalers, network, ports
from tests.harness.handle import Cluster
from tests.harness.pki import Authority

Manifest = dict[str, Any]

_RBAC = "rbac.authorization.k8s.io"
_HPA = {"kind": "ServiceAccount", "name": "horizontal-pod-autoscaler", "namespace": "kube-system"}
_KEDA = "keda"


def folder() -> Path | None:
    """Where the programs are, if somebody says so."""
    named = os.environ.get("PENSTOCK_PEERS")
    return Path(named) if named else None


def missing(programs: Path | None, *names: str) -> list[str]:
    """Those of the programs that are not there."""
    return [name for name in names if programs is None or not (programs / name).exists()]


@contextmanager
def prometheus(cluster: Cluster, programs: Path, scratch: Path, *, scrape_seconds: int) -> Iterator[str]:
    """Prometheus with the pods of all services; yields its URL, which is for processes of this machine."""
    (port,) = ports.free(1)
    config = scratch / "prometheus.yml"
    config.write_text(yaml.safe_dump(_scraping(cluster.kubeconfig, scrape_seconds)))
    command = [
        str(programs / "prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={scratch / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with process(command, scratch / "prometheus.log"):
        url = f"http://127.0.0.1:{port}"
        _wait_until_answered(f"{url}/-/ready")
        yield url


@contextmanager
def prometheus_adapter(
    cluster: Cluster, programs: Path, scratch: Path, *, url: str, rules: Sequence[Manifest], relist_seconds: int
) -> Iterator[None]:
    """prometheus-adapter, which the API server asks for custom metrics until the block is left."""
    (port,) = ports.free(1)
    config = scratch / "rules.yaml"
    config.write_text(yaml.safe_dump({"rules": list(rules)}))
    command = [
        str(programs / "adapter"),
        *_api_server_flags(cluster, scratch / "adapter-certificates", port),
        f"--prometheus-url={url}",
        f"--metrics-relist-interval={relist_seconds}s",
        # Series that were seen within this are served.
        f"--metrics-max-age={max(relist_seconds, 60)}s",
        f"--config={config}",
    ]
    with process(command, scratch / "adapter.log"), _aggregated(cluster, "custom.metrics.k8s.io", port):
        yield


@contextmanager
def keda(cluster: Cluster, programs: Path, scratch: Path) -> Iterator[None]:
    """KEDA's operator and metrics API, until the block is left; its definitions stay."""
    autoscalers.install_all_keda_crds(cluster)
    certificates = scratch / "keda-certificates"
    # The two speak TLS with each other, and each is a server and a client.
    Authority(certificates).issue("tls", user=_KEDA, hosts=("127.0.0.1", "localhost", "keda-operator.keda.svc"))
    metrics, health, service, secure, more = ports.free(5)
    environment = {
        **os.environ,
        "KUBECONFIG": str(cluster.kubeconfig),
        "POD_NAMESPACE": _KEDA,
        "KEDA_CLUSTER_OBJECT_NAMESPACE": _KEDA,
        "WATCH_NAMESPACE": "",  # all of them; without the variable it ends
    }
    operator = [
        str(programs / "keda"),
        "--enable-cert-rotation=false",
        f"--cert-dir={certificates}",
        f"--metrics-bind-address=127.0.0.1:{metrics}",
        f"--health-probe-bind-address=127.0.0.1:{health}",
        f"--metrics-service-bind-address=127.0.0.1:{service}",
    ]
    adapter = [
        str(programs / "keda-adapter"),
        f"--kubeconfig={cluster.kubeconfig}",
        *_api_server_flags(cluster, certificates, secure),
        f"--tls-cert-file={certificates / 'tls.crt'}",
        f"--tls-private-key-file={certificates / 'tls.key'}",
        f"--metrics-service-address=127.0.0.1:{service}",
        f"--port={more}",
    ]
    with (
        _namespace(cluster, _KEDA),
        process(operator, scratch / "keda.log", environment),
        process(adapter, scratch / "keda-adapter.log", environment),
        _aggregated(cluster, "external.metrics.k8s.io", secure),
    ):
        _wait_until_answered(f"http://127.0.0.1:{health}/readyz")
        yield


@contextmanager
def process(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """It runs until the block is left."""
    with log.open("ab") as output:
        running = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield
    finally:
        running.terminate()
        running.wait(timeout=60)


def _scraping(kubeconfig: Path, seconds: int) -> Manifest:
    """Every pod of a service, on its port named http, with the labels that a PodMonitor gives."""
    label = "__meta_kubernetes_pod_label_serving_penstock_dev_inferenceservice"
    relabel = [
        {"source_labels": [label], "regex": ".+", "action": "keep"},
        {"source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": "http", "action": "keep"},
        {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Running", "action": "keep"},
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
    ]
    pods = {
        "job_name": "models",
        "kubernetes_sd_configs": [{"role": "pod", "kubeconfig_file": str(kubeconfig)}],
        "relabel_configs": relabel,
        # A small server of a test's own does not say what it answers with.
        "fallback_scrape_protocol": "PrometheusText0.0.4",
    }
    interval = f"{seconds}s"
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": f"{min(seconds, 10)}s"},
        "scrape_configs": [pods],
    }


def _api_server_flags(cluster: Cluster, certificates: Path, port: int) -> list[str]:
    """Of a process that the API server passes requests on to."""
    ways = ("lister", "authentication", "authorization")
    return [
        *(f"--{way}-kubeconfig={cluster.kubeconfig}" for way in ways),
        f"--secure-port={port}",
        f"--bind-address={network.NODE_IP}",
        f"--cert-dir={certificates}",
    ]


@contextmanager
def _aggregated(cluster: Cluster, group: str, port: int) -> Iterator[None]:
    """The API server asks the process at that port for the group, and the autoscaler may."""
    objects = json.dumps({"apiVersion": "v1", "kind": "List", "items": _api_objects(group, port)})
    cluster.kubectl("apply", "--filename=-", input=objects)
    try:
        yield
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "--filename=-", input=objects)


def _api_objects(group: str, port: int) -> list[Manifest]:
    name = f"peer-{group.partition('.')[0]}-metrics"
    metadata = {"name": name, "namespace": "kube-system"}
    endpoint = {
        "addressType": "IPv4",
        "endpoints": [{"addresses": [network.NODE_IP], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port}],
    }
    api = {
        "service": metadata,
        "group": group,
        "version": "v1beta1",
        "insecureSkipTLSVerify": True,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    return [
        _object("v1", "Service", metadata, spec={"ports": [{"name": "https", "port": 443, "targetPort": port}]}),
        _object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            {**metadata, "labels": {"kubernetes.io/service-name": name}},
            **endpoint,
        ),
        _object("apiregistration.k8s.io/v1", "APIService", {"name": f"v1beta1.{group}"}, spec=api),
        _object(
            f"{_RBAC}/v1",
            "ClusterRole",
            {"name": name},
            rules=[{"apiGroups": [group], "resources": ["*"], "verbs": ["get", "list"]}],
        ),
        _object(
            f"{_RBAC}/v1",
            "ClusterRoleBinding",
            {"name": name},
            roleRef={"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
            subjects=[_HPA],
        ),
    ]


def _object(api_version: str, kind: str, metadata: Manifest, **rest: Any) -> Manifest:
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


@contextmanager
def _namespace(cluster: Cluster, name: str) -> Iterator[None]:
    cluster.kubectl("apply", "--filename=-", input=json.dumps(_object("v1", "Namespace", {"name": name})))
    try:
        yield
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


def _wait_until_answered(url: str, within: float = 60) -> None:
    deadline = time.monotonic() + within
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
