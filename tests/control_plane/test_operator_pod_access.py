"""Pods behind a real API server, which is asked with the operator's credentials.

A pod is this test's own server: nobody runs fake pods, so that a pod's address can be this machine's.
"""

import http.server
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pykube
import pytest
import yaml
from aiohttp import web
from penstock.kinds import INFERENCE_SERVICE, POD
from penstock.kube import api_server as server
from penstock.kube.pod_access import Address, ThroughApiServer
from penstock.kube.throttle import TokenBucket
from penstock.metrics import Metrics, Snapshot
from penstock.observed.counters import Counters
from penstock.pods.client import HttpPodClient
from penstock.rollout.smoke import SmokeRequest
from penstock_server.metrics import Metrics as ServerMetrics

from tests.control_plane.objects import TOLERATION, Manifest, Objects, assert_condition
from tests.control_plane.operator_process import Installation, Operator, install, uninstall
from tests.control_plane.waiting import eventually
from tests.harness import ports
from tests.harness.cluster import Cluster

GRANTED, NOT_GRANTED = "ApiServer", "Direct"


@dataclass
class Pod:
    """A pod, what it was asked, and the operator's way to it."""

    address: Address
    port: int
    probes: HttpPodClient
    asked: list[web.BaseRequest] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def tested(self, path: str = "/ping", **fields: object) -> str | None:
        """What is wrong with its answer."""
        known: dict[str, Any] = {"method": "GET", "port": self.port, "path": path}
        request = SmokeRequest(**(known | fields))
        return (await self.probes.smoke(request, [self.address]))[self.address.name]

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request)
        self.bodies.append(await request.read())
        if request.path == "/metrics":
            return web.Response(text=ServerMetrics("tiny").expose().decode())
        if request.path == "/startupz":
            return web.json_response({"downloadedBytes": 5}, status=503)
        if request.path == "/moved":
            return web.Response(status=302, headers={"Location": "/elsewhere"})
        return web.Response(text="pong", status=int(request.query.get("status", "200")))


@pytest.fixture
def installation(
    control_plane: Cluster, namespace: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Installation]:
    """The chart's rights for one way to the pods."""
    access = getattr(request, "param", GRANTED)
    found = install(control_plane, [namespace], tmp_path, f"--set=settings.podAccess={access}")
    yield found
    uninstall(control_plane, found)


@pytest.fixture
async def pod(installation: Installation, session_client: pykube.HTTPClient) -> AsyncIterator[Pod]:
    objects, ip = Objects(session_client, installation.namespace), own_address()
    make_pod(objects, "chat-0", ip)
    async with probes(installation) as (port, found):
        pod = Pod(Address(installation.namespace, "chat-0", ip), port, found)
        runner = web.ServerRunner(web.Server(pod.answer), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, ip, port).start()
        yield pod
        await runner.cleanup()


@asynccontextmanager
async def probes(installation: Installation) -> AsyncIterator[tuple[int, HttpPodClient]]:
    """A port for the pod to listen on, and what asks it there."""
    metrics = Metrics(lambda: Snapshot(is_leader=False, queue_depth=0, services_by_phase={}, objects_by_kind={}))
    (port,) = ports.free(1)
    async with (
        server.connect(metrics, TokenBucket(1, 1), str(installation.kubeconfig)) as api,
        api.pod_proxy() as proxy,
    ):
        yield port, HttpPodClient(ThroughApiServer(proxy), port=port)


def own_address() -> str:
    """This machine's, not the loopback's: the API server refuses to go there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect(("192.0.2.1", 9))  # Nothing is sent.
        return str(asked.getsockname()[0])


def make_pod(objects: Objects, name: str, ip: str) -> None:
    """One that no scheduler takes, so that no node says anything else of it."""
    spec = {"schedulerName": "nobody", "containers": [{"name": "model", "image": "example/model:1"}]}
    objects.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    move(objects, name, ip)


def move(objects: Objects, pod: str, ip: str) -> None:
    objects.patch(POD, pod, {"status": {"podIP": ip, "podIPs": [{"ip": ip}]}}, subresource="status")


async def test_requests_come_to_the_pod_as_they_were_sent(pod: Pod) -> None:
    assert await pod.tested("/v1/x?y=1", expect_body_contains="pong") is None
    assert await pod.tested("/predict/", method="POST", body=b'{"text": "Hello"}') is None
    assert [(each.method, each.path_qs) for each in pod.asked] == [("GET", "/v1/x?y=1"), ("POST", "/predict/")]
    assert (pod.asked[1].content_type, pod.bodies[1]) == ("application/json", b'{"text": "Hello"}')


async def test_nothing_of_the_operators_token_comes_to_the_pod(pod: Pod, installation: Installation) -> None:
    token = yaml.safe_load(installation.kubeconfig.read_text())["users"][0]["user"]["token"]
    assert await pod.tested() is None
    assert await pod.tested(method="POST", body=b"{}") is None
    for each in pod.asked:
        assert "Authorization" not in each.headers
        assert token not in json.dumps(dict(each.headers))
        assert installation.release not in json.dumps(dict(each.headers))


async def test_progress_and_counters_are_read_the_same_way(pod: Pod) -> None:
    assert (await pod.probes.progress([pod.address])).bytes == 5
    assert await pod.probes.counters([pod.address]) == {"chat-0": Counters()}


async def test_a_pods_own_failure_is_told_as_the_pods(pod: Pod) -> None:
    for status in (403, 404, 503):
        told = await pod.tested(f"/ping?status={status}")
        assert told == f"GET /ping?status={status}: status {status} instead of 200: pong"
        assert await pod.tested(f"/ping?status={status}", expect_status=status) is None


async def test_a_redirect_is_an_answer_and_not_followed(pod: Pod) -> None:
    assert await pod.tested("/moved", expect_status=302) is None
    assert [each.path for each in pod.asked] == ["/moved"]


async def test_a_pod_that_does_not_listen_is_told_by_the_api_server(pod: Pod) -> None:
    (pod.port,) = ports.free(1)
    told = await pod.tested(expect_status=503)
    assert str(told).startswith(
        "GET /ping: the API server, not the pod, answered pods/proxy with 503 ServiceUnavailable:"
    )
    assert "error trying to reach service: dial tcp" in str(told)


async def test_a_pod_that_is_gone_is_told_by_the_api_server(pod: Pod) -> None:
    pod.address = Address(pod.address.namespace, "chat-1", pod.address.ip)
    told = await pod.tested(expect_status=404)
    assert (
        told == 'GET /ping: the API server, not the pod, answered pods/proxy with 404 NotFound: pods "chat-1" not found'
    )


@pytest.mark.parametrize("installation", [NOT_GRANTED], indirect=True)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_right_that_was_not_granted_is_told_by_the_api_server(pod: Pod, method: str) -> None:
    told = str(await pod.tested(method=method, expect_status=403))
    assert told.startswith(
        f"{method} /ping: the API server, not the pod, answered pods/proxy with 403 Forbidden: pods "
    )
    assert pod.asked == []


async def test_no_path_leads_out_of_the_pod(pod: Pod) -> None:
    for path in ("//", "/%2f..%2f", "/@example.com/", "/ping?x=/../y", "/%252e%252e/api"):
        await pod.tested(path)
    assert {each.path.count("namespaces") for each in pod.asked} == {0}


class Answering(http.server.BaseHTTPRequestHandler):
    """What every pod of a service answers."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(f"asked at {self.headers['X-Forwarded-Uri']}".encode())

    def log_message(self, *args: object) -> None:
        """Nothing."""


@contextmanager
def answering(ip: str) -> Iterator[int]:
    """The port on which it does."""
    with http.server.ThreadingHTTPServer((ip, 0), Answering) as pods:
        thread = threading.Thread(target=pods.serve_forever)
        thread.start()
        try:
            yield pods.server_port
        finally:
            pods.shutdown()
            thread.join()


def a_service(name: str, port: int, *, version: str) -> Manifest:
    container = {"name": "web", "image": f"example/web:{version}", "ports": [{"containerPort": port}]}
    smoke_test = {"path": "/check", "expectBodyContains": "/proxy/check", "timeoutSeconds": 1}
    rollout = {"strategy": "BlueGreen", "blueGreen": {"holdSeconds": 0}, "smokeTest": smoke_test}
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.name,
        "metadata": {"name": name},
        "spec": {"predictor": {"containers": [container], "tolerations": [TOLERATION]}, "rollout": rollout},
    }


def ended(objects: Objects, name: str, phase: str, image: str, ip: str) -> Manifest:
    """The service, when its rollout has; its fake pods are given this machine's address as they come."""
    for pod in objects.all(POD, f"serving.penstock.dev/inferenceservice={name}"):
        if pod["status"].get("podIP", ip) != ip:
            move(objects, pod["metadata"]["name"], ip)
    found = objects.service(name)
    assert found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]
    assert found["status"]["rollout"]["phase"] == phase, found["status"]["rollout"]
    assert found["spec"]["predictor"]["containers"][0]["image"] == image
    return found


@pytest.fixture
def operator(installation: Installation, tmp_path: Path) -> Iterator[Operator]:
    found = Operator(installation, tmp_path, {"PENSTOCK_POD_ACCESS": "ApiServer"}).start().wait_until_leading()
    yield found
    found.end()
    print(found.tail())


def test_an_operator_promotes_and_goes_back_by_what_it_hears_through_the_api_server(
    operator: Operator, session_client: pykube.HTTPClient, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    objects, ip = Objects(session_client, operator.installation.namespace), own_address()
    with answering(ip) as port:
        objects.create(a_service(name, port, version="1"))
        eventually(lambda: ended(objects, name, "Stable", "example/web:1", ip))
        objects.patch(INFERENCE_SERVICE, name, a_service(name, port, version="2"))
        found = eventually(lambda: ended(objects, name, "Stable", "example/web:2", ip), within=60)
        assert_condition(found, "Stalled", "False")
        monkeypatch.setattr(Answering, "status", 503)
        objects.patch(INFERENCE_SERVICE, name, a_service(name, port, version="3"))
        found = eventually(lambda: ended(objects, name, "RolledBack", "example/web:3", ip), within=60)
    assert_condition(found, "Stalled", "True", "SmokeTestFailed")
    assert "GET /check: status 503 instead of 200: asked at /" in found["status"]["rollout"]["message"]
    assert operator.metric("penstock_api_requests_total", resource="pods/proxy", verb="get", code="200") >= 1
