"""BlueGreen and Auto with real pods under real traffic: what clients notice, and how soon the way back is taken."""

import contextlib
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from bench.timing import spread
from tests.e2e import sharing, specs, switches
from tests.e2e.service import Isvc, eventually
from tests.e2e.traffic import Traffic
from tests.harness.release import Penstock

LOADED_WITHIN = 240.0
STREAM_SECONDS = 10.0


@sharing.models
def test_three_switches_and_a_rollback_fail_no_request_and_cut_no_stream(
    service: Callable[[str], Isvc], model_secret: str
) -> None:
    with switches.under_load(service("switched"), model_secret, stream_seconds=STREAM_SECONDS) as model:
        model.switch("v2")
        model.go_back()
        for version in ("v3", "v4"):
            model.switch(version)
            model.keep()
    answers = model.traffic.answers
    print(f"{model.traffic.answered} answered by {sorted({each.version for each in answers})}")
    for move in model.moves:
        told = {name: spread(move.seconds(answers, window)) for name, window in switches.WINDOWS.items()}
        kept = move.last_kept(answers)
        print(f"{move.verb} from {move.source}: {told}; stream {move.stream.seconds:.1f} s")
        print(f"  done after {move.moved - move.began:.2f} s; last new connection {move.last_fresh(answers):.2f} s")
        if kept is not None:
            print(f"  last kept connection {kept:.2f} s after the end of the hold")
    assert model.traffic.failures == []
    assert [move.stream.failure for move in model.moves] == [None] * 4
    # Each stream was open at its move, and answered by the version that it had begun on.
    assert [move.stream.version for move in model.moves] == ["v1", "v2", "v1", "v3"]
    assert all(move.stream.opened < move.began < move.moved < move.stream.ended for move in model.moves)


@sharing.models
def test_a_text_that_is_being_written_at_the_switch_is_written_to_its_end(
    service: Callable[[str], Isvc], model_secret: str
) -> None:
    def chat(version: str) -> dict[str, Any]:
        spec = specs.versioned(specs.model("s3://models/smollm2-135m-instruct", model_secret), version)
        spec["predictor"]["timeout"] = 120
        return {**spec, "rollout": specs.blue_green(hold=0, autoPromote=False)}

    def counting(tokens: int) -> dict[str, Any]:
        return {"prompt": "1, 2, 3, 4, 5, 6, 7, 8,", "max_tokens": tokens, "temperature": 0, "stream": True}

    writer = service("writer")
    writer.apply(chat("v1"))
    eventually(writer.is_rolled_out, writer, within=LOADED_WITHIN)
    writer.apply(chat("v2"))
    writer.wait_for_phase("Waiting", within=LOADED_WITHIN)
    # The engine writes one text at a time: there is no other traffic, which would only wait for this one.
    with Traffic(f"{writer.url()}/v1/completions", {}, clients=0) as traffic:
        trial = traffic.download(counting(40))
        trial.wait_until_over()
        stream = traffic.download(counting(round(STREAM_SECONDS * trial.pieces / trial.seconds)))
        writer.act("promote")
        writer.wait_for_phase("Stable", within=60)
        assert stream.is_open
    print(f"{stream.pieces} tokens of {stream.version} in {stream.seconds:.1f} s")
    assert (stream.failure, stream.version) == (None, "v1")


def test_a_revision_that_crashes_after_the_switch_gives_the_traffic_back(
    service: Callable[[str], Isvc], penstock: Penstock
) -> None:
    web = service("crashing")
    rollout = specs.blue_green(hold=3600)
    web.apply({**specs.own_server(penstock.operator_image, version="1"), "rollout": rollout})
    eventually(web.is_rolled_out, web, within=60)
    with Traffic(web.url(), {}, clients=0, fresh=4) as traffic:
        web.apply({**specs.own_server(penstock.operator_image, version="2"), "rollout": rollout})
        web.wait_for_phase("Holding", within=60)
        assert traffic.failures == []
        address = web.pod("2")["status"]["podIP"]
        crashed = time.monotonic()
        with contextlib.suppress(OSError):  # It answers by going down.
            urllib.request.urlopen(f"http://{address}:8080/crash", timeout=5)
        web.wait_for_phase("RolledBack", within=30)
        back = time.monotonic()
        eventually(lambda: traffic.answers[-1].sent > back + 1, web, within=10)
    failed = [each.sent - crashed for each in traffic.answers if each.failure is not None]
    mended = max((each.sent - crashed for each in traffic.answers if each.version != "1"), default=0.0)
    print(f"{len(failed)} of {len(traffic.answers)} requests failed; all are answered {mended:.2f} s after the crash")
    # Those that find nobody between the crash and the way back cannot be helped; after it there are none.
    assert mended < 5
    assert web.condition("Stalled") == ("True", "StoppedServing")


def test_a_revision_that_fails_its_smoke_test_never_gets_traffic(
    service: Callable[[str], Isvc], penstock: Penstock
) -> None:
    web = service("smoke")
    rollout = {**specs.blue_green(hold=0), "smokeTest": {"path": "/", "expectBodyContains": "works"}}
    web.apply({**specs.own_server(penstock.operator_image, version="works"), "rollout": rollout})
    eventually(web.is_rolled_out, web, within=60)
    with Traffic(web.url(), {}, clients=2, fresh=2) as traffic:
        web.apply({**specs.own_server(penstock.operator_image, version="fails"), "rollout": rollout})
        web.wait_for_phase("RolledBack", within=60)
        assert web.condition("Stalled") == ("True", "SmokeTestFailed")
        assert "does not contain 'works': fails" in web.rollout()["message"]
        assert web.is_ready()
    assert traffic.failures == []
    assert {each.version for each in traffic.answers} == {"works"}


@sharing.models
def test_a_model_that_does_well_by_its_own_counters_is_promoted_and_one_that_errs_or_refuses_goes_back(
    service: Callable[[str], Isvc], model_secret: str, damaged_model: str, short_model: str
) -> None:
    analysis = {"intervalSeconds": 2, "durationSeconds": 6, "minRequests": 5}

    def version(name: str, uri: str = "s3://models/sentiment") -> dict[str, Any]:
        # Short answers need little time to drain, and the next pods wait for the place of the last.
        spec = specs.versioned(specs.model(uri, model_secret, terminationGracePeriodSeconds=6), name)
        return {**spec, "rollout": {**specs.blue_green(hold=0), "analysis": analysis}}

    judged = service("judged")
    judged.apply(version("v1"))
    eventually(judged.is_rolled_out, judged, within=LOADED_WITHIN)
    text = "I love it, and I would buy it again. " * 8
    # On new connections: the kept ones would stay with the old pods until the hold is over.
    with Traffic(f"{judged.url()}/predict", {"text": text}, clients=0, fresh=2, pause_seconds=0.2) as traffic:
        judged.apply(version("v2"))
        eventually(lambda: _successes(judged) > 0, judged, within=LOADED_WITHIN)
        print(judged.rollout()["analysis"]["message"])
        judged.wait_for_phase("Stable", within=30)
        stable = judged.rollout()["stableRevision"]
        assert traffic.failures == []

        judged.apply(version("v3", damaged_model))
        judged.wait_for_phase("RolledBack", within=LOADED_WITHIN)
        assert judged.condition("Stalled") == ("True", "AnalysisFailed")
        assert judged.rollout()["stableRevision"] == stable
        _assert_back(judged, traffic, "500:")

        judged.apply(version("v4", short_model))
        judged.wait_for_phase("RolledBack", within=LOADED_WITHIN)
        assert "requests refused (4xx)" in judged.rollout()["message"]
        assert judged.rollout()["stableRevision"] == stable
        _assert_back(judged, traffic, "400:")


def _assert_back(judged: Isvc, traffic: Traffic, failure: str) -> None:
    """The last revision failed so, and no request since it was given up."""
    told, back = judged.rollout()["message"], time.monotonic()
    eventually(lambda: traffic.answers[-1].sent > back + 1, judged, within=10)
    failed = [each for each in [*traffic.answers] if str(each.failure).startswith(failure)]
    seconds = failed[-1].sent - failed[0].sent
    print(f"{told}; {len(failed)} of {len(traffic.answers)} requests failed, for {seconds:.1f} s")
    assert {str(each.failure)[:4] for each in traffic.answers if each.failure is not None} <= {"500:", "400:"}
    assert failed[-1].sent < back


def _successes(judged: Isvc) -> int:
    found: int = judged.rollout().get("analysis", {}).get("successes", 0)
    return found


def a_server(
    penstock: Penstock, *, version: str = "1", pods: int = 1, gpus: int = 1, strategy: str = "Auto"
) -> dict[str, Any]:
    """A server that is up in a second, and down in two."""
    spec = specs.own_server(
        penstock.operator_image,
        version=version,
        gpus=gpus,
        minReplicas=pods,
        maxReplicas=pods,
        terminationGracePeriodSeconds=2,
    )
    return {**spec, "rollout": {**specs.blue_green(hold=0), "strategy": strategy}}


@sharing.gpus
class TestAutoWithTwoGpus:
    @pytest.mark.parametrize(
        ("pods", "gpus", "plan"),
        [
            pytest.param(1, 1, "BlueGreen: 1 more pod fits, a second set needs 1", id="a second set fits"),
            pytest.param(
                2,
                1,
                "RollingUpdate: 0 of 2 nvidia.com/gpu free: one pod stops before its successor starts",
                id="none fits beside several",
            ),
            pytest.param(
                1,
                2,
                "Recreate: 0 of 2 nvidia.com/gpu free and 1 pod is all there is: it stops before its successor starts",
                id="none fits beside the only one",
            ),
        ],
    )
    def test_it_takes_the_safest_way_there_is_room_for_and_finishes(
        self, service: Callable[[str], Isvc], penstock: Penstock, pods: int, gpus: int, plan: str
    ) -> None:
        web = service("planned")
        web.apply(a_server(penstock, pods=pods, gpus=gpus))
        eventually(web.is_rolled_out, web, within=60)
        web.apply(a_server(penstock, version="2", pods=pods, gpus=gpus))
        took = eventually(lambda: runs(web, "2", pods), web, within=60)
        print(f"{web.rollout()['plan']} ({took:.1f} s)")
        assert web.rollout()["plan"] == plan

    def test_a_broken_first_revision_gives_its_gpus_to_the_fix(
        self, service: Callable[[str], Isvc], penstock: Penstock
    ) -> None:
        web = service("first")
        web.apply(a_server(penstock, version="exit", gpus=2))
        eventually(lambda: "CrashLooping" in web.blockers(), web, within=60)
        web.apply(a_server(penstock, version="2", gpus=2))
        took = eventually(lambda: runs(web, "2", 1), web, within=60)
        print(f"{web.rollout()['plan']} ({took:.1f} s)")
        assert web.rollout()["plan"].startswith("Recreate: no revision was ever rolled out")

    def test_one_more_pod_fits_where_a_neighbour_has_the_other_gpu(
        self, service: Callable[[str], Isvc], penstock: Penstock
    ) -> None:
        # Two pods with a GPU each leave no room for a third: so the old ones have none, and the second GPU comes late.
        neighbour, web = service("neighbour"), service("planned")
        neighbour.apply(a_server(penstock))
        web.apply(a_server(penstock, pods=2, gpus=0))
        eventually(lambda: neighbour.is_rolled_out() and web.is_rolled_out(), web, within=60)
        web.apply(a_server(penstock, version="2", pods=2))
        eventually(lambda: "InsufficientGPU" in web.blockers(), web, within=30)
        assert web.rollout()["plan"] == "RollingUpdate: 1 of 2 nvidia.com/gpu free, a second set needs 2"
        assert web.is_ready()
        neighbour.remove()
        eventually(lambda: runs(web, "2", 2), web, within=60)

    def test_a_gpu_that_is_taken_meanwhile_is_told_and_what_serves_is_left_alone(
        self, service: Callable[[str], Isvc], penstock: Penstock
    ) -> None:
        neighbour, web = service("neighbour"), service("planned")
        web.apply(a_server(penstock))
        eventually(web.is_rolled_out, web, within=60)
        (before,) = web.pods()
        with Traffic(web.url(), {}, clients=1, fresh=2) as traffic:
            # Paused, the service plans and does nothing: the neighbour is quicker.
            web.kubectl("annotate", "isvc", web.name, "penstock.dev/paused=true")
            web.apply(a_server(penstock, version="2"))
            plan = "BlueGreen: 1 more pod fits, a second set needs 1"
            eventually(lambda: web.rollout().get("plan") == plan, web, within=30)
            neighbour.apply(a_server(penstock))
            eventually(neighbour.is_rolled_out, neighbour, within=60)
            web.kubectl("annotate", "isvc", web.name, "penstock.dev/paused-")
            took = eventually(lambda: "InsufficientGPU" in web.blockers(), web, within=30)
            print(f"{web.blockers()['InsufficientGPU']} ({took:.1f} s)")
            assert "needs 1 nvidia.com/gpu; 0 of 2 free on 1 matching node" in web.blockers()["InsufficientGPU"]
            assert web.is_ready()
            assert before["metadata"]["uid"] in {pod["metadata"]["uid"] for pod in web.pods()}
            assert traffic.failures == []
        assert {each.version for each in traffic.answers} == {"1"}
        neighbour.remove()
        eventually(lambda: runs(web, "2", 1), web, within=60)


def runs(web: Isvc, version: str, pods: int) -> bool:
    """Rolled out, by so many pods of this version and no other."""
    variables = [pod["spec"]["containers"][0]["env"] for pod in web.pods()]
    return web.is_rolled_out() and variables == [[{"name": "VERSION", "value": version}]] * pods
