"""The HTTP application: routes, and what surrounds every request."""

import re
import secrets
import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web
from aiohttp.http_exceptions import PayloadEncodingError
from aiohttp.typedefs import Handler

from penstock_server.errors import ApiError, BadRequest, as_api_error
from penstock_server.protocol import completions, encoding, health, models
from penstock_server.protocol.reading import LARGEST_BODY_BYTES
from penstock_server.protocol.streaming import STREAM, write_event
from penstock_server.service import SERVICE, Service

Inference = Callable[[web.Request, Service], Awaitable[web.StreamResponse]]

INFERENCE: dict[str, Inference] = {
    "/v1/chat/completions": completions.chat,
    "/v1/completions": completions.complete,
    "/completions": completions.complete,
    "/v1/embeddings": encoding.embed,
    "/predict": encoding.predict,
}
PROBES = {
    "/livez": health.livez,
    "/readyz": health.readyz,
    "/startupz": health.startupz,
    "/health": health.readyz,
    "/ready": health.readyz,
    "/metrics": health.metrics,
    "/v1/models": models.list_models,
    "/v1/models/{model:.+}": models.get_model,
}
CLIENT_CLOSED_REQUEST = 499  # nginx's code, for the metrics: no client is left to read it
ID_PATTERN = re.compile(r"[A-Za-z0-9._:-]{1,128}")
TRACE_PATTERN = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")
REQUEST_ID = web.RequestKey("request_id", str)
CODE = web.RequestKey("code", int)  # how a stream ended, when its status was sent long before

log = structlog.get_logger(__name__)


def build_app(service: Service) -> web.Application:
    """The application of one server."""
    app = web.Application(middlewares=[identified, measured, answered], client_max_size=LARGEST_BODY_BYTES)
    app[SERVICE] = service
    for path, inference in INFERENCE.items():
        app.router.add_post(path, admitted(inference))
    for path, handler in PROBES.items():
        app.router.add_get(path, handler)
    app.on_response_prepare.append(finish_headers)
    return app


def admitted(inference: Inference) -> Handler:
    """A handler that runs `inference` as one of the requests in flight."""

    async def handle(request: web.Request) -> web.StreamResponse:
        service = request.app[SERVICE]
        async with service.admission.admit():
            await _receive(request)  # Before the permit: a client that sends slowly must not hold one.
            async with service.admission.permit():
                response = await inference(request, service)
            # Still in flight until the kernel has the answer: the process may end right after the last request.
            await response.prepare(request)
            request[STREAM] = response
            await response.write_eof()
            return response

    return handle


async def _receive(request: web.Request) -> None:
    try:
        await request.read()
    except (web.RequestPayloadError, PayloadEncodingError):
        message = "the body is not encoded as its headers say"
        raise BadRequest(message, param=None, code="invalid_body") from None


@web.middleware
async def identified(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Put the request's id, the client's own if it gave one, and its trace on every log line and on the answer."""
    given = request.headers.get("X-Request-Id", "")
    request[REQUEST_ID] = given if ID_PATTERN.fullmatch(given) else secrets.token_hex(16)
    trace = TRACE_PATTERN.fullmatch(request.headers.get("traceparent", ""))
    context = {"request_id": request[REQUEST_ID], **({"trace_id": trace[1]} if trace else {})}
    with structlog.contextvars.bound_contextvars(**context):
        return await handler(request)


@web.middleware
async def measured(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count and log inference requests, but neither probes nor unknown paths."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource else ""
    if route not in INFERENCE:
        return await handler(request)
    metrics = request.app[SERVICE].metrics
    began = time.monotonic()
    code = CLIENT_CLOSED_REQUEST
    metrics.in_flight.inc()
    try:
        response = await handler(request)
        code = request.get(CODE) or response.status
        return response
    finally:
        metrics.in_flight.dec()
        seconds = time.monotonic() - began
        metrics.finished(route, code)(seconds)
        log.info("request", route=route, code=code, seconds=round(seconds, 4))


@web.middleware
async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every failure into the API's error: as a response, or as the last event of a stream that has begun."""
    try:
        return await handler(request)
    except ConnectionResetError:
        raise  # The client disconnected while we wrote: no answer can reach it.
    except Exception as error:
        failure = as_api_error(error, request)
        if failure.status == 500:
            log.exception("a request failed")
        return await _send_error(request, failure)


async def _send_error(request: web.Request, error: ApiError) -> web.StreamResponse:
    begun: web.StreamResponse | None = request.get(STREAM)
    if begun is None:
        return error.response()
    request[CODE] = error.status
    transport = request.transport
    if transport is None:
        return begun
    if isinstance(begun, web.Response) or transport.get_write_buffer_size():
        transport.abort()  # Neither half of a whole answer nor a client that does not read can take an error event.
        return begun
    await write_event(begun, error.body())
    await begun.write_eof()
    return begun


async def finish_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the request's id, and while draining close the connection, so that the client moves to another pod."""
    if request.transport is not None:
        request.transport.set_write_buffer_limits(high=0)  # A write returns once the kernel has all of it.
    if REQUEST_ID in request:
        response.headers["X-Request-Id"] = request[REQUEST_ID]
    if request.app[SERVICE].admission.is_draining:
        response.force_close()
        response.headers["Connection"] = "close"  # aiohttp has set its own header before it calls this.
