"""The smoke test: one request that every new pod must answer before the new revision takes over.

What is sent, what an answer means and what follows is decided here; `pods/client.py` asks the pods.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, Literal

from penstock.api.rollout import SmokeTest
from penstock.api.status import RolloutPhase, SmokeTestStatus
from penstock.api.v1alpha1 import InferenceService
from penstock.names import Reason
from penstock.rollout import rollback
from penstock.rollout.decision import Asks, Decision, Situation

Method = Literal["GET", "POST"]
# A step in which nothing moves: from the situation, its phase, and what it waits for.
Stay = Callable[[Situation, RolloutPhase, str], Decision]

_ATTEMPTS: Final = 3
_MOST_PASSED: Final = 1000  # pods that have to pass, at most: as many as the status has room for
_TEST_AGAIN_AFTER: Final = timedelta(seconds=5)
_LONGEST_QUOTE: Final = 200  # characters of what others wrote
_MODELS: Final = "/v1/models"
# What the model server answers for each task: the cheapest inference there is.
_OWN: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "text-generation": ("/v1/completions", {"prompt": "Hello", "max_tokens": 1}),
    "text-classification": ("/predict", {"text": "Hello"}),
    "embeddings": ("/v1/embeddings", {"input": "Hello"}),
}


@dataclass(frozen=True, slots=True)
class SmokeRequest:
    """One request to a pod, and the answer that passes."""

    method: Method
    port: int
    path: str
    body: bytes | None = None  # sent as JSON
    expect_status: int = 200
    expect_body_contains: str | None = None
    timeout_seconds: float = 30
    by_task: Mapping[str, "SmokeRequest"] = field(default_factory=dict)  # what to send next, by the task answered

    def __str__(self) -> str:
        return f"{self.method} {_short(self.path)}"


def tested(s: Situation, *, then: Callable[[Situation], Decision], stay: Stay) -> Decision:
    """On with `then` once every pod of the idle slot has passed; a test that fails three times in a row is the end."""
    untested = _untested(s)
    if not untested:
        return then(s)
    status = s.recorded.smoke_test
    heard = s.seen.answers.smoke if s.seen.answers is not None else {}
    results = {pod: text for pod, text in heard.items() if pod in untested}
    if results:
        status = record(status, results)
        s = s.remembering(smoke_test=status.model_copy(update={"last_attempt_at": s.now}))
        if has_failed(status):
            why = f"revision {s.current} failed its smoke test: {status.message}"
            return rollback.fail(s, Reason.SMOKE_TEST_FAILED, why)
        if not _untested(s):
            return then(s)
    because = f": {status.message}" if status is not None and status.failures else ""
    on = stay(s, "Testing", f"{len(untested)} pods still have to pass the smoke test{because}")
    last = s.recorded.smoke_test.last_attempt_at if s.recorded.smoke_test else None
    if s.is_halted or on.phase != "Testing":
        return on
    if last is not None and s.now < last + _TEST_AGAIN_AFTER:
        again = last + _TEST_AGAIN_AFTER
        return replace(on, requeue_at=min(on.requeue_at or again, again))
    return replace(on, asks=Asks(smoke=untested))


def _untested(s: Situation) -> frozenset[str]:
    """Pods of the new revision that have not passed; none where there is no test, or nobody to make it.

    Of more pods than the status has room for, the others rely on their readiness, as all later ones do.
    """
    if not s.seen.is_smoke_tested:
        return frozenset()
    passed = frozenset(s.recorded.smoke_test.passed) if s.recorded.smoke_test else frozenset()
    ready = frozenset(pod.name for pod in s.seen.ready(s.seen.idle) if pod.revision == s.current)
    return ready - passed if len(ready & passed) < _MOST_PASSED else frozenset()


def request(service: InferenceService, *, port: int) -> SmokeRequest | None:
    """The test that `spec.rollout.smokeTest` asks for; None if it is off, or if nothing is known to ask.

    Without a path, our own server is sent an inference by the name that clients use, on the route of the model's task.
    No route answers for every task: where the task is `auto`, the pod itself is asked for it first.
    """
    test, model = service.spec.rollout.smoke_test, service.spec.predictor.model
    if not test.enabled:
        return None
    if test.path is not None:
        return _sent(test, port, test.path, test.body)
    if model is None:
        return None
    own = {task: _own(test, port, task, service.served_model_name) for task in _OWN}
    if model.task != "auto":
        return own[model.task]
    return SmokeRequest("GET", port, _MODELS, timeout_seconds=test.timeout_seconds, by_task=own)


def failure(sent: SmokeRequest, status: int, body: bytes) -> str | None:
    """What is wrong with an answer, or None. `body` may be the beginning of it."""
    text = body.decode(errors="replace")
    if status != sent.expect_status:
        return f"{sent}: status {status} instead of {sent.expect_status}{_quoted(text)}"
    wanted = sent.expect_body_contains
    if wanted is not None and wanted not in text:
        return f"{sent}: the answer does not contain {_short(wanted)!r}{_quoted(text)}"
    if sent.by_task and _task(body) not in sent.by_task:
        return f"{sent}: names no task that there is a test for; set spec.rollout.smokeTest.path{_quoted(text)}"
    return None


def unanswered(sent: SmokeRequest, why: str) -> str:
    """The failure when there is no answer."""
    return f"{sent}: {_short(why)}"


def following(sent: SmokeRequest, body: bytes) -> SmokeRequest | None:
    """What to send after an answer that has passed; None when the test is over."""
    return sent.by_task[_task(body)] if sent.by_task else None


def record(before: SmokeTestStatus | None, results: Mapping[str, str | None]) -> SmokeTestStatus:
    """The status after one attempt: by pod, what was wrong, or None if it has passed."""
    was = before or SmokeTestStatus()
    if not results:
        return was  # Nobody was asked: that is no attempt.
    faults = [f"{pod}: {fault}" for pod, fault in sorted(results.items()) if fault is not None]
    # The latest come first: of more than there is room for, those of pods that are gone are to be forgotten.
    passed = {pod: None for pod in (*sorted(results), *was.passed) if results.get(pod) is None}
    return was.model_copy(
        update={
            "passed": sorted([*passed][:_MOST_PASSED]),
            "failures": was.failures + 1 if faults else 0,
            "message": faults[0] if faults else was.message,
        }
    )


def has_failed(status: SmokeTestStatus) -> bool:
    """Whether the revision is to be given up: one failed attempt may be an accident, three in a row are not."""
    return status.failures >= _ATTEMPTS


def _own(test: SmokeTest, port: int, task: str, model: str) -> SmokeRequest:
    path, asked = _OWN[task]
    return _sent(test, port, path, json.dumps({"model": model, **asked}) if test.body is None else test.body)


def _sent(test: SmokeTest, port: int, path: str, body: str | None) -> SmokeRequest:
    return SmokeRequest(
        method=test.method or ("GET" if body is None else "POST"),
        port=port,
        path=path,
        body=None if body is None else body.encode(),
        expect_status=test.expect_status,
        expect_body_contains=test.expect_body_contains,
        timeout_seconds=test.timeout_seconds,
    )


def _task(models: bytes) -> str:
    """The task of the one model in an answer to /v1/models, which names it once the model is loaded."""
    try:
        return str(json.loads(models)["data"][0]["task"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""


def _quoted(text: str) -> str:
    return f": {_short(text)}" if text.strip() else ""


def _short(text: str) -> str:
    """On one line, and no longer than a line of a status should be."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_QUOTE else f"{line[: _LONGEST_QUOTE - 1]}…"
