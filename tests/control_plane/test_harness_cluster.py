"""The harness itself, against the cluster it makes."""

import json
import signal
from collections.abc import Callable
from typing import Any

import pykube
import pytest

from tests.harness import cluster as clusters
from tests.harness import kwok
from tests.harness.cluster import Cluster, HarnessError


def test_up_returns_the_cluster_that_is_running(cluster: Cluster) -> None:
    assert clusters.up(cluster.profile) == cluster


def test_another_provider_is_refused_while_a_cluster_runs(cluster: Cluster) -> None:
    other = "existing" if cluster.provider != "existing" else "local"
    with pytest.raises(HarnessError, match="run `down` before"):
        clusters.up(cluster.profile, other)


def test_a_restarted_api_server_remembers_everything(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "configmap", "kept", f"--namespace={namespace}")
    cluster.stop_component("apiserver", signal_number=signal.SIGKILL)
    with pytest.raises(clusters.KubectlError):
        cluster.kubectl("get", "--raw", "/readyz")
    cluster.start_component("apiserver")
    assert cluster.kubectl("get", "configmap", "kept", "-o", "name", f"--namespace={namespace}") == "configmap/kept\n"


def test_every_fake_node_is_ready_and_tainted_as_fake(cluster: Cluster) -> None:
    nodes = json.loads(cluster.kubectl("get", "nodes", "-l", "type=kwok", "-o", "json"))["items"]
    assert len(nodes) == kwok.CPU_NODES + kwok.GPU_NODES
    assert all(kwok.TAINT in node["spec"]["taints"] for node in nodes)
    assert sum(int(node["status"]["allocatable"].get("nvidia.com/gpu", 0)) for node in nodes) == 32
    assert all(_condition(node, "Ready")["status"] == "True" for node in nodes)


def test_a_pod_that_does_not_tolerate_fake_nodes_stays_pending(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("apply", "-f", "-", input=json.dumps(a_pod(namespace, tolerations=[])))
    cluster.kubectl("wait", f"--namespace={namespace}", "pod/p", "--for=condition=PodScheduled=false", "--timeout=20s")


def test_a_fake_pod_becomes_ready_and_has_an_address(
    cluster: Cluster, namespace: str, pykube_client: pykube.HTTPClient
) -> None:
    cluster.kubectl("apply", "-f", "-", input=json.dumps(a_pod(namespace)))
    cluster.kubectl("wait", f"--namespace={namespace}", "pod/p", "--for=condition=Ready", "--timeout=20s")
    pod = pykube.Pod.objects(pykube_client, namespace=namespace).get_by_name("p")
    assert pod.obj["status"]["podIP"].startswith("198.1")


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("crash-loop", "CrashLoopBackOff"),
        ("oom", "CrashLoopBackOff"),
        ("image-pull-error", "ImagePullBackOff"),
    ],
)
def test_an_image_tag_makes_a_fake_pod_fail(cluster: Cluster, namespace: str, behaviour: str, reason: str) -> None:
    cluster.kubectl("apply", "-f", "-", input=json.dumps(a_pod(namespace, image=f"example/model:{behaviour}")))
    _wait_for_state(cluster, namespace, f"waiting.reason}}={reason}")
    pod = json.loads(cluster.kubectl("get", f"--namespace={namespace}", "pod/p", "-o", "json"))
    assert _condition(pod, "Ready")["status"] == "False"


def test_an_annotation_changes_what_a_running_fake_pod_does(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("apply", "-f", "-", input=json.dumps(a_pod(namespace)))
    wait = ("wait", f"--namespace={namespace}", "pod/p", "--timeout=20s")
    cluster.kubectl(*wait, "--for=condition=Ready")
    annotate = ("annotate", "--overwrite", f"--namespace={namespace}", "pod/p")
    cluster.kubectl(*annotate, f"{kwok.BEHAVIOUR}=never-ready")
    cluster.kubectl(*wait, "--for=condition=Ready=false")
    cluster.kubectl(*annotate, f"{kwok.BEHAVIOUR}=recovered")
    cluster.kubectl(*wait, "--for=condition=Ready")


def test_a_failed_service_account_request_is_in_the_audit_log(cluster: Cluster, namespace: str) -> None:
    user = f"system:serviceaccount:{namespace}:default"
    with pytest.raises(clusters.KubectlError, match="Forbidden"):
        cluster.kubectl("get", "secrets", f"--namespace={namespace}", f"--as={user}")
    events = _audited(cluster, lambda event: event.get("impersonatedUser", {}).get("username") == user)
    assert ("list", "secrets", 403) in [
        (event["verb"], event["objectRef"]["resource"], event["responseStatus"]["code"]) for event in events
    ]


def a_pod(
    namespace: str, *, image: str = "example/model:1", tolerations: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    if tolerations is None:
        tolerations = [{"key": kwok.TAINT["key"], "operator": "Exists"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": namespace},
        "spec": {"containers": [{"name": "server", "image": image}], "tolerations": tolerations},
    }


def _wait_for_state(cluster: Cluster, namespace: str, state: str) -> None:
    path = f"--for=jsonpath={{.status.containerStatuses[0].state.{state}"
    cluster.kubectl("wait", f"--namespace={namespace}", "pod/p", "--timeout=20s", path)


def _condition(manifest: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(each for each in manifest["status"]["conditions"] if each["type"] == kind)


def _audited(cluster: Cluster, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    assert cluster.audit_log
    return [event for line in cluster.audit_log.read_text().splitlines() if wanted(event := json.loads(line))]
