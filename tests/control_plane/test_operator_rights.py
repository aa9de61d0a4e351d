"""The chart's roles hold exactly what the operator asks for."""

from pathlib import Path

import yaml
from penstock.kinds import AUTOSCALER, DEPLOYMENT, INFERENCE_SERVICE, LEASE, SCALED_OBJECT, VERTICAL_AUTOSCALER
from penstock.kube.release import Release

from tests.chart import rendering
from tests.control_plane.audit import Audit, Right, rights, used
from tests.control_plane.objects import Manifest, Objects, assert_condition, image
from tests.control_plane.operator_process import Installation, Operator
from tests.control_plane.waiting import eventually

GATEWAY = {"gateway": {"parentRefs": [{"name": "public"}]}}
VERTICAL: Manifest = {"vertical": {"mode": "Off"}}
KEDA: Manifest = {
    "provider": "KEDA",
    "keda": {"serverAddress": "http://prometheus.monitoring:9090"},
    "vertical": {"mode": "Off"},
}
# What leads a sleeping service to the routers: fake pods count no requests, so that none sleeps here.
OF_SLEEP: set[Right] = {
    ("discovery.k8s.io", "endpointslices/restricted", "create"),
    *(("discovery.k8s.io", "endpointslices", verb) for verb in ("get", "create", "patch", "delete")),
}
# One slot serves before and after: what is deleted of it comes back.
IN_PLACE = {"strategy": "RollingUpdate"}


def forged(namespace: str) -> Manifest:
    lease = {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.name,
        "metadata": {"name": "stranger", "namespace": namespace},
        "spec": {"holderIdentity": "mallory", "leaseDurationSeconds": 3600},
    }
    return Release(namespace, "stranger", "default").marked(lease)


def stable(objects: Objects, name: str) -> Manifest:
    found = objects.service(name)
    assert_condition(found, "Progressing", "False", "Stable")
    assert_condition(found, "Ready", "True")
    assert_condition(found, "Stalled", "False")
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    return found


def roles(installation: Installation) -> list[Manifest]:
    documents = yaml.safe_load_all(installation.rendered)
    return [each for each in documents if each and each["kind"] in ("Role", "ClusterRole")]


def has_all_autoscalers(objects: Objects, *names: str) -> None:
    """One of each kind: no service has all of them."""
    found = {each["metadata"]["name"] for kind in (AUTOSCALER, SCALED_OBJECT) for each in objects.all(kind)}
    assert found == set(names)
    assert len(objects.all(VERTICAL_AUTOSCALER)) == len(names)


def test_every_right_is_used_and_no_request_is_forbidden(
    own_objects: Objects, own_installation: Installation, audit: Audit, tmp_path: Path, name: str
) -> None:
    """One life with everything in it: a start, every child, an update, a repair, a second life, an end."""
    # A Lease that says it is a release's over the same namespace: it is looked into, and stops nobody.
    own_objects.create(forged(own_objects.namespace))
    operator = Operator(own_installation, tmp_path).start().wait_until_leading()
    by_keda = f"{name}-keda"
    own_objects.serve(name, minReplicas=2, maxReplicas=3, networking=GATEWAY, rollout=IN_PLACE, autoscaling=VERTICAL)
    own_objects.serve(by_keda, maxReplicas=3, autoscaling=KEDA)
    eventually(lambda: stable(own_objects, name))
    eventually(lambda: has_all_autoscalers(own_objects, name, by_keda))
    own_objects.edit(name, predictor=image("2"))
    eventually(lambda: stable(own_objects, name))
    own_objects.delete(DEPLOYMENT, f"{name}-blue")
    eventually(lambda: own_objects.get(DEPLOYMENT, f"{name}-blue"))
    own_objects.edit(name, predictor=image("1"))
    eventually(lambda: stable(own_objects, name))
    # The children of the first life are in the way of the second's: each must be deleted.
    for each in (name, by_keda):
        own_objects.delete(INFERENCE_SERVICE, each, propagation="Orphan")
    eventually(lambda: assert_gone(own_objects))
    own_objects.serve(name, minReplicas=2, maxReplicas=3, networking=GATEWAY, rollout=IN_PLACE, autoscaling=VERTICAL)
    own_objects.serve(by_keda, maxReplicas=3, autoscaling=KEDA)
    eventually(lambda: stable(own_objects, name))
    eventually(lambda: stable(own_objects, by_keda))
    eventually(lambda: has_all_autoscalers(own_objects, name, by_keda))
    assert operator.stop() == 0

    requests = audit.requests(own_installation.user)
    assert [r for r in requests if r.code in (401, 403)] == []
    granted = rights(roles(own_installation))
    assert used(requests) - granted == set()
    assert granted - used(requests) == OF_SLEEP


def assert_gone(objects: Objects) -> None:
    assert objects.all(INFERENCE_SERVICE) == []


def test_the_rights_for_the_whole_cluster_are_the_same_ones() -> None:
    assert rights(own_roles()) == rights(own_roles("--set=watchNamespaces={a}"))


def own_roles(*flags: str) -> list[Manifest]:
    """The operator's, without those that the chart offers to people."""
    return [
        each
        for each in rendering.objects(*flags)
        if each["kind"] in ("Role", "ClusterRole") and "aggregate-to" not in str(each["metadata"])
    ]


def test_no_sweeping_right_is_granted() -> None:
    sweeping = {"*", "deletecollection", "impersonate", "escalate", "bind"}
    assert [right for right in rights(own_roles()) if sweeping & set(right)] == []
