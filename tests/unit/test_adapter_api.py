"""The adapter's port with real TLS, real client certificates, and pods that are servers on the loopback."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from penstock import clock, errors
from penstock.adapter import tls
from penstock.adapter.api import Api
from penstock.adapter.certificate import renewed
from penstock.adapter.front_proxy import FrontProxy
from penstock.adapter.metrics import AdapterMetrics
from penstock.adapter.reviews import Reviews
from penstock.adapter.scraper import Scraper
from penstock.adapter.targets import Targets
from penstock.adapter.values import Values
from penstock.kinds import INFERENCE_SERVICE, POD

from tests.unit.test_adapter_targets import pod, service

PODS = "namespaces/ml/pods/*/inference_requests_per_second"
QUEUE = "namespaces/ml/pods/*/inference_queue_depth"
USER = {
    "X-Remote-User": "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
    "X-Remote-Group": "system:authenticated",
}


@dataclass
class Review:
    """Stands for the API server's SubjectAccessReview."""

    allowed: bool = True
    asked: list[dict[str, Any]] = field(default_factory=list)
    failure: Exception | None = None

    async def __call__(self, spec: dict[str, Any]) -> bool:
        self.asked.append(spec)
        if self.failure:
            raise self.failure
        return self.allowed


@dataclass
class Served:
    """An adapter that runs, and the ways to ask it."""

    url: str
    targets: Targets
    review: Review
    contexts: dict[str, ssl.SSLContext]

    async def get(
        self,
        path: str,
        query: dict[str, str] | None = None,
        *,
        by: str = "front-proxy-client",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        url = f"{self.url}/apis/custom.metrics.k8s.io/{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                url, params=query, headers=USER if headers is None else headers, ssl=self.contexts[by]
            ) as answer,
        ):
            return answer.status, await answer.json()


def _context(ca: bytes, client: trustme.LeafCert | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cadata=ca.decode())
    made.check_hostname = False
    if client is not None:
        client.configure_cert(made)
    return made


def _client(authority: trustme.CA, name: str) -> trustme.LeafCert:
    return authority.issue_cert(f"{name}.example", common_name=name)


@asynccontextmanager
async def an_adapter(port: int = 8080) -> AsyncIterator[Served]:
    """With the front proxy's authority, and pods that answer on that port."""
    authority, metrics, review, targets = trustme.CA(), AdapterMetrics(), Review(), Targets()
    certificates = renewed(None, "adapter.ml.svc", clock.now())
    proxy = FrontProxy(
        authority.cert_pem.bytes().decode(),
        frozenset({"front-proxy-client"}),
        ("x-remote-user",),
        ("x-remote-group",),
        (),
    )
    targets.put(INFERENCE_SERVICE, service(metrics={"port": port}))
    async with aiohttp.ClientSession() as session:
        scraper = Scraper(targets, session, metrics.scraped)
        reviews = Reviews(review, asyncio.get_running_loop().time)
        runner = web.AppRunner(Api(Values(targets, scraper), reviews, metrics, lambda: proxy).application())
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls.context(certificates, proxy.client_ca)).start()
            contexts = {
                "nobody": _context(certificates.bundle),
                **{
                    name: _context(certificates.bundle, _client(authority, name))
                    for name in ("front-proxy-client", "somebody")
                },
                "front-proxy-client of another authority": _context(
                    certificates.bundle, _client(trustme.CA(), "front-proxy-client")
                ),
            }
            yield Served(f"https://127.0.0.1:{runner.addresses[0][1]}", targets, review, contexts)
        finally:
            await runner.cleanup()
            await scraper.close()


@asynccontextmanager
async def a_pod(answer: Callable[[], Awaitable[str]] | Callable[[], str]) -> AsyncIterator[int]:
    async def metrics(_: web.Request) -> web.Response:
        text = answer()
        return web.Response(text=text if isinstance(text, str) else await text)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("version", ["v1beta1", "v1beta2"])
async def test_discovery_lists_the_metrics_of_pods_and_services(version: str) -> None:
    async with an_adapter() as adapter:
        status, found = await adapter.get(version)
    assert status == 200
    assert found["groupVersion"] == f"custom.metrics.k8s.io/{version}"
    names = [each["name"] for each in found["resources"]]
    assert "pods/inference_requests_per_second" in names
    assert "inferenceservices.serving.penstock.dev/inference_queue_depth" in names
    assert all(each["verbs"] == ["get"] and each["namespaced"] for each in found["resources"])


@pytest.mark.parametrize("version", ["v2", "v3"])
async def test_the_api_server_s_question_for_types_is_answered_with_none(version: str) -> None:
    async with an_adapter() as adapter:
        url, context = f"{adapter.url}/openapi/{version}", adapter.contexts["front-proxy-client"]
        async with aiohttp.ClientSession() as session, session.get(url, headers=USER, ssl=context) as answer:
            assert answer.status == 200
            assert (await answer.json())["paths"] == {}


async def test_an_unknown_version_is_a_status_object() -> None:
    async with an_adapter() as adapter:
        status, found = await adapter.get("v1")
    assert (status, found["kind"], found["reason"], found["code"]) == (404, "Status", "NotFound", 404)


@pytest.mark.parametrize("by", ["nobody", "somebody"])
async def test_only_the_front_proxy_is_answered(by: str) -> None:
    async with an_adapter() as adapter:
        status, found = await adapter.get(f"v1beta2/{PODS}", by=by)
        assert (status, found["reason"]) == (401, "Unauthorized")
        assert (await adapter.get("v1beta2", by=by))[0] == 401
        assert adapter.review.asked == []


async def test_a_certificate_of_another_authority_ends_the_handshake() -> None:
    async with an_adapter() as adapter:
        with pytest.raises(aiohttp.ClientError):
            await adapter.get("v1beta2", by="front-proxy-client of another authority")


async def test_a_front_proxy_that_names_no_user_is_not_answered() -> None:
    async with an_adapter() as adapter:
        assert (await adapter.get("v1beta2", headers={}))[0] == 401


async def test_a_user_without_the_right_is_refused_by_name_and_pods_are_not_asked() -> None:
    async with an_adapter() as adapter:
        adapter.review.allowed = False
        status, found = await adapter.get(f"v1beta2/{PODS}", headers={"X-Remote-User": "jane"})
    assert (status, found["reason"]) == (403, "Forbidden")
    assert "jane may not get pods/inference_requests_per_second in the namespace ml" in found["message"]
    assert adapter.review.asked == [
        {
            "user": "jane",
            "groups": [],
            "extra": {},
            "resourceAttributes": {
                "verb": "get",
                "group": "custom.metrics.k8s.io",
                "version": "v1beta2",
                "namespace": "ml",
                "resource": "pods",
                "name": "*",
                "subresource": "inference_requests_per_second",
            },
        }
    ]


async def test_a_review_is_remembered_for_a_while() -> None:
    async with an_adapter() as adapter:
        for _ in range(3):
            assert (await adapter.get(f"v1beta2/{PODS}"))[0] == 200
        assert len(adapter.review.asked) == 1
        await adapter.get(f"v1beta2/{QUEUE}")
        assert len(adapter.review.asked) == 2


async def test_nobody_may_read_while_the_api_server_does_not_say_who_may() -> None:
    async with an_adapter() as adapter:
        adapter.review.failure = errors.Unreachable("gone")
        status, found = await adapter.get(f"v1beta2/{PODS}")
    assert (status, found["reason"]) == (503, "ServiceUnavailable")


async def test_the_first_question_is_answered_with_a_rate_already() -> None:
    now = asyncio.get_running_loop().time
    async with a_pod(lambda: f"inference_requests_total {100 * now()}\n") as port, an_adapter(port) as adapter:
        adapter.targets.put(POD, pod(ip="127.0.0.1"))
        status, found = await adapter.get(
            f"v1beta2/{PODS}", {"labelSelector": "serving.penstock.dev/inferenceservice=chat"}
        )
    assert status == 200
    assert found["kind"] == "MetricValueList"
    (item,) = found["items"]
    assert item["describedObject"] == {"kind": "Pod", "apiVersion": "v1", "namespace": "ml", "name": "chat-0"}
    assert item["metric"] == {"name": "inference_requests_per_second", "selector": None}
    # 100 requests in each second; a slow machine notes the time of a scrape a little late.
    assert 50_000 < int(item["value"].removesuffix("m")) < 200_000


async def test_version_v1beta1_spells_the_same_differently() -> None:
    async with a_pod(lambda: "inference_queue_depth 7\n") as port, an_adapter(port) as adapter:
        adapter.targets.put(POD, pod(ip="127.0.0.1"))
        _, found = await adapter.get(f"v1beta1/{QUEUE}")
    (item,) = found["items"]
    assert item["metricName"] == "inference_queue_depth"
    assert item["value"] == "7000m"
    assert "window" in item
    assert "metric" not in item


async def test_an_escaped_asterisk_is_one_too() -> None:
    async with a_pod(lambda: "inference_queue_depth 7\n") as port, an_adapter(port) as adapter:
        adapter.targets.put(POD, pod(ip="127.0.0.1"))
        _, found = await adapter.get("v1beta2/namespaces/ml/pods/%2A/inference_queue_depth")
    assert len(found["items"]) == 1


async def test_a_service_s_own_metric_is_the_sum_over_its_pods() -> None:
    async with a_pod(lambda: "inference_queue_depth 7\n") as port, an_adapter(port) as adapter:
        for name in ("chat-0", "chat-1"):
            adapter.targets.put(POD, pod(name, ip="127.0.0.1"))
        path = "namespaces/ml/inferenceservices.serving.penstock.dev/chat/inference_queue_depth"
        _, found = await adapter.get(f"v1beta2/{path}")
    (item,) = found["items"]
    assert item["describedObject"]["kind"] == "InferenceService"
    assert item["value"] == "14000m"


async def test_a_selector_of_labels_chooses_the_pods() -> None:
    async with a_pod(lambda: "inference_queue_depth 7\n") as port, an_adapter(port) as adapter:
        for name, slot in (("chat-0", "blue"), ("chat-1", "green")):
            labels = {"serving.penstock.dev/inferenceservice": "chat", "slot": slot}
            adapter.targets.put(POD, pod(name, ip="127.0.0.1", labels=labels))
        _, found = await adapter.get(f"v1beta2/{QUEUE}", {"labelSelector": "slot in (green)"})
    assert [item["describedObject"]["name"] for item in found["items"]] == ["chat-1"]


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("namespaces/ml/pods/*/of_nobody", {}, 404),
        ("namespaces/ml/services/*/inference_queue_depth", {}, 404),
        (QUEUE, {"labelSelector": "a b"}, 400),
        (QUEUE, {"metricLabelSelector": "a=b"}, 400),
        ("namespaces/ml", {}, 404),
    ],
)
async def test_what_cannot_be_answered_is_a_status_object(path: str, query: dict[str, str], status: int) -> None:
    async with an_adapter() as adapter:
        found = await adapter.get(f"v1beta2/{path}", query)
    assert (found[0], found[1]["kind"], found[1]["code"]) == (status, "Status", status)


async def test_without_a_reading_the_list_is_empty_which_makes_the_autoscaler_hold() -> None:
    async with an_adapter(1) as adapter:
        adapter.targets.put(POD, pod(ip="127.0.0.1"))
        status, found = await adapter.get(f"v1beta2/{PODS}")
    assert (status, found["items"]) == (200, [])


async def test_pods_of_a_service_that_nobody_asks_about_are_left_in_peace() -> None:
    scrapes: list[int] = []

    def answer() -> str:
        scrapes.append(1)
        return "inference_queue_depth 7\n"

    async with a_pod(answer) as port, an_adapter(port) as adapter:
        adapter.targets.put(POD, pod(ip="127.0.0.1"))
        await adapter.get("v1beta2")
        await adapter.get("v1beta2/namespaces/other/pods/*/inference_queue_depth")
        assert scrapes == []
        await adapter.get(f"v1beta2/{QUEUE}")
        assert scrapes
