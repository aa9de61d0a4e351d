"""Who scales a service, one at a time: our HorizontalPodAutoscaler, KEDA's ScaledObject, or somebody else."""

from typing import Any

import pytest
from penstock import errors, names
from penstock.desired.installation import Installation
from penstock.kinds import AUTOSCALER, INFERENCE_SERVICE, SCALED_OBJECT, Kind, Manifest
from penstock.watch.store import ObjectId

from tests.fake_cluster import the_service
from tests.place import Place

PROMETHEUS = Installation("penstock-server:1", prometheus_address="http://prometheus:9090")
MADE_BY_KEDA = names.keda_autoscaler("chat")


async def served_by(provider: str, *, rests: bool = True, **autoscaling: Any) -> Place:
    """A service with room to scale, that settled with this provider where it rests."""
    place = Place(maxReplicas=4)
    place.reconcile._installation = PROMETHEUS
    choose(place, provider, **autoscaling)
    await place.look()
    if rests:
        place.roll_out()
        await place.settle()
    return place


def choose(place: Place, provider: str, **autoscaling: Any) -> None:
    spec = {**the_service(place.cluster)["spec"], "autoscaling": {"provider": provider, **autoscaling}}
    place.cluster.edit(INFERENCE_SERVICE, "chat", spec=spec)


def scalers(place: Place) -> list[tuple[str, str]]:
    kinds = (AUTOSCALER.name, SCALED_OBJECT.name)
    return [(identity.kind, identity.name) for identity in place.cluster.objects if identity.kind in kinds]


def make_as_keda_does(place: Place) -> Manifest:
    """KEDA puts the labels and annotations of the ScaledObject on the autoscaler that it makes."""
    scaled = place.child(SCALED_OBJECT.name)
    owner = {
        "apiVersion": SCALED_OBJECT.api_version,
        "kind": SCALED_OBJECT.name,
        "name": "chat",
        "uid": scaled["metadata"]["uid"],
        "controller": True,
    }
    metadata = {
        "name": MADE_BY_KEDA,
        "namespace": "ml",
        "labels": scaled["metadata"]["labels"],
        "annotations": scaled["metadata"]["annotations"],
        "ownerReferences": [owner],
    }
    external = {"metric": {"name": "s0-prometheus"}}
    spec = {
        "scaleTargetRef": scaled["spec"]["scaleTargetRef"],
        "metrics": [{"type": "External", "external": external}],
    }
    status = {
        "desiredReplicas": 3,
        "currentMetrics": [{"type": "External", "external": {**external, "current": {"averageValue": "150"}}}],
        "conditions": [{"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound", "message": ""}],
    }
    return place.cluster.put(AUTOSCALER, {"metadata": metadata, "spec": spec, "status": status})


def keep_on_deletion(place: Place, kind: Kind) -> None:
    """A finalizer that nobody takes off."""
    delete = place.cluster.delete

    async def pending(of: Kind, namespace: str, name: str, *, uid: str) -> None:
        if of is not kind:
            await delete(of, namespace, name, uid=uid)

    place.cluster.delete = pending  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize(
    ("provider", "expected"),
    [("Auto", [(AUTOSCALER.name, "chat")]), ("KEDA", [(SCALED_OBJECT.name, "chat")]), ("None", [])],
)
async def test_each_provider_has_its_one_object(provider: str, expected: list[tuple[str, str]]) -> None:
    assert scalers(await served_by(provider)) == expected


async def test_from_one_to_the_other_the_old_one_goes_first() -> None:
    place = await served_by("Auto")
    choose(place, "KEDA")
    await place.look()
    assert scalers(place) == []
    assert place.condition("AutoscalingActive") == ("Unknown", "AutoscalerChanging")
    assert place.condition("Stalled")[0] == "False"
    await place.look()
    assert scalers(place) == [(SCALED_OBJECT.name, "chat")]


async def test_what_keda_has_made_is_waited_for() -> None:
    place = await served_by("KEDA")
    make_as_keda_does(place)
    choose(place, "Auto")
    for _ in range(3):
        again = await place.look()
        assert scalers(place) == [(AUTOSCALER.name, MADE_BY_KEDA)]
    assert again is not None
    assert again.total_seconds() <= 1
    assert MADE_BY_KEDA in place.message("AutoscalingActive")
    place.cluster.remove(AUTOSCALER, MADE_BY_KEDA)
    await place.look()
    assert scalers(place) == [(AUTOSCALER.name, "chat")]
    assert place.condition("AutoscalingActive") == ("Unknown", "WaitingForAutoscaler")


async def test_a_scaled_object_that_keda_does_not_let_go_is_waited_for() -> None:
    place = await served_by("KEDA")
    keep_on_deletion(place, SCALED_OBJECT)
    choose(place, "Auto")
    for _ in range(3):
        await place.look()
        assert scalers(place) == [(SCALED_OBJECT.name, "chat")]
    assert place.condition("AutoscalingActive") == ("Unknown", "AutoscalerChanging")


async def test_another_operator_that_takes_over_between_the_two_waits_as_well() -> None:
    place = await served_by("KEDA")
    make_as_keda_does(place)
    choose(place, "Auto")
    await place.look()
    place.restart()
    place.reconcile._installation = PROMETHEUS
    await place.settle()
    assert scalers(place) == [(AUTOSCALER.name, MADE_BY_KEDA)]


async def test_none_takes_away_whichever_there_is_and_leaves_the_bounds() -> None:
    place = await served_by("KEDA")
    choose(place, "None")
    place.cluster.edit(INFERENCE_SERVICE, "chat", spec={**the_service(place.cluster)["spec"], "replicas": 99})
    await place.settle()
    assert scalers(place) == []
    assert place.child("Deployment", "chat-blue")["spec"]["replicas"] == 4
    assert place.condition("AutoscalingActive") == ("Unknown", "ScaledByOthers")


async def test_the_autoscaler_stays_while_the_cluster_has_no_keda() -> None:
    place = await served_by("Auto")
    place.cluster.not_served.add(SCALED_OBJECT.name)
    choose(place, "KEDA")
    await place.settle()
    assert scalers(place) == [(AUTOSCALER.name, "chat")]
    assert place.condition("Stalled") == ("True", "KEDAMissing")
    assert "install KEDA, or set provider to Auto" in place.message("Stalled")
    place.cluster.not_served.clear()
    await place.settle()
    assert scalers(place) == [(SCALED_OBJECT.name, "chat")]
    assert place.condition("Stalled")[0] == "False"


@pytest.mark.parametrize(
    ("kind", "reason", "autoscaling"),
    [
        ("ScaledObject", "KEDAMissing", {"provider": "KEDA"}),
        ("VerticalPodAutoscaler", "VPAMissing", {"vertical": {}, "provider": "Auto"}),
    ],
)
async def test_a_model_is_served_and_updated_without_what_is_not_installed(
    kind: str, reason: str, autoscaling: dict[str, Any]
) -> None:
    place = Place(maxReplicas=4, rollout={"strategy": "RollingUpdate"})
    place.reconcile._installation = PROMETHEUS
    place.cluster.not_served.add(kind)
    choose(place, **autoscaling)
    await place.look()
    place.roll_out()
    await place.settle()
    assert place.condition("Ready") == ("True", "Ready")
    assert place.condition("Stalled") == ("True", reason)
    before = place.template_revision
    place.edit(model={"storageUri": "s3://models/other"})
    await place.settle()
    assert place.template_revision != before


async def test_without_an_address_both_places_for_it_are_named() -> None:
    place = await served_by("Auto")
    place.reconcile._installation = Installation("penstock-server:1")
    choose(place, "KEDA")
    await place.settle()
    assert place.condition("Stalled") == ("True", "InvalidSpec")
    assert place.message("Stalled").startswith("spec.autoscaling.keda.serverAddress: ")
    assert "--prometheus-address" in place.message("Stalled")
    assert scalers(place) == [(AUTOSCALER.name, "chat")]


async def test_cpu_needs_no_prometheus() -> None:
    place = Place(model={"storageUri": "s3://models/smollm2", "resources": {"requests": {"cpu": 1}}}, maxReplicas=4)
    place.edit(scaleMetric="cpu")
    choose(place, "KEDA")
    await place.look()
    (trigger,) = place.child(SCALED_OBJECT.name)["spec"]["triggers"]
    assert trigger == {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}}


async def test_what_kedas_autoscaler_sees_is_told() -> None:
    place = await served_by("KEDA")
    make_as_keda_does(place)
    await place.look()
    told = place.status["autoscaling"]
    assert (told["metric"], told["current"], told["desired"]) == ("rps", "150", 3)
    assert place.condition("AutoscalingActive") == ("True", "Ready")


@pytest.mark.parametrize(
    ("ready", "expected"),
    [
        (("False", "ScaledObjectCheckFailed", "no such host"), ("False", "MetricMissing", "KEDA: no such host")),
        (("True", "ScaledObjectReady", "ready"), ("True", "Ready", "scaling on rps")),
        (
            ("Unknown", "", ""),
            ("Unknown", "WaitingForAutoscaler", "KEDA's ScaledObject has not been acted on yet"),
        ),
    ],
)
async def test_what_keda_says_is_told(ready: tuple[str, str, str], expected: tuple[str, str, str]) -> None:
    place = await served_by("KEDA")
    words = dict(zip(("status", "reason", "message"), ready, strict=True))
    place.cluster.edit(SCALED_OBJECT, "chat", status={"conditions": [{"type": "Ready", **words}]})
    await place.look()
    assert (*place.condition("AutoscalingActive"), place.message("AutoscalingActive")) == expected


async def test_a_second_pass_writes_nothing_and_asks_nothing() -> None:
    place = await served_by("KEDA", vertical={"mode": "Off"})
    make_as_keda_does(place)
    await place.settle()
    await place.look()
    assert place.cluster.calls == []


async def test_a_new_service_is_not_asked_about_an_old_autoscaler() -> None:
    place = await served_by("Auto", rests=False)
    assert [call for call in place.cluster.calls if call[0] == "get"] == []


async def test_a_failing_look_at_the_old_one_writes_no_new_one() -> None:
    place = await served_by("KEDA")
    choose(place, "Auto")
    await place.look()
    place.cluster.faults["get", SCALED_OBJECT.name] = errors.ApiError(500, "InternalError", "etcd is away")
    with pytest.raises(errors.ApiError):
        await place.look()
    assert ObjectId(AUTOSCALER.name, "ml", "chat") not in place.cluster.objects
