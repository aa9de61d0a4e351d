"""An operator that no pod lets in, and that asks all it needs to know through the API server."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e import sharing, specs
from tests.e2e.service import Isvc, eventually
from tests.e2e.traffic import Traffic
from tests.harness import release
from tests.harness.cluster import Cluster
from tests.harness.release import Penstock

# Answers with its version, and counts these answers. As a network policy would, it keeps everybody but the API server
# from the paths that the operator asks. That one tells in a header what it was asked for; a token it must not pass on.
SERVER = """
import http.server, os, signal, threading
version, counted, lock = os.environ["VERSION"], 0, threading.Lock()
signal.signal(signal.SIGTERM, lambda *_: threading.Timer(0.5, os._exit, [0]).start())
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        way = self.headers.get("X-Forwarded-Uri", "")
        if self.path == "/":
            return self.answer(200, version)
        if "/proxy/" not in way or "Authorization" in self.headers:
            return self.answer(403, "nobody comes in here")
        if self.path == "/metrics":
            sample = 'inference_requests_total{code="200"}'
            return self.answer(200, f"# TYPE inference_requests_total counter\\n{sample} {counted}\\n")
        return self.answer(503 if version == "fails" else 200, f"{version}, {self.command}, asked at {way}")
    def do_POST(self):
        global counted
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with lock:
            counted += self.path == "/"
        self.do_GET()
    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def proxied(cluster: Cluster, penstock: Penstock) -> Iterator[Penstock]:
    """Penstock, with an operator that goes through the API server."""
    images = (penstock.operator_image, penstock.server_image)
    with sharing.alone():
        yield release.install(cluster, *images, "--set=settings.podAccess=ApiServer")
        release.install(cluster, *images)


def a_server(image: str, version: str, **rollout: Any) -> dict[str, Any]:
    spec = specs.own_server(image, version=version)
    (container,) = spec["predictor"]["containers"]
    container["command"] = ["python", "-c", SERVER]
    return {**spec, "rollout": {**specs.blue_green(hold=0), "smokeTest": {"path": "/check", "body": "{}"}, **rollout}}


def test_a_revision_is_tested_judged_and_promoted_without_a_way_of_the_operators_own(
    service: Callable[[str], Isvc], proxied: Penstock
) -> None:
    web = service("proxied")
    analysis = {"intervalSeconds": 2, "durationSeconds": 4, "minRequests": 5}
    web.apply(a_server(proxied.operator_image, "1", analysis=analysis))
    eventually(web.is_rolled_out, web, within=60)
    with Traffic(web.url(), {}, clients=0, fresh=2) as traffic:
        web.apply(a_server(proxied.operator_image, "2", analysis=analysis))
        eventually(lambda: web.rollout().get("analysis", {}).get("successes", 0) > 0, web, within=60)
        told, tested = web.rollout()["analysis"]["message"], web.rollout()["smokeTest"]["passed"]
        web.wait_for_phase("Stable", within=30)
    print(told)
    assert "requests, 0 % failed" in told
    assert tested == [web.pod("2")["metadata"]["name"]]
    assert traffic.failures == []
    assert traffic.answers[-1].version == "2"


def test_a_revision_that_fails_its_smoke_test_goes_back_with_the_pods_own_answer(
    service: Callable[[str], Isvc], proxied: Penstock
) -> None:
    web = service("refused")
    web.apply(a_server(proxied.operator_image, "1"))
    eventually(web.is_rolled_out, web, within=60)
    web.apply(a_server(proxied.operator_image, "fails"))
    web.wait_for_phase("RolledBack", within=60)
    print(web.rollout()["message"])
    assert web.condition("Stalled") == ("True", "SmokeTestFailed")
    assert "POST /check: status 503 instead of 200: fails, POST, asked at /" in web.rollout()["message"]
    assert web.is_ready()
