"""Canary with real pods under real traffic."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e import sharing, specs, switches
from tests.e2e.service import Isvc, eventually
from tests.e2e.traffic import Answer, Traffic

pytestmark = sharing.models

LOADED_WITHIN = 240.0
SHORT, LONG = "I love it.", "I love it, and I would buy it again. " * 8
# One request of five is a long one, which the damaged model answers with a 500.
SHORTS, LONGS = 8, 2
STEPS = [{"weight": 25, "pauseSeconds": 6}, {"weight": 50, "pauseSeconds": 6}]
ANALYSIS = {"intervalSeconds": 4, "durationSeconds": 6, "minRequests": 40}


def version(name: str, secret: str, uri: str = "s3://models/sentiment") -> dict[str, Any]:
    """Two pods; short answers need little time to drain."""
    options: dict[str, Any] = {"minReplicas": 2, "maxReplicas": 2, "terminationGracePeriodSeconds": 6}
    spec = specs.versioned(specs.model(uri, secret, **options), name)
    return {**spec, "rollout": {"strategy": "Canary", "canary": {"steps": STEPS}, "analysis": ANALYSIS}}


@contextmanager
def asked(service: Isvc) -> Iterator[list[Traffic]]:
    """Clients that make a new connection for each request: a kept one would stay with its pod."""
    url = f"{service.url()}/predict"
    with (
        Traffic(url, {"text": SHORT}, clients=0, fresh=SHORTS, pause_seconds=0.2) as short,
        Traffic(url, {"text": LONG}, clients=0, fresh=LONGS, pause_seconds=0.2) as long,
    ):
        yield [short, long]


def test_one_that_nobody_asks_waits_one_that_does_well_promotes_itself_and_one_that_errs_is_rolled_back(
    service: Callable[[str], Isvc], model_secret: str, damaged_model: str
) -> None:
    canary = service("canary")
    canary.apply(version("v1", model_secret))
    eventually(canary.is_rolled_out, canary, within=LOADED_WITHIN)
    canary.apply(version("v2", model_secret))
    eventually(lambda: "too few requests" in canary.rollout().get("message", ""), canary, within=LOADED_WITHIN)
    assert canary.rollout()["canary"]["step"] == 1
    assert canary.is_ready()
    with asked(canary) as clients:
        eventually(canary.is_rolled_out, canary, within=LOADED_WITHIN)
        stable = canary.rollout()["stableRevision"]
        assert [traffic.failures for traffic in clients] == [[], []]

        canary.apply(version("v3", model_secret, damaged_model))
        eventually(lambda: canary.rollout().get("sharedRevision") is not None, canary, within=LOADED_WITHIN)
        began = time.monotonic()
        canary.wait_for_phase("RolledBack", within=60)
        told, back = canary.rollout()["message"], time.monotonic()
        assert canary.condition("Stalled") == ("True", "AnalysisFailed")
        assert canary.rollout()["stableRevision"] == stable
        eventually(lambda: all(traffic.answers[-1].sent > back + 1 for traffic in clients), canary, within=10)
    answers = sorted((each for traffic in clients for each in traffic.answers), key=lambda each: each.sent)
    failed = [each for each in answers if each.failure is not None]
    during = [each for each in answers if began <= each.sent <= back]
    print(f"{told}; {len(failed)} of {len(during)} requests failed, for {failed[-1].sent - failed[0].sent:.1f} s")
    assert {str(each.failure)[:4] for each in failed} == {"500:"}
    assert failed[-1].sent < back
    # It never had more than the first step's pod, a third of them all, of whose requests one of five is a long one.
    planned = len(during) / 3 * LONGS / (SHORTS + LONGS)
    assert len(failed) < planned + 4 * planned**0.5


def test_the_requests_are_shared_as_the_pods_are_and_nobody_is_left_out_on_the_way_back(
    service: Callable[[str], Isvc], model_secret: str
) -> None:
    canary, uri = service("shared"), f"s3://models/{switches.PREFIX}"
    canary.apply(version("v1", model_secret, uri))
    eventually(canary.is_rolled_out, canary, within=LOADED_WITHIN)
    second = version("v2", model_secret, uri)
    second["rollout"]["canary"] = {"steps": [{"weight": 33, "pause": True}]}
    url = f"{canary.url()}/v1/embeddings"
    with Traffic(url, switches.BODY, clients=0, fresh=6, pause_seconds=0.05, version_of=switches.model) as traffic:
        canary.apply(second)
        canary.wait_for_phase("Waiting", within=LOADED_WITHIN)
        told, began = canary.rollout()["canary"]["share"], time.monotonic()
        eventually(lambda: len(_since(began, traffic)) > 1000, canary, within=120)
        answered_by = [each.version for each in _since(began, traffic)]
        canary.act("abort")
        canary.wait_for_phase("RolledBack", within=LOADED_WITHIN)
    share = 100 * answered_by.count("v2") / len(answered_by)
    print(f"{told}: {share:.1f} % of {len(answered_by)} requests were answered by it")
    assert told == "1 of 3 pods: 33 %"
    assert abs(share - 33.3) < 6  # The dice of iptables: 6 points are four standard deviations.
    assert traffic.failures == []


def _since(began: float, traffic: Traffic) -> list[Answer]:
    return [each for each in [*traffic.answers] if each.sent > began and each.failure is None]
