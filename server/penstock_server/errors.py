"""The answer to a request that fails: the OpenAI API's error object, on every route.

ApiError              anything with a status
├── BadRequest        400 with the field's path
├── NotFound          404 unknown model
├── TooBusy           429 with Retry-After
├── Unavailable       503 while loading or draining, with Retry-After
└── DeadlineExceeded  504

`as_api_error` maps every other exception; an unexpected one becomes a 500 that shows no internals.
"""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from penstock_server.engine.protocol import EngineFailed, PromptRefused, QueueFull

TYPES = {429: "rate_limit_error", 500: "server_error", 503: "service_unavailable_error", 504: "timeout_error"}
MESSAGES = {
    404: "no such path: {method} {path}",
    405: "{method} is not allowed on {path}",
    413: "the request body is too large",
    415: "the request body must be application/json",
}


class ApiError(Exception):
    """A failed request: the status, and all that its answer says."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The OpenAI error object."""
        kind = TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> web.Response:
        """The same as a response."""
        return web.json_response(self.body(), status=self.status, headers=self.headers)


class BadRequest(ApiError):
    """The request itself is at fault."""

    def __init__(self, message: str, *, param: str | None, code: str | None = None) -> None:
        super().__init__(400, message, param=param, code=code)


class NotFound(ApiError):
    """No model of that name."""

    def __init__(self, model: str) -> None:
        super().__init__(404, f"the model '{model}' is not served here", param="model", code="model_not_found")


class TooBusy(ApiError):
    """The queue is full."""

    def __init__(self, message: str) -> None:
        super().__init__(429, f"the server is busy: {message}", code="queue_full", headers={"Retry-After": "1"})


class Unavailable(ApiError):
    """This server cannot answer now; another pod, or this one later, may."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(503, message, code=code, headers={"Retry-After": "1"})


class DeadlineExceeded(ApiError):
    """The request took longer than the server allows."""

    def __init__(self, seconds: float) -> None:
        super().__init__(504, f"the request took longer than {seconds:g} s", code="deadline_exceeded")


def as_api_error(error: Exception, request: web.Request) -> ApiError:
    """The answer to a request that failed with `error`."""
    match error:
        case ApiError():
            return error
        case QueueFull():
            return TooBusy(str(error))
        case PromptRefused():
            return BadRequest(str(error), param="messages", code="prompt_refused")
        case EngineFailed():
            return ApiError(500, str(error), code="engine_failed")
        case web.HTTPException():
            return _from_http(error, request)
    return ApiError(500, "internal error", code="internal_error")


def _from_http(error: web.HTTPException, request: web.Request) -> ApiError:
    message = MESSAGES.get(error.status, error.reason).format(method=request.method, path=request.path)
    kept = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    return ApiError(error.status, message, headers=kept)
