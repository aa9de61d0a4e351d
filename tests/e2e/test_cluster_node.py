"""The node cluster itself: what every other end-to-end test takes for granted."""

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from tests.e2e import sharing
from tests.harness import device_plugin
from tests.harness.cluster import Cluster, KubectlError

GPU = "nvidia.com/gpu"
T = TypeVar("T")


@dataclass(frozen=True)
class Namespace:
    """One test's namespace, and the image that its pods run."""

    cluster: Cluster
    name: str
    image: str

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - the name subprocess has for it.
        return self.cluster.kubectl(f"--namespace={self.name}", *arguments, input=input)

    def apply(self, *manifests: dict[str, Any]) -> None:
        self.kubectl(
            "apply", "--filename=-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        )

    def pod(self, name: str, *command: str, limits: dict[str, str] | None = None) -> None:
        """A pod labelled app=NAME that runs the echo server, or `command`."""
        container: dict[str, Any] = {"name": "main", "image": self.image, "ports": [{"containerPort": 8080}]}
        if command:
            container["command"] = list(command)
        else:
            container["readinessProbe"] = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
        container["resources"] = {"limits": limits or {}}
        spec = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0}
        metadata = {"name": name, "labels": {"app": name}}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    def service(self, name: str) -> str:
        """A Service for the pods labelled app=NAME; returns its ClusterIP."""
        spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}
        self.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
        return self.kubectl("get", "service", name, "--output=jsonpath={.spec.clusterIP}")

    def wait_until_ready(self, *pods: str) -> None:
        self.kubectl("wait", "--for=condition=Ready", "--timeout=60s", *(f"pod/{pod}" for pod in pods))

    def status(self, pod: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "pod", pod, "--output=json"))["status"]
        return found


@pytest.fixture
def place(cluster: Cluster, namespace: str, echo_image: str) -> Namespace:
    return Namespace(cluster, namespace, echo_image)


def eventually(look: Callable[[], T], *, within: float) -> T:
    """The first value of `look` that counts as true; the last one at the deadline."""
    deadline = time.monotonic() + within
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def test_a_service_address_reaches_its_pod_from_the_host(place: Namespace) -> None:
    place.pod("echo")
    address = place.service("echo")
    place.wait_until_ready("echo")
    assert eventually(lambda: answer_of(address), within=10) == "echo"


def answer_of(address: str) -> str:
    """Empty while kube-proxy has no endpoint for the address."""
    try:
        return fetch(f"http://{address}/")
    except OSError:
        return ""


def test_a_pod_finds_another_by_its_service_name(place: Namespace) -> None:
    place.pod("echo")
    place.service("echo")
    place.pod("client")
    place.wait_until_ready("echo", "client")
    script = (
        f"import urllib.request as r; print(r.urlopen('http://echo.{place.name}.svc/', timeout=10).read().decode())"
    )

    def ask() -> str:
        try:
            return place.kubectl("exec", "client", "--", "python3", "-c", script).strip()
        except KubectlError:
            return ""

    assert eventually(ask, within=20) == "echo"


def test_a_name_outside_the_cluster_is_unknown_at_once(place: Namespace) -> None:
    place.pod("client")
    place.wait_until_ready("client")
    started = time.monotonic()
    with pytest.raises(KubectlError, match="Name or service not known"):
        place.kubectl("exec", "client", "--", "python3", "-c", "import socket; socket.getaddrinfo('example.org', 80)")
    assert time.monotonic() - started < 5


def test_kubectl_reads_logs_and_runs_commands(place: Namespace) -> None:
    place.pod("echo")
    place.wait_until_ready("echo")
    assert place.kubectl("logs", "echo").startswith("listening")
    assert place.kubectl("exec", "--stdin", "echo", "--", "cat", input="through") == "through"


def test_kubectl_forwards_a_port(place: Namespace) -> None:
    place.pod("echo")
    place.wait_until_ready("echo")
    with forwarded(place, "pod/echo", 8080) as url:
        assert fetch(url) == "echo"


@contextmanager
def forwarded(place: Namespace, target: str, port: int) -> Iterator[str]:
    """A URL on loopback for as long as the context lasts."""
    words = (f"--namespace={place.name}", "port-forward", target, f":{port}", "--address=127.0.0.1")
    command = [str(place.cluster.kubectl_path), f"--kubeconfig={place.cluster.kubeconfig}", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert found, "kubectl said no address"
            yield f"http://127.0.0.1:{found[1]}/"
        finally:
            process.terminate()


def test_a_container_over_its_memory_limit_is_reported_as_oom_killed(place: Namespace) -> None:
    place.pod("greedy", "python3", "-c", "x = bytearray(256 * 2**20)", limits={"memory": "32Mi"})
    place.kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "--timeout=60s", "pod/greedy")
    terminated = place.status("greedy")["containerStatuses"][0]["state"]["terminated"]
    assert (terminated["reason"], terminated["exitCode"]) == ("OOMKilled", 137)


@sharing.gpus
def test_the_third_pod_that_wants_a_gpu_waits(place: Namespace) -> None:
    place.pod("one", limits={GPU: "1"})
    place.pod("two", limits={GPU: "1"})
    place.wait_until_ready("one", "two")
    place.pod("three", limits={GPU: "1"})

    assert f"Insufficient {GPU}" in eventually(lambda: why_unscheduled(place, "three"), within=10)
    given = {place.kubectl("exec", pod, "--", "printenv", "NVIDIA_VISIBLE_DEVICES").strip() for pod in ("one", "two")}
    assert given == {"gpu-0", "gpu-1"}
    assert place.status("three")["phase"] == "Pending"


def why_unscheduled(place: Namespace, pod: str) -> str:
    """The scheduler's words; empty before it has looked."""
    query = '--output=jsonpath={.status.conditions[?(@.type=="PodScheduled")].message}'
    return place.kubectl("get", "pod", pod, query)


@sharing.gpus
def test_a_sick_gpu_is_no_longer_offered(cluster: Cluster) -> None:
    query = "--output=jsonpath={.items[*].status.allocatable.nvidia\\.com/gpu}"
    assert eventually(lambda: cluster.kubectl("get", "nodes", query) == "2", within=20)
    device_plugin.make_sick(cluster.state, "gpu-1")
    try:
        assert eventually(lambda: cluster.kubectl("get", "nodes", query) == "1", within=20)
    finally:
        device_plugin.heal(cluster.state, "gpu-1")
    assert eventually(lambda: cluster.kubectl("get", "nodes", query) == "2", within=20)


@pytest.mark.usefixtures("resource_metrics_api")
def test_the_metrics_api_knows_what_a_pod_uses(place: Namespace) -> None:
    place.pod("echo")
    place.wait_until_ready("echo")

    def used() -> str:
        try:
            return place.kubectl("top", "pod", "echo", "--no-headers")
        except KubectlError:
            return ""

    assert re.match(r"echo +\d+m +\d+Mi", eventually(used, within=90))
