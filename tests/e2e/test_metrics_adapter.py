"""The metrics adapter and the router over a life: certificates, the registration, and exactly the rights they need."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from penstock import clock
from penstock.adapter import certificate
from penstock.adapter.certificate import Certificates

from tests.chart import rendering
from tests.control_plane.audit import Audit, rights, used
from tests.control_plane.objects import Manifest
from tests.control_plane.waiting import eventually
from tests.e2e import specs
from tests.e2e.service import Isvc
from tests.e2e.test_scale_to_zero import SOON, ask_once, falls_asleep
from tests.harness.cluster import Cluster, KubectlError
from tests.harness.release import NAMESPACE, Penstock

SECRET = "penstock-metrics-adapter-tls"
HOST = f"penstock-metrics-adapter.{NAMESPACE}.svc"
API_SERVICES = ("v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io")
# Both replicas look once in a minute.
A_ROUND = 90


class Installed:
    """What kubectl shows of the adapter."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def kubectl(self, *arguments: str) -> str:
        return self._cluster.kubectl(*arguments, f"--namespace={NAMESPACE}")

    def certificates(self) -> Certificates:
        found = Certificates.of_secret(json.loads(self.kubectl("get", "secret", SECRET, "--output=json"))["data"])
        assert found is not None
        return found

    def put(self, certificates: Certificates) -> None:
        patch = json.dumps({"data": certificates.secret_data()})
        self.kubectl("patch", "secret", SECRET, "--type=merge", f"--patch={patch}")

    def served(self) -> set[bytes]:
        """The certificate that each replica shows a client, as DER."""
        selector = "--selector=app.kubernetes.io/component=metrics-adapter"
        pods = json.loads(self.kubectl("get", "pods", selector, "--output=json"))["items"]
        addresses = [each["status"]["podIP"] for each in pods if "deletionTimestamp" not in each["metadata"]]
        assert len(addresses) == 2
        return {ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((address, 8443))) for address in addresses}

    def registered(self) -> dict[str, Manifest]:
        """The APIServices by name."""
        found = json.loads(self.kubectl("get", "apiservices", "--output=json"))["items"]
        return {each["metadata"]["name"]: each for each in found if each["metadata"]["name"] in API_SERVICES}

    def are_available(self) -> None:
        found = self.registered()
        assert found.keys() == set(API_SERVICES)
        for each in found.values():
            assert each["spec"]["service"]["namespace"] == NAMESPACE
            conditions = {c["type"]: c["status"] for c in each.get("status", {}).get("conditions", [])}
            assert conditions.get("Available") == "True"

    def restart(self, what: str) -> None:
        self.kubectl("rollout", "restart", f"deployment/{what}")
        self.kubectl("rollout", "status", f"deployment/{what}", "--timeout=120s")


@contextmanager
def polls(cluster: Cluster) -> Iterator[tuple[list[float], list[str]]]:
    """Questions to the metrics API, as an autoscaler asks them: when they were answered, and what failed."""
    answered: list[float] = []
    failed: list[str] = []
    stop = threading.Event()
    path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/inference_requests_per_second"

    def poll() -> None:
        while not stop.wait(0.2):
            try:
                cluster.kubectl("get", "--raw", path)
            except KubectlError as error:
                failed.append(str(error))
            else:
                answered.append(time.monotonic())

    thread = threading.Thread(target=poll, name="polls")
    thread.start()
    try:
        yield answered, failed
    finally:
        stop.set()
        thread.join()


def due(found: Certificates) -> Certificates:
    """The same with a serving certificate whose last third has begun, of the same authority."""
    (authority,) = x509.load_pem_x509_certificates(found.bundle)
    issued = clock.now() - certificate.SERVING_LIFE + timedelta(days=60)
    key, leaf = certificate._leaf(HOST, authority, certificate._load_key(found.authority_key), issued)
    return replace(found, certificate=certificate._pem(leaf), key=certificate._key_pem(key))


def der(found: Certificates) -> bytes:
    return ssl.PEM_cert_to_DER_cert(found.certificate.decode())


@pytest.mark.alone
def test_in_a_life_of_the_adapter_and_the_router_every_right_is_used_and_none_is_missing(
    cluster: Cluster, penstock: Penstock, service: Callable[[str], Isvc]
) -> None:
    assert cluster.audit_log is not None
    audit, adapter = Audit(cluster.audit_log), Installed(cluster)

    # A first start, without a Secret: the API server is told of the new authority.
    adapter.kubectl("delete", "secret", SECRET)
    adapter.restart("penstock-metrics-adapter")
    adapter.restart("penstock-router")
    eventually(adapter.are_available, within=A_ROUND)
    bundle = base64.b64encode(adapter.certificates().bundle).decode()
    assert {each["spec"]["caBundle"] for each in adapter.registered().values()} == {bundle}

    # A certificate that is due is renewed, and no poll fails meanwhile.
    old = due(adapter.certificates())
    with polls(cluster) as (answered, failed):
        eventually(lambda: answered[3])
        adapter.put(old)

        def is_renewed() -> bytes:
            new = der(adapter.certificates())
            assert new != der(old)
            assert adapter.served() == {new}
            return new

        eventually(is_renewed, within=A_ROUND)
        until = len(answered) + 5
        eventually(lambda: answered[until])
    print(f"\nrenewed while {len(answered)} polls were answered, {len(failed)} failed")
    assert failed == []

    # Somebody else's registration is left alone, and ours gives way to it.
    theirs = {"namespace": "monitoring", "name": "prometheus-adapter", "port": 443}
    patch = json.dumps({"spec": {"service": theirs}})
    adapter.kubectl("patch", "apiservice", API_SERVICES[0], "--type=merge", f"--patch={patch}")
    eventually(lambda: _only_theirs(adapter, theirs), within=A_ROUND)
    adapter.kubectl("delete", "apiservice", API_SERVICES[0])
    eventually(adapter.are_available, within=A_ROUND)

    # A sleeper is woken.
    sleeper = service("watched")
    spec = specs.own_server(penstock.operator_image, minReplicas=0, metrics={"requests": "hits_total"})
    sleeper.apply({**spec, "autoscaling": SOON})
    falls_asleep(sleeper, within=90)
    assert ask_once(sleeper.url()).status == 200

    for what in ("penstock-metrics-adapter", "penstock-router"):
        requests = audit.requests(f"system:serviceaccount:{NAMESPACE}:{what}")
        assert [each for each in requests if each.code in (401, 403)] == []
        granted = rights([each for each in rendering.objects() if _is_role_of(each, what)])
        # What the cluster itself lets it read: who speaks for the API server.
        known = {("", "configmaps", "get")} if what == "penstock-metrics-adapter" else set()
        assert used(requests) - known == granted


def _only_theirs(adapter: Installed, theirs: Manifest) -> None:
    found = adapter.registered()
    assert found.keys() == {API_SERVICES[0]}
    assert found[API_SERVICES[0]]["spec"]["service"] == theirs


def _is_role_of(each: Manifest, what: str) -> bool:
    return each["kind"] in ("Role", "ClusterRole") and each["metadata"]["name"] in (what, f"{what}-tls")
