"""What the operator asks of a new pod, asked of real server processes: the smoke test and the counters."""

import math
from collections.abc import AsyncIterator

import aiohttp
import pytest
from penstock.kube.pod_access import Address, Direct
from penstock.pods.client import HttpPodClient
from penstock.rollout import smoke
from penstock.rollout.smoke import SmokeRequest

from tests.builders import a_service
from tests.serving.server import Server

POD = [Address("ml", "chat-0", "127.0.0.1")]
SERVERS = {
    "text-generation": ("text_server", "tiny"),
    "text-classification": ("classifier_server", "labels"),
    "embeddings": ("embedding_server", "vectors"),
}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


def a_server(request: pytest.FixtureRequest, task: str) -> tuple[Server, str]:
    """The shared server of a task, and the name of its model."""
    fixture, name = SERVERS[task]
    server: Server = request.getfixturevalue(fixture)
    return server, name


def default_request(server: Server, name: str, task: str) -> SmokeRequest:
    found = smoke.request(a_service(model={"name": name, "task": task}), port=server.port)
    assert found is not None
    return found


@pytest.mark.parametrize("asked", ["the task", "auto"])
@pytest.mark.parametrize("task", SERVERS)
async def test_the_default_request_passes_on_a_server_of_its_task_by_one_real_inference(
    request: pytest.FixtureRequest, session: aiohttp.ClientSession, task: str, asked: str
) -> None:
    server, name = a_server(request, task)
    wanted = default_request(server, name, "auto" if asked == "auto" else task)
    probes = HttpPodClient(Direct(session), port=server.port)
    before = await probes.counters(POD)
    assert await probes.smoke(wanted, POD) == {"chat-0": None}
    after = await probes.counters(POD)
    assert after["chat-0"].requests == before["chat-0"].requests + 1
    assert after["chat-0"].errors == before["chat-0"].errors


@pytest.mark.parametrize(
    ("name", "task", "fault"),
    [
        ("tiny", "embeddings", "POST /v1/embeddings: status 400 instead of 200: "),
        ("other", "text-generation", "POST /v1/completions: status 404 instead of 200: "),
        ("other", "auto", "POST /v1/completions: status 404 instead of 200: "),
    ],
    ids=["the task is another", "the name is another", "the name is another, and the task is not known"],
)
async def test_a_server_of_something_else_fails(
    text_server: Server, session: aiohttp.ClientSession, name: str, task: str, fault: str
) -> None:
    told = (await HttpPodClient(Direct(session)).smoke(default_request(text_server, name, task), POD))["chat-0"]
    assert told is not None
    assert told.startswith(fault)


async def test_the_counters_are_what_the_server_has_counted(
    embedding_server: Server, session: aiohttp.ClientSession
) -> None:
    probes = HttpPodClient(Direct(session), port=embedding_server.port)
    before = (await probes.counters(POD))["chat-0"]
    for text in ("one", "two", ""):
        embedding_server.post("/v1/embeddings", {"input": text})
    after = (await probes.counters(POD))["chat-0"]
    assert after.requests - before.requests == 3
    assert after.requests == embedding_server.metric("inference_requests_total")


@pytest.mark.parametrize(
    ("asked", "counted"),
    [
        ({"input": "one"}, "success"),
        ({"input": 5}, "refusal"),
        ({"input": "one", "model": "other"}, "refusal"),
    ],
    ids=["200", "400", "404"],
)
async def test_refusals_are_told_from_successes_and_only_these_are_timed(
    embedding_server: Server, session: aiohttp.ClientSession, asked: dict[str, object], counted: str
) -> None:
    probes = HttpPodClient(Direct(session), port=embedding_server.port)
    before = (await probes.counters(POD))["chat-0"]
    embedding_server.post("/v1/embeddings", asked)
    after = (await probes.counters(POD))["chat-0"]
    timed = dict(after.buckets).get(math.inf, 0) - dict(before.buckets).get(math.inf, 0)
    found = {"success": timed, "refusal": after.refused - before.refused, "error": after.errors - before.errors}
    assert found == {"success": 0, "refusal": 0, "error": 0, counted: 1}
    assert embedding_server.metric("inference_request_duration_seconds_count") == after.requests
    assert embedding_server.metric("inference_request_duration_seconds_count", 'code_class="4xx"') == after.refused
