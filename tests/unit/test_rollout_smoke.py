"""What the smoke test sends, and what an answer means."""

import json
from typing import Any

import pytest
from penstock.api.status import SmokeTestStatus
from penstock.rollout import smoke
from penstock.rollout.smoke import SmokeRequest

from tests.builders import T0, a_service

PORT = 8080
CONTAINERS: list[dict[str, Any]] = [{"image": "echo:1"}]
PROMPT = {"model": "chat", "prompt": "Hello", "max_tokens": 1}


def requested(
    *, task: str = "text-generation", containers: list[dict[str, Any]] | None = None, **test: Any
) -> SmokeRequest | None:
    """The request of a small service whose `smokeTest` says this."""
    model = None if containers else {"task": task}
    service = a_service(model=model, containers=containers, rollout={"smokeTest": test})
    return smoke.request(service, port=PORT)


def the_request(**words: Any) -> SmokeRequest:
    found = requested(**words)
    assert found is not None
    return found


def body(sent: SmokeRequest) -> Any:
    return json.loads(sent.body or b"null")


def models(*, task: str | None) -> bytes:
    """The answer to /v1/models; a model that is not loaded names no task."""
    model = {"id": "chat", "object": "model", **({"task": task} if task else {})}
    return json.dumps({"object": "list", "data": [model]}).encode()


class TestRequest:
    @pytest.mark.parametrize(
        ("task", "path", "asked"),
        [
            ("text-generation", "/v1/completions", PROMPT),
            ("text-classification", "/predict", {"model": "chat", "text": "Hello"}),
            ("embeddings", "/v1/embeddings", {"model": "chat", "input": "Hello"}),
        ],
    )
    def test_our_own_server_is_sent_an_inference_of_its_task(self, task: str, path: str, asked: dict[str, Any]) -> None:
        sent = the_request(task=task)
        assert (sent.method, sent.port, sent.path, body(sent)) == ("POST", PORT, path, asked)
        assert (sent.expect_status, sent.expect_body_contains, sent.timeout_seconds) == (200, None, 30)

    def test_a_task_that_is_not_known_here_is_asked_of_the_pod_first(self) -> None:
        sent = the_request(task="auto")
        assert (sent.method, sent.path, sent.body) == ("GET", "/v1/models", None)
        known = {"text-generation", "text-classification", "embeddings"}
        assert sent.by_task == {task: the_request(task=task) for task in known}

    def test_the_model_is_asked_for_by_the_name_that_clients_use(self) -> None:
        service = a_service(model={"name": "org/smollm2", "task": "embeddings"})
        sent = smoke.request(service, port=PORT)
        assert sent is not None
        assert body(sent)["model"] == "org/smollm2"

    @pytest.mark.parametrize(
        "words",
        [
            pytest.param({"enabled": False}, id="it is off"),
            pytest.param({"enabled": False, "path": "/ping"}, id="it is off, and its path is kept for later"),
            pytest.param({"containers": CONTAINERS}, id="a custom container whose routes nobody told us"),
            pytest.param({"containers": CONTAINERS, "body": "{}"}, id="a body that nobody told us where to send"),
        ],
    )
    def test_there_is_no_test_if(self, words: dict[str, Any]) -> None:
        assert requested(**words) is None

    @pytest.mark.parametrize(
        ("words", "method", "path", "sent_body"),
        [
            pytest.param({"path": "/ping"}, "GET", "/ping", None, id="a path alone is fetched"),
            pytest.param({"path": "/ping", "body": "[1]"}, "POST", "/ping", b"[1]", id="a body is posted"),
            pytest.param({"path": "/ping", "body": ""}, "POST", "/ping", b"", id="so is an empty one"),
            pytest.param({"path": "/ping", "method": "POST"}, "POST", "/ping", None, id="a method is taken as it is"),
            pytest.param({"path": "/ping", "task": "auto"}, "GET", "/ping", None, id="with a path no task is needed"),
            pytest.param(
                {"path": "/ping", "containers": CONTAINERS},
                "GET",
                "/ping",
                None,
                id="a custom container has a path too",
            ),
            pytest.param({"body": "{}"}, "POST", "/v1/completions", b"{}", id="a body alone goes to the task's route"),
            pytest.param({"body": ""}, "POST", "/v1/completions", b"", id="even an empty one"),
        ],
    )
    def test_what_the_user_asks_for_is_sent(
        self, words: dict[str, Any], method: str, path: str, sent_body: bytes | None
    ) -> None:
        sent = the_request(**words)
        assert (sent.method, sent.path, sent.body, sent.by_task) == (method, path, sent_body, {})

    def test_what_the_user_expects_holds_for_the_inference_and_not_for_the_question_before_it(self) -> None:
        first = the_request(task="auto", expectStatus=201, expectBodyContains="yes", timeoutSeconds=5)
        then = first.by_task["embeddings"]
        assert (first.expect_status, first.expect_body_contains, first.timeout_seconds) == (200, None, 5)
        assert (then.expect_status, then.expect_body_contains, then.timeout_seconds) == (201, "yes", 5)


class TestAnswer:
    @pytest.mark.parametrize(
        ("words", "status", "answer", "fault"),
        [
            pytest.param({}, 200, b"", None, id="the expected status passes"),
            pytest.param({"expectStatus": 302}, 302, b"", None, id="which may be a redirect"),
            pytest.param({"expectBodyContains": "pong"}, 200, b"ping pong", None, id="with the expected text"),
            pytest.param({}, 503, b"", "GET /ping: status 503 instead of 200", id="another status fails"),
            pytest.param(
                {},
                500,
                b'{\n  "error": "no\tmemory"\n}',
                'GET /ping: status 500 instead of 200: { "error": "no memory" }',
                id="and the answer is quoted on one line",
            ),
            pytest.param(
                {"expectBodyContains": "pong"},
                200,
                b"ping",
                "GET /ping: the answer does not contain 'pong': ping",
                id="the right status without the text fails",
            ),
            pytest.param(
                {}, 404, b"\xff\xfe", "GET /ping: status 404 instead of 200: \ufffd\ufffd", id="bytes that are no text"
            ),
        ],
    )
    def test_an_answer_is_held_against_what_is_expected(
        self, words: dict[str, Any], status: int, answer: bytes, fault: str | None
    ) -> None:
        assert smoke.failure(the_request(path="/ping", **words), status, answer) == fault

    def test_a_long_answer_is_quoted_by_its_beginning(self) -> None:
        told = smoke.failure(the_request(path="/ping"), 500, b"x" * 60_000)
        assert told == f"GET /ping: status 500 instead of 200: {'x' * 199}…"

    def test_a_failure_is_short_whatever_the_user_and_the_pod_wrote(self) -> None:
        sent = the_request(path="/" + "p" * 1023, expectBodyContains="t" * 1024)
        assert all(
            len(told or "") < 1000
            for told in (
                smoke.failure(sent, 200, b"x" * 60_000),
                smoke.failure(sent, 500, b"x" * 60_000),
                smoke.unanswered(sent, "y" * 60_000),
            )
        )

    def test_no_answer_is_told_with_its_reason(self) -> None:
        assert smoke.unanswered(the_request(path="/ping"), "refused") == "GET /ping: refused"


class TestAuto:
    @pytest.mark.parametrize("task", ["text-generation", "text-classification", "embeddings"])
    def test_the_task_that_the_pod_names_is_tested_next(self, task: str) -> None:
        first = the_request(task="auto")
        assert smoke.failure(first, 200, models(task=task)) is None
        assert smoke.following(first, models(task=task)) == the_request(task=task)

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(models(task=None), id="a model that is not loaded"),
            pytest.param(models(task="divination"), id="a task that is unheard of"),
            pytest.param(b"", id="nothing"),
            pytest.param(b"<html>", id="no JSON"),
            pytest.param(b'{"data": []}', id="no model"),
            pytest.param(b'{"data": {"task": "embeddings"}}', id="no list of models"),
            pytest.param(b"[1]", id="a list"),
            pytest.param(b'{"data": [{"task": ["embeddings"]}]}', id="a list of tasks"),
            pytest.param(b"[" * 60_000, id="nested without end"),
        ],
    )
    def test_a_pod_that_names_no_task_we_know_fails(self, answer: bytes) -> None:
        told = smoke.failure(the_request(task="auto"), 200, answer)
        assert told is not None
        assert told.startswith("GET /v1/models: names no task that there is a test for")

    def test_nothing_follows_an_inference(self) -> None:
        assert smoke.following(the_request(task="embeddings"), b"{}") is None


class TestRecord:
    @pytest.mark.parametrize(
        ("before", "results", "after"),
        [
            pytest.param(None, {}, ([], 0, ""), id="nobody was asked"),
            pytest.param((["a"], 2, "a: no"), {}, (["a"], 2, "a: no"), id="nobody was asked this time"),
            pytest.param(None, {"b": None, "a": None}, (["a", "b"], 0, ""), id="the first ones pass"),
            pytest.param((["b"], 0, ""), {"a": None}, (["a", "b"], 0, ""), id="passed pods accumulate"),
            pytest.param(None, {"a": "no"}, ([], 1, "a: no"), id="the first attempt fails"),
            pytest.param(
                (["a"], 1, "b: no"),
                {"b": "never"},
                (["a"], 2, "b: never"),
                id="the last failure is told, in a row of two",
            ),
            pytest.param(
                None,
                {"c": "no", "a": None, "b": "never"},
                (["a"], 1, "b: never"),
                id="one attempt fails once, for two pods",
            ),
            pytest.param(
                (["a"], 2, "b: no"),
                {"b": None},
                (["a", "b"], 0, "b: no"),
                id="an attempt without failures ends the row",
            ),
            pytest.param(
                (["a", "b"], 0, ""), {"a": "no"}, (["b"], 1, "a: no"), id="a pod that fails has not passed any more"
            ),
        ],
    )
    def test_attempts_are_counted(
        self,
        before: tuple[list[str], int, str] | None,
        results: dict[str, str | None],
        after: tuple[list[str], int, str],
    ) -> None:
        told = smoke.record(before and status(*before), results)
        assert (told.passed, told.failures, told.message) == after

    def test_what_others_keep_in_the_status_stays(self) -> None:
        before = SmokeTestStatus(passed=["a"]).model_copy(update={"last_attempt_at": T0})
        after = smoke.record(before, {"b": None})
        assert after.model_copy(update={"passed": ["a"]}) == before

    def test_of_more_pods_than_there_is_room_for_the_latest_are_kept(self) -> None:
        earlier = [f"old-{number:04}" for number in range(1000)]
        told = smoke.record(status(earlier, 0, ""), {"new-1": None, "new-2": None})
        assert told.passed == ["new-1", "new-2", *earlier[:998]]
        assert SmokeTestStatus.model_validate(told.to_dict()) == told

    @pytest.mark.parametrize(("failures", "is_over"), [(0, False), (2, False), (3, True), (4, True)])
    def test_three_failed_attempts_in_a_row_are_the_end(self, failures: int, is_over: bool) -> None:
        assert smoke.has_failed(status([], failures, "")) is is_over


def status(passed: list[str], failures: int, message: str) -> SmokeTestStatus:
    return SmokeTestStatus(passed=passed, failures=failures, message=message)
