"""What whoever installs Penstock decides for all services."""

from datetime import timedelta
from typing import Any

import pytest
from penstock.desired import pod, revision
from penstock.desired.installation import Installation, forbidden_routes
from penstock.kinds import INFERENCE_SERVICE

from tests.builders import a_service
from tests.fake_cluster import the_service
from tests.place import Place

SUFFIXES = ("models.example.com", "example.org")
BOUNDED = Installation("penstock-server:1", gateways=frozenset({"gateways/public"}), host_suffixes=SUFFIXES)
ITS_USER = {"runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001}


def gateway(*hosts: str, **parent: str) -> dict[str, Any]:
    return {"gateway": {"parentRefs": [{"name": "public", **parent}], "hostnames": list(hosts)}}


def behind(place: Place, networking: dict[str, Any]) -> None:
    spec = the_service(place.cluster)["spec"] | {"networking": networking}
    place.cluster.edit(INFERENCE_SERVICE, "chat", spec=spec)


ALLOWED = ["chat.models.example.com", "models.example.com", "*.models.example.com", "a.b.example.org"]
FORBIDDEN = ["bank.example.com", "mymodels.example.com", "*.example.com", "models.example.com.evil.net"]


@pytest.mark.parametrize(("hosts", "faults"), [(ALLOWED, 0), (FORBIDDEN, 4)], ids=["allowed", "forbidden"])
def test_a_host_has_to_be_one_of_the_domains_or_under_one(hosts: list[str], faults: int) -> None:
    place = Place()
    behind(place, gateway(*hosts, namespace="gateways"))
    place.cluster.deliver(place.store)
    service = next(found for key in place.store.services() if (found := place.store.service(key)))
    assert len(forbidden_routes(service, Installation("server:1", host_suffixes=SUFFIXES))) == faults
    assert forbidden_routes(service, Installation("server:1")) == []


REFUSED = {
    "a host of somebody else's": (
        gateway("bank.example.com", namespace="gateways"),
        "spec.networking.gateway.hostnames[0]: bank.example.com is not allowed here; name a host under one of ",
    ),
    "no host, which is every host of the listener": (
        gateway(namespace="gateways"),
        "spec.networking.gateway.hostnames: is required here; name a host under one of models.example.com, example.org",
    ),
    "a Gateway of the service's own namespace": (
        gateway("a.example.org"),
        "spec.networking.gateway.parentRefs[0]: the Gateway ml/public is not allowed here; name one of gateways/public",
    ),
}


@pytest.mark.parametrize(("networking", "message"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_route_that_is_not_allowed_is_a_condition_and_the_model_is_served_without_it(
    networking: dict[str, Any], message: str
) -> None:
    place = Place()
    place.reconcile._installation = BOUNDED
    behind(place, networking)
    await place.look()
    place.roll_out()
    await place.look()
    assert place.condition("Ready") == ("True", "Ready")
    assert place.condition("Stalled") == ("True", "RouteNotAllowed")
    (stalled,) = [each for each in place.status["conditions"] if each["type"] == "Stalled"]
    assert stalled["message"].startswith(message)
    assert "HTTPRoute" not in {identity.kind for identity in place.cluster.objects}


async def test_a_route_that_is_no_longer_allowed_is_taken_away_and_comes_back_with_the_permission() -> None:
    place = Place()
    behind(place, gateway("bank.example.com", namespace="gateways"))
    await place.look()
    place.roll_out()
    await place.look()
    assert place.child("HTTPRoute")
    place.reconcile._installation = BOUNDED
    await place.look()
    assert place.condition("Ready") == ("True", "Ready")
    assert place.condition("Stalled") == ("True", "RouteNotAllowed")
    assert "HTTPRoute" not in {identity.kind for identity in place.cluster.objects}
    place.reconcile._installation = Installation("penstock-server:1")
    await place.settle()
    assert place.child("HTTPRoute")
    assert place.condition("Stalled")[0] == "False"


async def test_a_route_that_is_not_allowed_stops_no_rollout_and_no_deadline() -> None:
    place = Place()
    behind(place, gateway("bank.example.com", namespace="gateways"))
    place.reconcile._installation = BOUNDED
    await place.look()
    place.roll_out()
    await place.settle()
    place.edit(model={"storageUri": "s3://models/broken"})
    await place.settle()
    assert place.condition("Stalled") == ("True", "RouteNotAllowed")
    assert "pausedAt" not in place.status["rollout"]
    place.now += timedelta(seconds=601)
    await place.settle()
    assert place.status["rollout"]["failedRevision"] == place.status["rollout"]["currentRevision"]


@pytest.mark.parametrize(
    ("security", "has_fixed_user", "wanted"),
    [
        (None, True, ITS_USER),
        (None, False, {}),
        ({"runAsUser": None, "runAsGroup": None, "fsGroup": None}, True, {}),
        ({"runAsUser": None}, True, {"runAsGroup": 10001, "fsGroup": 10001}),
        ({"runAsUser": 7}, False, {"runAsUser": 7}),
    ],
    ids=[
        "the server's own",
        "left to the cluster",
        "left to the cluster by one service",
        "in part",
        "the user's choice wins",
    ],
)
def test_the_user_of_a_model_pod_can_be_left_to_the_cluster(
    security: dict[str, Any] | None, has_fixed_user: bool, wanted: dict[str, int]
) -> None:
    """OpenShift's restricted-v2 admits no user but one of the namespace's own range, which it sets where none is."""
    service = a_service(securityContext=security or {})
    template = pod.template(service, "r", server_image="server:1", has_fixed_user=has_fixed_user)
    found = template["spec"]["securityContext"]
    assert {key: found[key] for key in ITS_USER if key in found} == wanted
    assert found["runAsNonRoot"] is True
    assert found["seccompProfile"] == {"type": "RuntimeDefault"}


def test_a_null_that_takes_a_setting_away_is_a_new_revision() -> None:
    assert revision.of(a_service(securityContext={"runAsUser": None})) != revision.of(a_service())
    assert revision.of(a_service(securityContext={})) == revision.of(a_service())
