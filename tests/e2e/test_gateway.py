"""Real pods behind a real Gateway: a canary by its exact share, and an A/B test whose clients stay with their arm."""

import time
from collections.abc import Callable
from typing import Any

from tests.e2e import sharing, specs, switches
from tests.e2e.service import Isvc, eventually
from tests.e2e.traffic import Answer, Traffic
from tests.harness.cluster import Cluster
from tests.harness.gateway import Gateway

pytestmark = sharing.models

LOADED_WITHIN = 240.0
POINTS = 2.0
ENOUGH = 1000
SAMPLES = 200
MARK = {"x-arm": "b"}
# The damaged model answers a text as long as this one with a 500.
LONG = "I love it, and I would buy it again. " * 8


def host(service: Isvc) -> str:
    return f"{service.name}.{service.namespace}.example.org"


def behind(gateway: Gateway, service: Isvc, spec: dict[str, Any], name: str, **rollout: Any) -> dict[str, Any]:
    """The spec of a version of the model, for requests that come through the gateway."""
    parent = {"name": gateway.name, "namespace": gateway.namespace}
    networking = {"gateway": {"parentRefs": [parent], "hostnames": [host(service)]}}
    return {**specs.versioned(spec, name), "networking": networking, "rollout": rollout}


def is_marked(service: Isvc, traffic: Traffic) -> bool:
    """The last answer came from a pod: before the gateway has the route, it is a 404."""
    return bool(traffic.answers) and not str(traffic.answers[-1].failure).startswith("404")


def since(began: float, traffic: Traffic) -> list[Answer]:
    return [each for each in [*traffic.answers] if each.sent > began]


def share(service: Isvc, traffic: Traffic, version: str) -> float:
    """Percent of the next thousand requests that this version answers."""
    began = time.monotonic()
    eventually(lambda: len(since(began, traffic)) >= ENOUGH, service, within=120)
    answered_by = [each.version for each in since(began, traffic)]
    found = 100 * answered_by.count(version) / len(answered_by)
    print(f"{service.rollout()['canary']['share']}: {found:.1f} % of {len(answered_by)} requests")
    return found


def at_step(service: Isvc, step: int) -> Callable[[], bool]:
    def check() -> bool:
        found = service.rollout()
        return found.get("phase") == "Waiting" and found["canary"]["step"] == step

    return check


def test_a_canary_gets_its_exact_share_and_no_request_is_lost_on_the_way_there_and_back(
    service: Callable[[str], Isvc], gateway: Gateway, model_secret: str
) -> None:
    canary, uri = service("weighed"), f"s3://models/{switches.PREFIX}"
    steps = [{"weight": 20, "pause": True}, {"weight": 60, "pause": True}]

    def version(name: str) -> dict[str, Any]:
        model = specs.model(uri, model_secret, minReplicas=2, maxReplicas=2, terminationGracePeriodSeconds=6)
        return behind(gateway, canary, model, name, strategy="Canary", canary={"steps": steps})

    canary.apply(version("v1"))
    eventually(canary.is_rolled_out, canary, within=LOADED_WITHIN)
    url, headers = f"{gateway.url}/v1/embeddings", {"Host": host(canary)}
    with Traffic(
        url, switches.BODY, clients=3, fresh=3, pause_seconds=0.02, version_of=switches.model, headers=headers
    ) as traffic:
        eventually(lambda: is_marked(canary, traffic), canary, within=30)
        began = time.monotonic()
        canary.apply(version("v2"))
        eventually(at_step(canary, 1), canary, within=LOADED_WITHIN)
        assert abs(share(canary, traffic, "v2") - 20) < POINTS
        canary.act("abort")
        canary.wait_for_phase("RolledBack", within=LOADED_WITHIN)
        canary.act("retry")
        eventually(at_step(canary, 1), canary, within=LOADED_WITHIN)
        canary.act("promote")
        eventually(at_step(canary, 2), canary, within=LOADED_WITHIN)
        assert abs(share(canary, traffic, "v2") - 60) < POINTS
        canary.act("promote")
        eventually(canary.is_rolled_out, canary, within=LOADED_WITHIN)
        over = time.monotonic()
        eventually(lambda: len(since(over, traffic)) >= 50, canary, within=30)
        assert {each.version for each in since(over, traffic)} == {"v2"}
    assert [each.failure for each in since(began, traffic) if each.failure] == []


def test_the_arms_of_an_ab_test_keep_their_clients_over_a_new_operator_and_the_better_one_takes_over(
    cluster: Cluster, service: Callable[[str], Isvc], gateway: Gateway, model_secret: str, damaged_model: str
) -> None:
    compared = service("compared")
    test = {"header": {"name": "x-arm", "value": MARK["x-arm"]}, "durationSeconds": 10, "minSamplesPerArm": SAMPLES}

    def version(name: str, uri: str) -> dict[str, Any]:
        model = specs.model(uri, model_secret, terminationGracePeriodSeconds=6)
        return behind(gateway, compared, model, name, **specs.blue_green(hold=2), abTest=test)

    compared.apply(version("v1", damaged_model))
    eventually(compared.is_rolled_out, compared, within=LOADED_WITHIN)
    url, ours = f"{gateway.url}/predict", {"Host": host(compared)}
    with (
        Traffic(url, {"text": LONG}, clients=2, fresh=2, pause_seconds=0.02, headers=ours) as unmarked,
        Traffic(url, {"text": LONG}, clients=2, fresh=2, pause_seconds=0.02, headers=ours | MARK) as marked,
    ):
        eventually(lambda: is_marked(compared, marked), compared, within=30)
        compared.apply(version("v2", "s3://models/sentiment"))
        eventually(lambda: "abTest" in compared.rollout(), compared, within=LOADED_WITHIN)
        # The test has begun once the gateway has the route too, a moment after the API server has it.
        announced = time.monotonic()
        eventually(lambda: any(each.failure is None for each in since(announced, marked)), compared, within=30)
        began = time.monotonic()
        restart = ("--namespace=penstock-system", "rollout")
        cluster.kubectl(*restart, "restart", "deployment/penstock")
        cluster.kubectl(*restart, "status", "deployment/penstock", "--timeout=120s")
        eventually(compared.is_rolled_out, compared, within=180)
        over = time.monotonic()
        eventually(lambda: len(since(over, unmarked)) >= 50, compared, within=30)
    # Every text is long: the damaged model of arm A answers none of them, and arm B's answers all.
    switched = next(each.sent for each in since(began, unmarked) if each.failure is None)
    assert len([each for each in since(began, marked) if each.sent < switched]) >= SAMPLES
    assert [each.failure for each in since(began, marked) if each.failure] == []
    assert [each.failure for each in since(over, unmarked) if each.failure] == []
    told = compared.rollout()["abTest"]
    print(f"{len(since(began, marked))} marked requests; {told['result']['message']}")
    assert (told["result"]["winner"], told["result"]["effect"]) == ("B", -100)
