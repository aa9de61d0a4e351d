"""What wakes a service, how often the operator is asked, and what must not wake it."""

import asyncio
from datetime import datetime
from typing import Any

import pytest
from penstock import errors, names
from penstock.router import wake

from tests.router_world import LATER, World, a_pod, asleep, conflict, hello, until


async def test_a_request_asks_for_waking_and_is_answered_by_the_first_pod_that_is_ready() -> None:
    async with asleep() as world, a_pod(hello) as port:
        asking = world.start()
        await world.holds(1)
        await until(lambda: len(world.cluster.asks) == 1)
        world.pod(port)
        answer = await asking
    assert (answer.status, answer.body) == (200, b"hello")
    (service, patch), *_ = world.cluster.asks
    assert service == "ml/chat"
    assert patch.keys() == {"metadata", "status"}
    assert patch["metadata"] == {"uid": "uid-chat"}
    assert patch["status"].keys() == {"wakeRequestedAt"}
    at = patch["status"]["wakeRequestedAt"]
    assert at.endswith("Z")
    assert datetime.fromisoformat(at).tzinfo is not None
    assert len(at) == len("2026-11-01T10:00:00.000000Z")


async def test_many_that_arrive_at_once_ask_once() -> None:
    async with asleep() as world, a_pod(hello) as port:
        asking = [world.start() for _ in range(20)]
        await world.holds(20)
        assert len(world.cluster.asks) == 1
        world.pod(port)
        await asyncio.gather(*asking)


async def test_one_that_is_forwarded_at_once_asks_all_the_same() -> None:
    """While the pods are to go, it is what keeps them."""
    async with asleep() as world, a_pod(hello) as port:
        world.service("Draining")
        world.pod(port)
        answer = await world.get()
        await until(lambda: len(world.cluster.asks) == 1)
    assert answer.status == 200
    assert names.COLD_START_HEADER not in answer.headers


async def test_nobody_asks_while_it_wakes_already() -> None:
    async with asleep() as world, a_pod(hello) as port:
        world.service("Waking")
        asking = world.start()
        await world.holds(1)
        world.pod(port)
        assert (await asking).status == 200
        assert world.cluster.asks == []


async def test_what_is_held_asks_again_with_another_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wake, "REPEAT_SECONDS", 0.1)
    async with asleep() as world, a_pod(hello) as port:
        asking = world.start()
        await until(lambda: len(world.cluster.asks) >= 2)
        world.pod(port)
        await asking
    times = [patch["status"]["wakeRequestedAt"] for _, patch in world.cluster.asks]
    assert len(set(times)) == len(times)


@pytest.mark.parametrize(
    ("asked", "is_waking", "asks"),
    [(None, False, True), (0.9, False, False), (1.0, False, True), (None, True, False), (60.0, True, False)],
)
def test_an_arrival_asks_unless_it_was_done_just_now_or_has_come_about(
    asked: float | None, is_waking: bool, asks: bool
) -> None:
    ago = None if asked is None else 100 - asked
    assert wake.on_arrival(ago, 100, is_waking=is_waking) is asks


@pytest.mark.parametrize(
    ("asked", "is_waking", "has_pods", "asks"),
    [
        (None, False, False, True),
        (1.9, False, False, False),
        (2.0, False, False, True),
        (29.0, True, False, False),
        (30.0, True, False, True),
        (60.0, False, True, False),
    ],
)
def test_the_held_ask_every_two_seconds_and_every_thirty_once_it_wakes(
    asked: float | None, is_waking: bool, has_pods: bool, asks: bool
) -> None:
    ago = None if asked is None else 100 - asked
    assert wake.while_held(ago, 100, is_waking=is_waking, has_pods=has_pods) is asks


@pytest.mark.parametrize(
    "failure",
    [conflict(), errors.ApiError(500, "InternalError", "no"), errors.Unreachable("nobody")],
    ids=["conflict", "internal error", "unreachable"],
)
async def test_an_ask_that_fails_is_made_again_and_fails_no_request(failure: Exception) -> None:
    async with asleep() as world, a_pod(hello) as port:
        world.cluster.failures = [failure, failure]
        asking = world.start()
        await until(lambda: len(world.cluster.asks) == 1)
        world.pod(port)
        assert (await asking).status == 200
        assert world.metric("penstock_router_wakes_total", result="failed") == 2
        assert world.metric("penstock_router_wakes_total", result="done") == 1


async def test_an_ask_that_failed_is_made_again_although_the_request_was_forwarded() -> None:
    async with asleep() as world, a_pod(hello) as port:
        world.service("Redirecting")
        world.pod(port)
        world.cluster.failures = [conflict()]
        assert (await world.get()).status == 200
        await until(lambda: len(world.cluster.asks) == 1)


async def test_the_router_s_own_path_wakes_nothing_and_says_who_answers() -> None:
    async with asleep() as world:
        for path in (names.ROUTER_PATH, f"{names.ROUTER_PATH}?a=1"):
            answer = await world.get(path)
            assert (answer.status, answer.json) == (200, {"router": "router-0", "service": "ml/chat"})
            assert answer.headers[names.ROUTER_HEADER] == "router-0"
            assert answer.headers["Connection"] == "close"
        assert world.cluster.asks == []
        assert world.metric("penstock_router_requests_total", code="200") == 0


async def test_it_is_never_forwarded() -> None:
    async with asleep() as world, a_pod(hello) as port:
        world.pod(port)
        assert (await world.get(names.ROUTER_PATH)).headers[names.ROUTER_HEADER] == "router-0"


@pytest.mark.parametrize(
    ("changed", "reason", "field"),
    [
        ({"spec": {"suspend": True}}, "Suspended", "spec.suspend"),
        ({"spec": {"replicas": 0}}, "ScaledToZeroByUser", "spec.replicas"),
        ({"annotations": {"penstock.dev/paused": "true"}}, "PausedByUser", "penstock.dev/paused"),
    ],
)
async def test_what_the_user_put_to_sleep_is_not_woken(changed: dict[str, Any], reason: str, field: str) -> None:
    async with asleep() as world:
        world.service(**changed)
        answer = await world.get()
        assert (answer.status, answer.reason) == (503, reason)
        assert field in answer.error["message"]
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers[names.ROUTER_HEADER] == "router-0"
        assert world.cluster.asks == []


async def test_who_is_held_when_the_user_suspends_the_service_is_told() -> None:
    async with asleep() as world:
        asking = world.start()
        await world.holds(1)
        world.service(spec={"suspend": True})
        assert (await asking).reason == "Suspended"


async def test_a_pod_that_is_ready_still_answers_for_a_suspended_service() -> None:
    async with asleep() as world, a_pod(hello) as port:
        world.service("Awake", spec={"suspend": True})
        world.pod(port)
        assert (await world.get()).status == 200


def failing(reason: str, since: str = LATER) -> dict[str, Any]:
    return {"blockedBy": [{"reason": reason, "object": "Pod/chat-0", "message": "exit code 137", "since": since}]}


async def test_a_wake_that_fails_is_answered_with_the_cause_at_once() -> None:
    async with asleep() as world:
        asking = [world.start() for _ in range(3)]
        await world.holds(3)
        world.service("Waking")
        assert world.held == 3
        world.service("Waking", **failing("OOMKilled"))
        answers = await asyncio.gather(*asking)
        assert [(each.status, each.reason) for each in answers] == [(503, "OOMKilled")] * 3
        assert answers[0].error["message"] == "exit code 137"
        assert "Retry-After" in answers[0].headers
        # Who comes now need not wait either.
        assert (await world.get()).reason == "OOMKilled"
        assert world.metric("penstock_router_refused_total", reason="OOMKilled") == 4


async def test_a_failure_of_an_earlier_day_fails_nobody() -> None:
    async with asleep() as world, a_pod(hello) as port:
        world.service("Waking", **failing("OOMKilled", since="2026-10-01T00:00:00Z"))
        asking = world.start()
        await world.holds(1)
        world.pod(port)
        assert (await asking).status == 200


async def test_a_node_that_may_come_is_waited_for_until_the_time_is_over() -> None:
    async with asleep() as world:
        await _time_out(world, reason="InsufficientGPU", **failing("InsufficientGPU"))


async def test_without_a_cause_the_time_itself_is_the_reason() -> None:
    async with asleep() as world:
        await _time_out(world, reason="WakeTimeout")


async def _time_out(world: World, reason: str, **status: Any) -> None:
    world.service("Waking", sleep={"wakeTimeoutSeconds": 1}, **status)
    answer = await world.get()
    assert (answer.status, answer.reason) == (503, reason)
    assert "Retry-After" in answer.headers
    assert world.held == 0
