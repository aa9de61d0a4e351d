"""Why pods do not serve, in the words of those who know."""

from dataclasses import replace
from datetime import timedelta

import pytest
from penstock.capacity.room import Fit
from penstock.names import Reason, Slot
from penstock.observed.causes import Cause, causes, is_broken, most_telling, patience_ends, uncreated
from penstock.observed.values import Ended, Seen, SeenDeployment, SeenPod

from tests.builders import (
    T0,
    a_service,
    at,
    crash_looping,
    leaving,
    loading,
    out_of_memory,
    pending,
    ready_pod,
    rolled_out,
    seen,
    unready,
    waiting,
)

REPORT = '{"reason": "ModelDownloadFailed", "message": "s3://models/x: NoSuchBucket"}'


def found(*pods: SeenPod) -> list[Cause]:
    return causes(seen(None, *pods, deployment=rolled_out("v1", len(pods)), current="v1"), T0)


@pytest.mark.parametrize(
    ("pod", "reason", "message"),
    [
        pytest.param(
            waiting("ImagePullBackOff", "Back-off pulling image x"),
            Reason.IMAGE_PULL_FAILED,
            "Back-off pulling image x",
            id="an image that cannot be pulled",
        ),
        pytest.param(
            waiting("InvalidImageName"), Reason.IMAGE_PULL_FAILED, "InvalidImageName", id="a kubelet of few words"
        ),
        pytest.param(
            waiting("CreateContainerConfigError", 'secret "s3" not found'),
            Reason.CONTAINER_CONFIG_ERROR,
            'secret "s3" not found',
            id="a secret that is missing",
        ),
        pytest.param(crash_looping(exit_code=3), Reason.CRASH_LOOPING, "exit code 3", id="a silent crash"),
        pytest.param(
            crash_looping(message=" no such model\n"),
            Reason.CRASH_LOOPING,
            "exit code 1: no such model",
            id="a crash with last words",
        ),
        pytest.param(
            crash_looping(message=REPORT),
            Reason.MODEL_DOWNLOAD_FAILED,
            "s3://models/x: NoSuchBucket",
            id="our server's own report",
        ),
        pytest.param(
            crash_looping(message='{"reason": "NotEnoughDisk", "message": "needs 3 GB"}'),
            Reason.MODEL_DOWNLOAD_FAILED,
            "needs 3 GB",
            id="a full disk is a failed download",
        ),
        pytest.param(
            crash_looping(message='{"reason": "Ready", "message": "all is well"}'),
            Reason.CRASH_LOOPING,
            "exit code 1: all is well",
            id="a report with a reason that is not the server's to give",
        ),
        pytest.param(
            crash_looping(message='{"reason": ["x"]}'),
            Reason.CRASH_LOOPING,
            'exit code 1: {"reason": ["x"]}',
            id="a report of the wrong shape",
        ),
        pytest.param(
            out_of_memory(),
            Reason.OOM_KILLED,
            "the container used more memory than its limit (resources.limits.memory)",
            id="out of memory",
        ),
        pytest.param(
            unready(for_seconds=60),
            Reason.PROBE_FAILING,
            "running since 11:59:00 UTC, but its readiness probe does not pass",
            id="a server that never becomes ready",
        ),
        pytest.param(
            pending(message="0/2 nodes are available"),
            Reason.UNSCHEDULABLE,
            "0/2 nodes are available",
            id="no node for it",
        ),
    ],
)
def test_the_cause_of_a_pod_that_does_not_serve(pod: SeenPod, reason: Reason, message: str) -> None:
    (cause,) = found(pod)
    assert (cause.reason, cause.object, cause.message, cause.revision) == (reason, "Pod/chat-0", message, "v1")


@pytest.mark.parametrize(
    ("pod", "reason", "message"),
    [
        pytest.param(
            crash_looping(message=REPORT),
            Reason.CRASH_LOOPING,
            f"container istio-proxy: exit code 1: {REPORT}",
            id="it crashes, and what it says is no report of ours",
        ),
        pytest.param(
            waiting("ImagePullBackOff", "Back-off pulling image x"),
            Reason.IMAGE_PULL_FAILED,
            "container istio-proxy: Back-off pulling image x",
            id="its image cannot be pulled",
        ),
        pytest.param(
            out_of_memory(),
            Reason.OOM_KILLED,
            "container istio-proxy: the container used more memory than its own limit",
            id="out of memory",
        ),
    ],
)
def test_a_sidecar_that_keeps_a_pod_from_serving_is_named(pod: SeenPod, reason: Reason, message: str) -> None:
    (cause,) = found(replace(pod, container="istio-proxy"))
    assert (cause.reason, cause.object, cause.message) == (reason, "Pod/chat-0", message)
    assert cause.container == "istio-proxy"


def test_the_models_crash_and_a_sidecars_are_two_causes() -> None:
    both = found(crash_looping(), replace(crash_looping("chat-1"), container="istio-proxy"))
    assert [cause.container for cause in both] == ["", "istio-proxy"]


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(ready_pod(), id="it is ready"),
        pytest.param(ready_pod(ended=Ended("Error", 1, "", T0)), id="it crashed once and is ready again"),
        pytest.param(leaving(crash_looping()), id="it is leaving"),
        pytest.param(loading(running_since=T0 - timedelta(hours=1)), id="its model takes an hour to load"),
        pytest.param(unready(for_seconds=59), id="it has just started"),
        pytest.param(waiting("SomethingNew"), id="the kubelet waits for something it will tell when it fails"),
    ],
)
def test_a_pod_is_no_cause_for_concern_when(pod: SeenPod) -> None:
    assert found(pod) == []


def test_a_termination_message_made_to_break_a_parser_is_only_text() -> None:
    (cause,) = found(crash_looping(message="[" * 4096))
    assert cause.reason == Reason.CRASH_LOOPING


def test_of_a_long_message_the_end_is_kept() -> None:
    (cause,) = found(crash_looping(message="x" * 4000 + "ValueError: the cause"))
    assert len(cause.message) <= 1025
    assert cause.message.endswith("ValueError: the cause")


def test_each_reason_is_told_once_per_revision() -> None:
    told = found(crash_looping("a"), crash_looping("b"), crash_looping("c", "v0"), out_of_memory("d"))
    assert [(cause.reason, cause.revision, cause.object) for cause in told] == [
        (Reason.CRASH_LOOPING, "v1", "Pod/a"),
        (Reason.OOM_KILLED, "v1", "Pod/d"),
        (Reason.CRASH_LOOPING, "v0", "Pod/c"),
    ]


def test_a_crash_is_told_with_its_exit_code_and_time() -> None:
    (cause,) = found(crash_looping(exit_code=7))
    assert (cause.exit_code, cause.at) == (7, T0)


class TestInsufficientGpu:
    """The arithmetic is ours; the scheduler's words follow."""

    def about(self, short_of: str | None) -> Seen:
        fit = Fit({}, "needs 1 nvidia.com/gpu; 0 of 2 free on 1 matching node", short_of)
        return seen(None, pending(message="0/1 nodes"), deployment=rolled_out(), fit=fit)

    def test_the_message_has_the_arithmetic_and_the_schedulers_words(self) -> None:
        (cause,) = causes(self.about("nvidia.com/gpu"), T0)
        assert cause.reason == Reason.INSUFFICIENT_GPU
        assert cause.message == "needs 1 nvidia.com/gpu; 0 of 2 free on 1 matching node (0/1 nodes)"

    @pytest.mark.parametrize("short_of", ["cpu", None])
    def test_another_shortage_is_the_schedulers_to_explain(self, short_of: str | None) -> None:
        (cause,) = causes(self.about(short_of), T0)
        assert (cause.reason, cause.message) == (Reason.UNSCHEDULABLE, "0/1 nodes")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ('pods "x" is forbidden: exceeded quota: gpus', Reason.QUOTA_EXCEEDED),
        ("violates PodSecurity restricted", Reason.POD_CREATION_FAILED),
    ],
)
def test_pods_that_cannot_even_be_created(words: str, reason: Reason) -> None:
    deployment = SeenDeployment("v1", 1, creation_failure=words, name="chat-blue")
    assert causes(seen(deployment=deployment), T0) == [Cause(reason, "Deployment/chat-blue", words, "v1")]


@pytest.mark.parametrize(("failure", "missing"), [("exceeded quota: gpus", 2), (None, 0)])
def test_how_many_pods_of_a_revision_cannot_be_created(failure: str | None, missing: int) -> None:
    deployment = SeenDeployment("v2", 3, creation_failure=failure)
    old, new = ready_pod("old"), ready_pod("new", "v2")
    assert uncreated(seen(None, old, new, deployment=deployment), Slot.BLUE) == missing


def test_the_next_look_is_when_patience_ends() -> None:
    started = replace(unready("a"), running_since=T0 - timedelta(seconds=20))
    assert patience_ends(seen(a_service(), started, loading("b"), ready_pod("c")), T0) == T0 + timedelta(seconds=40)


def test_patience_with_a_pod_that_has_answered_begins_when_it_stops() -> None:
    missed = unready(for_seconds=1000, unready_since=T0)
    about = seen(a_service(), missed)
    assert causes(about, T0) == []
    assert patience_ends(about, T0) == at(60)
    assert [cause.reason for cause in causes(about, at(60))] == [Reason.PROBE_FAILING]


@pytest.mark.parametrize(
    ("pods", "after", "broken"),
    [
        pytest.param([crash_looping()], 0, True, id="a crash loop is broken at once"),
        pytest.param([crash_looping(), ready_pod("b")], 0, False, id="one that answers is enough"),
        pytest.param([crash_looping(), unready("b", unready_since=T0)], 59, False, id="a probe may be missed"),
        pytest.param([crash_looping(), unready("b", unready_since=T0)], 60, True, id="but not for long"),
        pytest.param([replace(crash_looping(), waiting=None, unready_since=T0)], 59, False, id="a first crash"),
        pytest.param([replace(pending(), unready_since=T0)], 59, False, id="a pod that has just lost its node"),
        pytest.param([replace(pending(), unready_since=T0)], 60, True, id="a pod that finds no node"),
        pytest.param([loading()], 10_000, False, id="a pod that is loading is on its way"),
        pytest.param([], 10_000, False, id="nothing is not broken"),
    ],
)
def test_a_slot_is_broken_for_a_cause_that_lasts(pods: list[SeenPod], after: float, broken: bool) -> None:
    assert is_broken(seen(None, *pods), Slot.BLUE, at(after)) is broken


def test_nobody_waits_for_a_pod_that_has_failed_already() -> None:
    assert patience_ends(seen(a_service(), unready(for_seconds=61)), T0) is None


def test_the_most_telling_cause_is_one_of_the_revision_in_question() -> None:
    old, new = Cause(Reason.OOM_KILLED, "a", "", "v1"), Cause(Reason.CRASH_LOOPING, "b", "", "v2")
    assert most_telling([old, new], "v2") is new
    assert most_telling([old, new], "v3") is old
    assert most_telling([], "v1") is None
