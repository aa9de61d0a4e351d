"""KEDA's and the Vertical Pod Autoscaler's objects, in their own definitions; KEDA itself is played by the tests."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from penstock.kinds import AUTOSCALER, SCALED_OBJECT, VERTICAL_AUTOSCALER
from penstock.names import keda_autoscaler

from tests.control_plane.objects import Manifest, Objects, Refused, assert_condition, condition
from tests.control_plane.test_operator_blue_green import serving
from tests.control_plane.waiting import eventually, throughout
from tests.harness import autoscalers
from tests.harness.cluster import Cluster

pytestmark = pytest.mark.usefixtures("operator")

KEDA: dict[str, Any] = {"provider": "KEDA", "keda": {"serverAddress": "http://prometheus.monitoring:9090"}}
SCALED: dict[str, Any] = {"maxReplicas": 4, "scaleTarget": 5}


@dataclass
class Scalers:
    """All objects that scale a service, looked at again and again; `sets` has each set of them that was seen."""

    objects: Objects
    name: str
    sets: set[frozenset[str]] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)

    def now(self) -> frozenset[str]:
        # Those that are being handed over are looked at twice: what went between two reads is no pair.
        return self._look() & self._look()

    def _look(self) -> frozenset[str]:
        found = [(AUTOSCALER, each) for each in self.objects.all(AUTOSCALER)]
        found += [(SCALED_OBJECT, each) for each in self.objects.all(SCALED_OBJECT)]
        return frozenset(f"{kind}/{each['metadata']['name']}" for kind, each in found if _scales(each, self.name))

    def watch(self) -> None:
        while not self._stop.is_set():
            self.sets.add(self.now())

    def stop(self) -> None:
        self._stop.set()


def _scales(scaler: Manifest, name: str) -> bool:
    return bool(scaler["spec"]["scaleTargetRef"]["name"] == name)


@pytest.fixture
def scalers(objects: Objects, name: str) -> Iterator[Scalers]:
    """Watched from the start to the end of the test."""
    found = Scalers(objects, name)
    thread = threading.Thread(target=found.watch, name="scalers")
    thread.start()
    yield found
    found.stop()
    thread.join()


def serve(objects: Objects, name: str, autoscaling: dict[str, Any]) -> None:
    objects.serve(name, **SCALED, autoscaling=autoscaling)
    eventually(lambda: serving(objects, name, "1"))


def scaled_by(objects: Objects, name: str, *expected: str) -> None:
    assert Scalers(objects, name).now() == frozenset(expected)


def made_by_keda(objects: Objects, name: str) -> Manifest:
    """The autoscaler that KEDA makes, with the labels and the owner that it gives it."""
    scaled = objects.get(SCALED_OBJECT, name)["metadata"]
    owner = {
        "apiVersion": SCALED_OBJECT.api_version,
        "kind": SCALED_OBJECT.name,
        "name": name,
        "uid": scaled["uid"],
        "controller": True,
    }
    target = {"apiVersion": "serving.penstock.dev/v1alpha1", "kind": "InferenceService", "name": name}
    return objects.create(
        {
            "apiVersion": AUTOSCALER.api_version,
            "kind": AUTOSCALER.name,
            "metadata": {
                "name": keda_autoscaler(name),
                "namespace": objects.namespace,
                "labels": scaled["labels"],
                "annotations": scaled["annotations"],
                "ownerReferences": [owner],
                # Nobody but the test ends it.
                "finalizers": ["penstock.dev/test"],
            },
            "spec": {"scaleTargetRef": target, "maxReplicas": 4},
        }
    )


def let_go(objects: Objects, name: str) -> None:
    objects.patch(AUTOSCALER, keda_autoscaler(name), {"metadata": {"finalizers": None}})


def test_a_scaled_object_is_made_kept_and_taken_away(objects: Objects, name: str) -> None:
    serve(objects, name, KEDA)
    eventually(lambda: scaled_by(objects, name, f"ScaledObject/{name}"))
    spec = objects.get(SCALED_OBJECT, name)["spec"]
    assert spec["scaleTargetRef"]["kind"] == "InferenceService"
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, 4)
    assert [(each["type"], each["metadata"]["threshold"]) for each in spec["triggers"]] == [("prometheus", "5")]
    objects.patch(SCALED_OBJECT, name, {"spec": {"maxReplicaCount": 99}})
    eventually(lambda: _has_most(objects, name, 4))
    objects.edit(name, predictor={"maxReplicas": None})
    eventually(lambda: scaled_by(objects, name))
    assert_condition(objects.service(name), "Stalled", "False")


def _has_most(objects: Objects, name: str, expected: int) -> None:
    assert objects.get(SCALED_OBJECT, name)["spec"]["maxReplicaCount"] == expected


def test_both_ways_the_old_one_is_gone_with_all_it_made_before_the_new_one_comes(
    objects: Objects, name: str, scalers: Scalers
) -> None:
    ours, kedas, made = f"{AUTOSCALER}/{name}", f"{SCALED_OBJECT}/{name}", f"{AUTOSCALER}/{keda_autoscaler(name)}"
    serve(objects, name, {"provider": "Auto"})
    eventually(lambda: scaled_by(objects, name, ours))
    replicas = objects.service(name)["spec"]["replicas"]
    objects.edit(name, autoscaling=KEDA)
    eventually(lambda: scaled_by(objects, name, kedas))
    made_by_keda(objects, name)
    objects.edit(name, autoscaling={"provider": "Auto", "keda": None})
    eventually(lambda: scaled_by(objects, name, made))
    throughout(lambda: scaled_by(objects, name, made), seconds=2.5)
    told = condition(objects.service(name), "AutoscalingActive")
    assert (told["status"], told["reason"]) == ("Unknown", "AutoscalerChanging")
    assert keda_autoscaler(name) in told["message"]
    let_go(objects, name)
    eventually(lambda: scaled_by(objects, name, ours))
    scalers.stop()
    # KEDA's own autoscaler belongs to its ScaledObject, and may be there with it.
    assert [each for each in scalers.sets if ours in each and each != {ours}] == []
    assert objects.service(name)["spec"]["replicas"] == replicas


def test_nobody_is_set_on_a_service_that_others_scale(objects: Objects, name: str) -> None:
    serve(objects, name, {"provider": "None"})
    eventually(lambda: assert_condition(objects.service(name), "AutoscalingActive", "Unknown", "ScaledByOthers"))
    scaled_by(objects, name)
    assert objects.service(name)["spec"]["replicas"] == 1


def test_a_vertical_autoscaler_is_made_kept_and_taken_away(objects: Objects, name: str) -> None:
    serve(objects, name, {"vertical": {"mode": "Initial", "maxAllowed": {"memory": "4Gi"}}})
    found = eventually(lambda: objects.get(VERTICAL_AUTOSCALER, name))
    assert found["spec"]["targetRef"]["kind"] == "InferenceService"
    assert found["spec"]["updatePolicy"] == {"updateMode": "Initial"}
    serving_container, others = found["spec"]["resourcePolicy"]["containerPolicies"]
    assert serving_container == {"containerName": "model", "maxAllowed": {"memory": "4Gi"}}
    assert others == {"containerName": "*", "mode": "Off"}
    objects.patch(VERTICAL_AUTOSCALER, name, {"spec": {"updatePolicy": {"updateMode": "Off"}}})
    eventually(lambda: _has_mode(objects, name, "Initial"))
    objects.edit(name, autoscaling={"vertical": None})
    eventually(lambda: _is_gone(objects, name))
    eventually(lambda: scaled_by(objects, name, f"{AUTOSCALER}/{name}"))


def _has_mode(objects: Objects, name: str, mode: str) -> None:
    assert objects.get(VERTICAL_AUTOSCALER, name)["spec"]["updatePolicy"]["updateMode"] == mode


def _is_gone(objects: Objects, name: str) -> None:
    assert name not in {each["metadata"]["name"] for each in objects.all(VERTICAL_AUTOSCALER)}


@pytest.mark.parametrize(
    ("autoscaling", "predictor", "words"),
    [
        ({"provider": "Auto", "keda": {}}, {}, "keda belongs to provider KEDA"),
        ({"provider": "KEDA", "metrics": [{"object": {"metric": {"name": "m"}}}]}, {}, "need provider Auto"),
        (
            {"vertical": {"mode": "Recreate"}},
            {"scaleMetric": "cpu", "model": {"resources": {"requests": {"cpu": 1}}}},
            "two autoscalers would fight",
        ),
        (
            {"vertical": {"mode": "Initial"}, "metrics": [{"resource": "memory", "target": 80}]},
            {},
            "two autoscalers would fight",
        ),
        ({"keda": {"serverAddress": "prometheus:9090"}, "provider": "KEDA"}, {}, "serverAddress"),
    ],
    ids=["keda without KEDA", "an object's metric", "two for cpu", "two for memory", "an address without a scheme"],
)
def test_what_cannot_be_carried_out_is_refused(
    objects: Objects, name: str, autoscaling: dict[str, Any], predictor: dict[str, Any], words: str
) -> None:
    objects.serve(name, **SCALED)
    with pytest.raises(Refused, match=words):
        objects.edit(name, autoscaling=autoscaling, predictor=predictor)


def test_a_recommendation_beside_scaling_on_cpu_is_no_fight(objects: Objects, name: str) -> None:
    requested = {"resources": {"requests": {"cpu": "100m"}}}
    objects.serve(name, **SCALED, scaleMetric="cpu", model=requested, autoscaling={"vertical": {"mode": "Off"}})
    eventually(lambda: objects.get(VERTICAL_AUTOSCALER, name))


def test_a_service_without_a_prometheus_says_where_to_name_one(objects: Objects, name: str) -> None:
    serve(objects, name, {"provider": "Auto"})
    objects.edit(name, autoscaling={"provider": "KEDA"})
    told = eventually(lambda: assert_condition(objects.service(name), "Stalled", "True", "InvalidSpec"))["message"]
    assert told.startswith("spec.autoscaling.keda.serverAddress: ")
    assert "--prometheus-address" in told
    scaled_by(objects, name, f"{AUTOSCALER}/{name}")


MISSING = {
    "KEDAMissing": ("scaledobjects.keda.sh", KEDA),
    "VPAMissing": ("verticalpodautoscalers.autoscaling.k8s.io", {"vertical": {}}),
}


@pytest.mark.parametrize("reason", MISSING)
def test_a_cluster_without_the_kind_says_so_and_goes_on_once_it_has_it(
    control_plane: Cluster, objects: Objects, name: str, reason: str
) -> None:
    crd, autoscaling = MISSING[reason]
    serve(objects, name, {"provider": "Auto"})
    control_plane.kubectl("delete", "crd", crd)
    try:
        objects.edit(name, autoscaling=autoscaling)
        eventually(lambda: assert_condition(objects.service(name), "Stalled", "True", reason))
        assert_condition(objects.service(name), "Ready", "True")
        # Better the autoscaler that there is than none.
        assert objects.get(AUTOSCALER, name)
    finally:
        autoscalers.install_keda_crds(control_plane)
        autoscalers.install_vpa_crds(control_plane)
    # A kind that is not there is looked for every 20 seconds.
    eventually(lambda: assert_condition(objects.service(name), "Stalled", "False"), within=40)
