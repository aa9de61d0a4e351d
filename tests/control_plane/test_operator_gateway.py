"""Behind a gateway: the route, its Services, and a canary whose share is the route's and not the pods'."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from penstock.kinds import HTTP_ROUTE, INFERENCE_SERVICE, SERVICE

from tests.control_plane.gateway import Gateway, accept, is_taken, shares
from tests.control_plane.objects import Manifest, Objects, assert_condition, blockers, image
from tests.control_plane.operator_process import Installation, Operator
from tests.control_plane.test_operator_blue_green import act, in_phase, leads_to, rollout, serving
from tests.control_plane.test_operator_canary import at_a_step, canary, sizes
from tests.control_plane.waiting import eventually, throughout
from tests.harness import gateway_api
from tests.harness.cluster import Cluster

pytestmark = pytest.mark.usefixtures("operator")

GATE = {"weight": 50, "pause": True}
BEHIND = {"gateway": {"parentRefs": [{"name": "public", "namespace": "gateways"}], "hostnames": ["chat.example.org"]}}


@pytest.fixture
def gateway(objects: Objects) -> Iterator[Gateway]:
    found = Gateway(objects).start()
    yield found
    found.stop()
    assert found.led_nowhere == []


def route(objects: Objects, name: str) -> Manifest:
    return objects.get(HTTP_ROUTE, name)


def shared(objects: Objects, name: str) -> dict[str, int]:
    """What the route gives to each Service, once a gateway has taken it."""
    found = route(objects, name)
    assert is_taken(found), found
    return shares(found)


def test_the_route_leads_to_the_service_and_each_slot_has_one_of_its_own(
    objects: Objects, name: str, gateway: Gateway
) -> None:
    objects.serve(name, networking=BEHIND, timeout=120)
    eventually(lambda: serving(objects, name, "1"))
    found = route(objects, name)
    assert found["spec"]["hostnames"] == ["chat.example.org"]
    assert [(ref["namespace"], ref["name"]) for ref in found["spec"]["parentRefs"]] == [("gateways", "public")]
    assert shares(found) == {name: 1}
    assert found["spec"]["rules"][0]["timeouts"] == {"request": "120s"}
    slots = {colour: objects.get(SERVICE, f"{name}-{colour}")["spec"]["selector"] for colour in ("blue", "green")}
    assert {colour: each["serving.penstock.dev/slot"] for colour, each in slots.items()} == {
        "blue": "blue",
        "green": "green",
    }


def test_without_the_field_all_of_it_goes(objects: Objects, name: str) -> None:
    objects.serve(name, networking=BEHIND)
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, networking=None)

    def gone() -> None:
        ours = f"serving.penstock.dev/inferenceservice={name}"
        assert objects.all(HTTP_ROUTE, ours) == []
        assert [each["metadata"]["name"] for each in objects.all(SERVICE, ours)] == [name]

    eventually(gone)
    eventually(lambda: serving(objects, name, "1"))


def test_a_route_that_somebody_changes_is_repaired(objects: Objects, name: str, gateway: Gateway) -> None:
    objects.serve(name, networking=BEHIND)
    eventually(lambda: serving(objects, name, "1"))
    objects.patch(HTTP_ROUTE, name, {"spec": {"hostnames": ["evil.example.org"]}})
    eventually(lambda: _has_hosts(objects, name, ["chat.example.org"]))
    objects.delete(HTTP_ROUTE, name)
    eventually(lambda: _has_hosts(objects, name, ["chat.example.org"]))


def test_what_somebody_adds_to_a_route_is_taken_out_again(objects: Objects, name: str, gateway: Gateway) -> None:
    objects.serve(name, networking={"gateway": {"parentRefs": [{"name": "public"}]}})
    eventually(lambda: serving(objects, name, "1"))
    (rule,) = route(objects, name)["spec"]["rules"]
    rewritten = {"type": "URLRewrite", "urlRewrite": {"hostname": "evil.example.org"}}
    astray = {**rule, "filters": [rewritten], "timeouts": {"request": "300s", "backendRequest": "1s"}}
    objects.patch(HTTP_ROUTE, name, {"spec": {"hostnames": ["evil.example.org"], "rules": [astray]}})

    def taken_out() -> None:
        found = route(objects, name)["spec"]
        assert (found.get("hostnames", []), found["rules"]) == ([], [rule])

    eventually(taken_out)


def _has_hosts(objects: Objects, name: str, hosts: list[str]) -> None:
    assert route(objects, name)["spec"]["hostnames"] == hosts


def test_a_route_that_the_gateway_refuses_is_told_and_pods_serve_on(objects: Objects, name: str) -> None:
    objects.serve(name, networking=BEHIND)
    eventually(lambda: serving(objects, name, "1"))
    accept(objects, route(objects, name), refusal="no listener allows namespace ml")

    def told() -> None:
        found = blockers(objects.service(name))
        assert found.get("RouteNotAccepted") == "NotAllowedByListeners: no listener allows namespace ml"

    eventually(told)
    assert_condition(objects.service(name), "Ready", "True")
    accept(objects, route(objects, name))

    def forgotten() -> None:
        assert blockers(objects.service(name)) == {}

    eventually(forgotten)


def test_a_canary_gets_its_exact_share_by_the_route_and_enough_pods_for_it(
    objects: Objects, name: str, gateway: Gateway
) -> None:
    steps = [{"weight": 5, "pause": True}, {"weight": 60, "pause": True}]
    objects.serve(name, networking=BEHIND, rollout=canary(*steps), minReplicas=3)
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: at_a_step(objects, name, step=1, share="5 % by the route, to 1 of 4 pods"))
    assert shared(objects, name) == {f"{name}-blue": 95, f"{name}-green": 5}
    assert sizes(objects, name) == {"1": 3, "2": 1}
    act(objects, name, "promote")
    eventually(lambda: at_a_step(objects, name, step=2, share="60 % by the route, to 2 of 4 pods"))
    assert shared(objects, name) == {f"{name}-blue": 40, f"{name}-green": 60}
    assert sizes(objects, name) == {"1": 2, "2": 2}
    act(objects, name, "promote")
    eventually(lambda: serving(objects, name, "2"))
    assert leads_to(objects, name) == "green"
    assert sizes(objects, name) == {"1": 0, "2": 3}
    eventually(lambda: _leads_to_all(objects, name))


def _leads_to_all(objects: Objects, name: str) -> None:
    assert shared(objects, name) == {name: 1}


def test_an_abort_takes_the_share_back_before_the_new_pods_go(objects: Objects, name: str, gateway: Gateway) -> None:
    objects.serve(name, networking=BEHIND, rollout=canary(GATE), minReplicas=4)
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: at_a_step(objects, name, step=1))
    gateway.is_slow = True
    act(objects, name, "abort")
    eventually(lambda: _asks_for(objects, name, {f"{name}-blue": 100, f"{name}-green": 0}))
    # What the gateway leads by is still the half: the last new pod stays for it.
    throughout(lambda: _has_new_pods(objects, name, 1), seconds=0.5)
    gateway.is_slow = False
    eventually(lambda: in_phase(objects, name, "RolledBack"))
    assert sizes(objects, name) == {"1": 4, "2": 0}
    eventually(lambda: _leads_to_all(objects, name))


def _asks_for(objects: Objects, name: str, expected: dict[str, int]) -> None:
    assert shares(route(objects, name)) == expected


def _has_new_pods(objects: Objects, name: str, least: int) -> None:
    assert sizes(objects, name)["2"] >= least


def test_a_step_begins_when_the_gateway_has_taken_its_share(objects: Objects, name: str, gateway: Gateway) -> None:
    objects.serve(name, networking=BEHIND, rollout=canary({"weight": 30, "pauseSeconds": 1}, GATE), minReplicas=2)
    eventually(lambda: serving(objects, name, "1"))
    gateway.is_slow = True
    objects.edit(name, predictor=image("2"))
    eventually(lambda: _waits_for(objects, name, "the gateway has not taken the route yet"))
    throughout(lambda: in_phase(objects, name, "Scaling"), seconds=1.5)
    gateway.is_slow = False
    eventually(lambda: at_a_step(objects, name, step=2))


def _waits_for(objects: Objects, name: str, what: str) -> dict[str, Any]:
    found = rollout(objects, name)
    assert what in found.get("message", ""), found
    return found


def test_the_weights_are_the_same_after_a_wiped_status(objects: Objects, name: str, gateway: Gateway) -> None:
    objects.serve(name, networking=BEHIND, rollout=canary(GATE), minReplicas=2)
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: at_a_step(objects, name, step=1))
    objects.patch(INFERENCE_SERVICE, name, {"status": {"rollout": None, "components": None}}, subresource="status")
    eventually(lambda: at_a_step(objects, name, step=1))
    assert shared(objects, name) == {f"{name}-blue": 50, f"{name}-green": 50}
    act(objects, name, "promote")
    eventually(lambda: serving(objects, name, "2"))


def ab_test(**fields: Any) -> dict[str, Any]:
    """Fake pods count nothing, so that it lasts until a person ends it."""
    compared = {"header": {"name": "x-arm", "value": "b"}, "durationSeconds": 1}
    return {"strategy": "BlueGreen", "abTest": compared, "blueGreen": {"holdSeconds": 0}, **fields}


def marked(objects: Objects, name: str) -> dict[str, Any]:
    """The rule for marked requests, once a gateway has taken it. Raises AssertionError where there is none."""
    found = route(objects, name)
    assert is_taken(found), found
    assert len(found["spec"]["rules"]) == 2, found
    first: dict[str, Any] = found["spec"]["rules"][0]
    return first


def compares(objects: Objects, name: str) -> Manifest:
    """Raises AssertionError where no A/B test is under way."""
    found = in_phase(objects, name, "Waiting")
    assert found["message"].startswith("A/B test: "), found
    assert found["abTest"]["startedAt"]
    return found


def test_an_ab_test_leads_marked_requests_to_the_new_revision_until_somebody_promotes_it(
    objects: Objects, name: str, gateway: Gateway
) -> None:
    objects.serve(name, networking=BEHIND, rollout=ab_test(), minReplicas=2)
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: compares(objects, name))
    rule = marked(objects, name)
    assert rule["matches"][0]["headers"] == [{"type": "Exact", "name": "x-arm", "value": "b"}]
    assert [backend["name"] for backend in rule["backendRefs"]] == [f"{name}-green"]
    assert shared(objects, name) == {name: 1}
    assert leads_to(objects, name) == "blue"
    act(objects, name, "promote")
    eventually(lambda: serving(objects, name, "2"))
    eventually(lambda: _has_rules(objects, name, 1))


def _has_rules(objects: Objects, name: str, count: int) -> None:
    found = route(objects, name)
    assert is_taken(found)
    assert len(found["spec"]["rules"]) == count


def test_an_aborted_ab_test_keeps_its_pods_until_the_gateway_leads_nobody_there(
    objects: Objects, name: str, gateway: Gateway
) -> None:
    objects.serve(name, networking=BEHIND, rollout=ab_test())
    eventually(lambda: serving(objects, name, "1"))
    objects.edit(name, predictor=image("2"))
    eventually(lambda: compares(objects, name))
    gateway.is_slow = True
    act(objects, name, "abort")
    throughout(lambda: _has_new_pods(objects, name, 1), seconds=0.5)
    gateway.is_slow = False
    eventually(lambda: in_phase(objects, name, "RolledBack"))
    eventually(lambda: _has_sizes(objects, name, {"1": 1, "2": 0}))


def _has_sizes(objects: Objects, name: str, expected: dict[str, int]) -> None:
    assert sizes(objects, name) == expected


def test_a_wiped_status_and_a_new_operator_leave_the_arms_of_a_test_as_they_are(
    own_objects: Objects, own_installation: Installation, tmp_path: Path, name: str
) -> None:
    gateway = Gateway(own_objects).start()
    operator = Operator(own_installation, tmp_path).start().wait_until_leading()
    try:
        own_objects.serve(name, networking=BEHIND, rollout=ab_test())
        eventually(lambda: serving(own_objects, name, "1"))
        own_objects.edit(name, predictor=image("2"))
        eventually(lambda: compares(own_objects, name))
        before = route(own_objects, name)["metadata"]["generation"]
        wiped = {"status": {"rollout": None, "components": None}}
        own_objects.patch(INFERENCE_SERVICE, name, wiped, subresource="status")
        eventually(lambda: compares(own_objects, name))
        operator.kill()
        operator = Operator(own_installation, tmp_path).start().wait_until_leading()
        operator.settle()
        compares(own_objects, name)
        assert route(own_objects, name)["metadata"]["generation"] == before
    finally:
        gateway.stop()
        operator.stop()
    assert gateway.led_nowhere == []


def test_a_cluster_without_the_gateway_api_says_so_and_goes_on_once_it_has_it(
    control_plane: Cluster, objects: Objects, name: str
) -> None:
    objects.serve(name, networking=BEHIND)
    eventually(lambda: serving(objects, name, "1"))
    control_plane.kubectl("delete", "crd", f"{HTTP_ROUTE.plural}.gateway.networking.k8s.io")
    objects.annotate(name, restarted_at="later")

    def refused() -> None:
        told = assert_condition(objects.service(name), "Stalled", "True", "GatewayAPIMissing")["message"]
        assert told.startswith("spec.networking.gateway: this cluster does not serve gateway.networking.k8s.io/v1")

    try:
        eventually(refused)
        assert_condition(objects.service(name), "Ready", "True")
    finally:
        gateway_api.install_crds(control_plane)
    # A kind that is not there is looked for every 20 seconds.
    eventually(lambda: _asks_for(objects, name, {name: 1}), within=40)
    eventually(lambda: serving(objects, name, "1"))
