"""What the router reads of a service: above all, which cause belongs to the wake under way."""

from typing import Any

import pytest
from penstock.router.service import Service, read

from tests.router_world import BEFORE, LATER, SINCE


def service(
    state: str = "Waking",
    *,
    spec: dict[str, Any] | None = None,
    annotations: dict[str, str] | None = None,
    since: str | None = SINCE,
    **status: Any,
) -> Service:
    sleep = {"state": state, "port": 20001, **({"since": since} if since else {})}
    found = read(
        {
            "metadata": {"name": "chat", "namespace": "ml", "uid": "u", "annotations": annotations},
            "spec": spec if spec is not None else {"predictor": {}},
            "status": {"autoscaling": {"sleep": sleep}, **status},
        }
    )
    assert found is not None
    return found


def blocked(reason: str, since: str | None = LATER) -> dict[str, Any]:
    return {"reason": reason, "object": "Pod/chat-0", "message": f"it is {reason}", "since": since}


def test_a_service_without_a_port_is_none_of_the_router_s() -> None:
    assert read({"metadata": {"name": "a", "namespace": "b", "uid": "u"}, "spec": {}}) is None
    assert read({"metadata": {}, "spec": {}, "status": {"autoscaling": {"sleep": {"state": "Awake"}}}}) is None


def test_the_bounds_are_the_spec_s() -> None:
    spec = {
        "predictor": {"containerConcurrency": 8, "timeout": 30},
        "autoscaling": {"scaleToZero": {"wakeTimeoutSeconds": 7, "maxHeldRequests": 3}},
    }
    found = service(spec=spec, rollout={"activeSlot": "green"})
    assert (found.wake_timeout, found.max_held, found.concurrency, found.timeout) == (7, 3, 8, 30)
    assert found.active_slot == "green"


@pytest.mark.parametrize("limits", [None, {}, {"maxHeldRequests": "many"}], ids=["gone", "empty", "wrong"])
def test_a_spec_that_says_nothing_of_use_leaves_the_defaults(limits: Any) -> None:
    """The service may sleep still when its owner takes scaleToZero away: its requests must be answered."""
    found = service(spec={"autoscaling": {"scaleToZero": limits}})
    assert (found.wake_timeout, found.max_held, found.timeout) == (120, 1000, 300)


@pytest.mark.parametrize(
    ("concurrency", "routers", "share"), [(8, 2, 4), (5, 2, 2), (1, 2, 1), (0, 2, 256), (3, 1, 3), (1, 7, 1)]
)
def test_a_pod_s_concurrency_is_shared_by_the_routers(concurrency: int, routers: int, share: int) -> None:
    assert service(spec={"predictor": {"containerConcurrency": concurrency}}).share(routers) == share


@pytest.mark.parametrize(
    "reason",
    [
        "OOMKilled",
        "CrashLooping",
        "ModelLoadFailed",
        "ModelDownloadFailed",
        "ImagePullFailed",
        "ContainerConfigError",
        "PodCreationFailed",
        "QuotaExceeded",
    ],
)
def test_a_pod_s_own_failure_ends_the_wake(reason: str) -> None:
    failure = service(blockedBy=[blocked("Unschedulable"), blocked(reason)]).failure
    assert failure is not None
    assert (failure.status, failure.reason, failure.message) == (503, reason, f"it is {reason}")


@pytest.mark.parametrize("reason", ["InsufficientGPU", "Unschedulable", "ProbeFailing"])
def test_what_may_yet_come_right_is_waited_for(reason: str) -> None:
    found = service(blockedBy=[blocked(reason)])
    assert found.failure is None
    assert found.obstacle is not None
    assert found.obstacle.reason == reason


@pytest.mark.parametrize(("since", "counts"), [(BEFORE, False), (SINCE, True), (LATER, True), (None, False)])
def test_only_a_cause_of_this_wake_counts(since: str | None, counts: bool) -> None:
    found = service(blockedBy=[blocked("OOMKilled", since)])
    assert bool(found.failure) is counts
    assert bool(found.obstacle) is counts


@pytest.mark.parametrize("since", ["2026-11-01T10:00:00.750000Z", "2026-11-01T10:00:00Z"])
def test_a_fraction_of_a_second_makes_no_cause_older(since: str) -> None:
    assert service(since=since, blockedBy=[blocked("OOMKilled", SINCE)]).failure is not None


@pytest.mark.parametrize("state", ["Asleep", "Awake", "Redirecting", "Draining"])
def test_causes_are_of_no_interest_before_it_wakes(state: str) -> None:
    found = service(state, blockedBy=[blocked("OOMKilled")])
    assert (found.failure, found.obstacle) == (None, None)


def test_a_new_spec_that_is_refused_does_not_end_the_wake_of_the_old_one() -> None:
    stalled = {"type": "Stalled", "status": "True", "reason": "InvalidSpec", "lastTransitionTime": LATER}
    assert service(conditions=[stalled], blockedBy=[blocked("InvalidSpec")]).failure is None


@pytest.mark.parametrize(
    ("state", "spec", "annotations", "reason"),
    [
        ("Asleep", {"suspend": True}, {}, "Suspended"),
        ("Awake", {"suspend": True}, {}, "Suspended"),
        ("Asleep", {"replicas": 0}, {}, "ScaledToZeroByUser"),
        ("Asleep", {"replicas": 1}, {}, None),
        ("Asleep", {}, {"penstock.dev/paused": "true"}, "PausedByUser"),
        ("Waking", {}, {"penstock.dev/paused": "true"}, None),
        ("Asleep", {}, {}, None),
    ],
)
def test_what_the_user_wants_to_sleep_stays_asleep(
    state: str, spec: dict[str, Any], annotations: dict[str, str], reason: str | None
) -> None:
    refusal = service(state, spec=spec, annotations=annotations).refusal
    assert (refusal and refusal.reason) == reason
