"""`custom.metrics.k8s.io` over HTTPS: who asks is checked first, then what the pods have counted is answered."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web

from penstock import clock, errors
from penstock.adapter import answers
from penstock.adapter.front_proxy import FrontProxy, User
from penstock.adapter.metrics import AdapterMetrics
from penstock.adapter.reviews import Reviews
from penstock.adapter.values import Values
from penstock.observed.label_selector import LabelSelector

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refusal(Exception):
    """Answered as a Status of the API."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Api:
    """The routes. `front_proxy` gives what the cluster says now about its aggregation layer."""

    values: Values
    reviews: Reviews
    metrics: AdapterMetrics
    front_proxy: Callable[[], FrontProxy]

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._answer])
        version = f"/apis/{answers.GROUP}/{{version:{'|'.join(answers.VERSIONS)}}}"
        app.router.add_get("/openapi/{version:v2|v3}", self._describe)
        app.router.add_get(version, self._discover)
        app.router.add_get(version + "/namespaces/{namespace}/{resource}/{name}/{metric}", self._read)
        return app

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        began = asyncio.get_running_loop().time()
        try:
            user = self._authenticate(request)
            await self._authorize(user, request.match_info)
            response = await handler(request)
        except Refusal as refusal:
            response = _failure(refusal.code, refusal.reason, str(refusal))
        except web.HTTPException as error:
            response = _failure(
                error.status, error.reason.replace(" ", ""), f"{request.method} {request.path}: {error.reason}"
            )
        except (errors.ApiError, errors.Unreachable) as error:
            # Who may read is unknown: nobody may, for now.
            log.warning("no answer to whether a user may read metrics", error=str(error))
            response = _failure(503, "ServiceUnavailable", "the API server does not say whether you may read this")
        self.metrics.answered(response.status, asyncio.get_running_loop().time() - began)
        return response

    def _authenticate(self, request: web.Request) -> User:
        user = self.front_proxy().user(_common_name(request.get_extra_info("peercert")), request.headers.items())
        if user is None:
            raise Refusal(401, "Unauthorized", "only the API server's aggregation layer is answered here")
        return user

    async def _authorize(self, user: User, path: Mapping[str, str]) -> None:
        if "metric" not in path:
            return  # Discovery is for everybody who has been authenticated, as everywhere in Kubernetes.
        attributes = {
            "verb": "get",
            "group": answers.GROUP,
            "version": path["version"],
            "namespace": path["namespace"],
            "resource": path["resource"],
            "name": path["name"],
            "subresource": path["metric"],
        }
        if not await self.reviews.is_allowed(user, attributes):
            what = f"{path['resource']}/{path['metric']} in the namespace {path['namespace']}"
            raise Refusal(403, "Forbidden", f"{user.name} may not get {what} of {answers.GROUP}")

    async def _describe(self, request: web.Request) -> web.Response:
        return web.json_response(answers.open_api(request.match_info["version"]))

    async def _discover(self, request: web.Request) -> web.Response:
        return web.json_response(answers.resource_list(request.match_info["version"]))

    async def _read(self, request: web.Request) -> web.Response:
        path = request.match_info
        namespace, resource, name, metric = (path[part] for part in ("namespace", "resource", "name", "metric"))
        if resource not in (answers.PODS, answers.SERVICES) or not self.values.knows(namespace, metric):
            raise Refusal(404, "NotFound", f"the server could not find the metric {metric} for {resource}")
        if request.query.get("metricLabelSelector"):
            raise Refusal(400, "BadRequest", "metrics have no labels here: leave the metric's selector out")
        try:
            selector = LabelSelector.parse(request.query.get("labelSelector", ""))
        except ValueError as error:
            raise Refusal(400, "BadRequest", str(error)) from None
        if resource == answers.PODS:
            values = await self.values.of_pods(namespace, name, metric, selector)
        else:
            values = await self.values.of_services(namespace, name, metric)
        return web.json_response(answers.metric_values(path["version"], metric, values, clock.now()))


def _failure(code: int, reason: str, message: str) -> web.Response:
    return web.json_response(answers.status(code, reason, message), status=code)


def _common_name(certificate: Mapping[str, Any] | None) -> str | None:
    """That of a client certificate as the ssl module gives it once it is verified; None without one."""
    fields = (field for part in (certificate or {}).get("subject", ()) for field in part)
    return next((value for name, value in fields if name == "commonName"), "" if certificate else None)
