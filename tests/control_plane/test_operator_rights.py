"""The chart's roles hold exactly what the operator asks for."""

from pathlib import Path

import yaml
from penstock.kinds import DEPLOYMENT, INFERENCE_SERVICE, LEASE
from penstock.kube.release import Release

from tests.chart import rendering
from tests.control_plane.audit import Audit, Request
from tests.control_plane.objects import Manifest, Objects, assert_condition, image
from tests.control_plane.operator_process import Installation, Operator
from tests.control_plane.waiting import eventually

Right = tuple[str, str, str]  # group, resource, verb
GATEWAY = {"gateway": {"parentRefs": [{"name": "public"}]}}
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


def rights(roles: list[Manifest]) -> set[Right]:
    return {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(requests: list[Request]) -> set[Right]:
    """What the requests needed: a server-side apply is a patch, and a create where it made the object."""
    # Which versions and groups there are, every ServiceAccount may ask.
    asked = {(r.group, r.resource, r.verb) for r in requests if r.resource}
    made = {(r.group, r.resource, "create") for r in requests if r.verb == "patch" and r.code == 201}
    return asked | made


def roles(installation: Installation) -> list[Manifest]:
    documents = yaml.safe_load_all(installation.rendered)
    return [each for each in documents if each and each["kind"] in ("Role", "ClusterRole")]


def test_every_right_is_used_and_no_request_is_forbidden(
    own_objects: Objects, own_installation: Installation, audit: Audit, tmp_path: Path, name: str
) -> None:
    """One life with everything in it: a start, every child, an update, a repair, a second life, an end."""
    # A Lease that says it is a release's over the same namespace: it is looked into, and stops nobody.
    own_objects.create(forged(own_objects.namespace))
    operator = Operator(own_installation, tmp_path).start().wait_until_leading()
    own_objects.serve(name, minReplicas=2, maxReplicas=3, networking=GATEWAY, rollout=IN_PLACE)
    eventually(lambda: stable(own_objects, name))
    own_objects.edit(name, predictor=image("2"))
    eventually(lambda: stable(own_objects, name))
    own_objects.delete(DEPLOYMENT, f"{name}-blue")
    eventually(lambda: own_objects.get(DEPLOYMENT, f"{name}-blue"))
    own_objects.edit(name, predictor=image("1"))
    eventually(lambda: stable(own_objects, name))
    # The children of the first life are in the way of the second's: each must be deleted.
    own_objects.delete(INFERENCE_SERVICE, name, propagation="Orphan")
    eventually(lambda: assert_gone(own_objects, name))
    own_objects.serve(name, minReplicas=2, maxReplicas=3, networking=GATEWAY, rollout=IN_PLACE)
    eventually(lambda: stable(own_objects, name))
    assert operator.stop() == 0

    requests = audit.requests(own_installation.user)
    assert [r for r in requests if r.code in (401, 403)] == []
    granted = rights(roles(own_installation))
    assert used(requests) - granted == set()
    assert granted - used(requests) == set()


def assert_gone(objects: Objects, name: str) -> None:
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
