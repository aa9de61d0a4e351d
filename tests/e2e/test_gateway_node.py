"""The Gateway of the node cluster: two Deployments behind one HTTPRoute, without Penstock, and what clients notice."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e import specs
from tests.e2e.traffic import Answer, Traffic
from tests.harness.cluster import Cluster
from tests.harness.gateway import Gateway

ENOUGH = 2000
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Split:
    """Two backends, v1 and v2, behind a path of their own: other tests' routes are at the same address."""

    cluster: Cluster
    namespace: str
    gateway: Gateway

    @property
    def url(self) -> str:
        return f"{self.gateway.url}/{self.namespace}"

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - the name subprocess has for it.
        return self.cluster.kubectl(f"--namespace={self.namespace}", *arguments, input=input)

    def apply(self, *manifests: Manifest) -> None:
        everything = {"apiVersion": "v1", "kind": "List", "items": manifests}
        self.kubectl("apply", "--filename=-", input=json.dumps(everything))

    def weigh(self, **weights: int) -> None:
        """Give each version its weight."""
        parent = {"name": self.gateway.name, "namespace": self.gateway.namespace}
        backends = [{"name": version, "port": 80, "weight": weight} for version, weight in weights.items()]
        path = {"path": {"type": "PathPrefix", "value": f"/{self.namespace}"}}
        spec = {"parentRefs": [parent], "rules": [{"matches": [path], "backendRefs": backends}]}
        metadata = {"name": "split"}
        kind = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}
        self.apply({**kind, "metadata": metadata, "spec": spec})

    def pods(self, version: str) -> int:
        """How many there are, with those that are leaving."""
        return len(self.kubectl("get", "pods", f"--selector=app={version}", "--output=name").split())

    def traffic(self, *, clients: int = 8, fresh: int = 4) -> Traffic:
        return Traffic(self.url, {}, clients=clients, fresh=fresh, pause_seconds=0.02)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def split(cluster: Cluster, namespace: str, gateway: Gateway, echo_image: str) -> Iterator[Split]:
    """Both backends are ready, and the first has all the traffic."""
    made = Split(cluster, namespace, gateway)
    for version in ("v1", "v2"):
        made.apply(deployment(version, echo_image), service(version))
    made.weigh(v1=100, v2=0)
    made.kubectl("rollout", "status", "--timeout=60s", "deployment/v1")
    made.kubectl("rollout", "status", "--timeout=60s", "deployment/v2")
    wait_until(made.answers, within=30)
    yield made
    # A Gateway that others use must not keep a route without backends.
    made.kubectl("delete", "httproute", "split")


def deployment(version: str, image: str) -> Manifest:
    """A server that tells its version. A pod that has to go takes requests for two seconds more."""
    container = {
        "name": "web",
        "image": image,
        "command": ["python3", "-c", specs.SERVER],
        "env": [{"name": "VERSION", "value": version}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 2}}},
    }
    labels = {"app": version}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 5}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": version}, "spec": spec}


def service(version: str) -> Manifest:
    spec = {"selector": {"app": version}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": version}, "spec": spec}


def wait_until(holds: Callable[[], bool], *, within: float) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.1)


def share(version: str, answers: Sequence[Answer]) -> float:
    """Of the answers, those that this version gave, in percent; 0 while there are none."""
    return 100 * sum(answer.version == version for answer in answers) / max(len(answers), 1)


def test_requests_are_split_by_the_weights_of_a_route(split: Split) -> None:
    split.weigh(v1=80, v2=20)
    with split.traffic() as traffic:
        wait_until(lambda: share("v2", traffic.answers) > 0, within=10)
        before = len(traffic.answers)
        wait_until(lambda: len(traffic.answers) >= before + ENOUGH, within=60)
    assert not traffic.failures
    assert 18 <= share("v2", traffic.answers[before:]) <= 22


def test_changed_weights_take_effect_at_once_and_without_a_failure(split: Split) -> None:
    with split.traffic() as traffic:
        wait_until(lambda: len(traffic.answers) >= 100, within=10)
        assert share("v1", traffic.answers) == 100
        split.weigh(v1=0, v2=100)
        wait_until(lambda: share("v2", traffic.answers[-100:]) == 100, within=10)
        before = len(traffic.answers)
        wait_until(lambda: len(traffic.answers) >= before + 500, within=30)
    assert not traffic.failures
    assert share("v2", traffic.answers[before:]) == 100


def test_a_rolling_restart_behind_the_gateway_fails_no_request(split: Split) -> None:
    split.weigh(v1=50, v2=50)
    with split.traffic() as traffic:
        split.kubectl("rollout", "restart", "deployment/v1")
        split.kubectl("rollout", "status", "--timeout=60s", "deployment/v1")
        # Those of before are still leaving.
        wait_until(lambda: split.pods("v1") == 2, within=30)
    assert not traffic.failures
    assert {answer.version for answer in traffic.answers} == {"v1", "v2"}
