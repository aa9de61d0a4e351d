"""The adapter of bench.adapter: its own scraper, windows and API, over targets that are given to it."""

import asyncio
import sys
from typing import Any

import aiohttp
import uvloop
from aiohttp import web
from penstock import clock
from penstock.adapter import tls
from penstock.adapter.api import Api
from penstock.adapter.certificate import Certificates, renewed
from penstock.adapter.front_proxy import User
from penstock.adapter.metrics import AdapterMetrics
from penstock.adapter.reviews import Reviews
from penstock.adapter.scraper import Scraper
from penstock.adapter.targets import Targets
from penstock.adapter.values import Values
from penstock.kinds import INFERENCE_SERVICE, POD

from bench.adapter import PODS_OF_A_SERVICE, addresses


def _targets(pods: int, port: int) -> Targets:
    targets = Targets()
    for number in range(pods // PODS_OF_A_SERVICE):
        predictor = {"maxReplicas": 4, "model": {"storageUri": "pvc://m"}, "metrics": {"port": port}}
        metadata = {"name": f"s{number}", "namespace": "bench", "resourceVersion": "1"}
        targets.put(INFERENCE_SERVICE, {"metadata": metadata, "spec": {"predictor": predictor}})
    for number, address in enumerate(addresses(pods)):
        targets.put(POD, _pod(number, address))
    return targets


def _pod(number: int, address: str) -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/managed-by": "penstock",
        "serving.penstock.dev/inferenceservice": f"s{number // PODS_OF_A_SERVICE}",
        "serving.penstock.dev/slot": "blue",
    }
    metadata = {
        "name": f"p{number}",
        "namespace": "bench",
        "uid": f"u{number}",
        "resourceVersion": "1",
        "labels": labels,
    }
    conditions = [{"type": "Ready", "status": "True"}]
    return {
        "metadata": metadata,
        "spec": {"containers": [{"name": "model"}]},
        "status": {"podIP": address, "conditions": conditions},
    }


class _Everybody:
    """Stands for the front proxy's check, which costs a dictionary's lookup."""

    def user(self, *_: object) -> User:
        return User("bench")


async def _allowed(_: dict[str, Any]) -> bool:
    return True


async def _serve(pods: int, pod_port: int, port: int) -> None:
    done = {"done": 0, "failed": 0}

    def scraped(succeeded: bool) -> None:
        done["done" if succeeded else "failed"] += 1

    async def scrapes(_: web.Request) -> web.Response:
        return web.json_response(done)

    targets = _targets(pods, pod_port)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        scraper = Scraper(targets, session, scraped)
        proxy: Any = _Everybody()
        reviews = Reviews(_allowed, asyncio.get_running_loop().time)
        app = Api(Values(targets, scraper), reviews, AdapterMetrics(), lambda: proxy).application()
        app.router.add_get("/scrapes", scrapes)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        certificates: Certificates = renewed(None, "adapter.bench.svc", clock.now())
        await web.TCPSite(
            runner, "127.0.0.1", port, ssl_context=tls.context(certificates, certificates.bundle.decode())
        ).start()
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
