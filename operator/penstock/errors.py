"""What can go wrong when talking to the API server, by whose turn it is.

ApiError                  the API server answered with a failure
  NotFound                404: the object is not there (any more)
  Conflict                409: somebody was faster, or a precondition did not hold
  Gone                    410: the watch is too old, list again
  Rejected                the user's turn: the object itself is refused (400, 422, an untyped apply, 403 by a policy)
    QuotaExceeded         403 by a ResourceQuota: the user's turn too, but waiting may help
  Throttled               429: come back after `retry_after` seconds
Unreachable               no answer at all: our turn, retry
"""


class ApiError(Exception):
    """The API server refused a request. `status` is the HTTP code, `reason` the API's CamelCase reason."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class NotFound(ApiError):
    pass


class Conflict(ApiError):
    pass


class Gone(ApiError):
    pass


class Rejected(ApiError):
    pass


class QuotaExceeded(Rejected):
    pass


class Throttled(ApiError):
    def __init__(self, status: int, reason: str, message: str, retry_after: float) -> None:
        super().__init__(status, reason, message)
        self.retry_after = retry_after


class Unreachable(Exception):
    """The API server could not be reached, or broke off in the middle of an answer."""


def from_status(status: int, body: dict[str, object], retry_after: str | None) -> ApiError:
    """The error that stands for an HTTP answer; `body` is the API's Status object, as far as it sent one."""
    reason, message = str(body.get("reason", "")), str(body.get("message", ""))
    if status == 429:
        return Throttled(status, reason, message, _seconds(retry_after))
    if status == 403 and "exceeded quota" in message:
        return QuotaExceeded(status, reason, message)
    # Server-side apply answers an unknown field with 500 "failed to create typed patch object".
    untyped = status == 500 and "failed to create typed patch object" in message
    if status in (400, 403, 422) or untyped:
        return Rejected(status, reason, message)
    return {404: NotFound, 409: Conflict, 410: Gone}.get(status, ApiError)(status, reason, message)


def _seconds(retry_after: str | None) -> float:
    """A Retry-After header; a second where there is none, or one that says a date, as proxies' may."""
    return max(float(retry_after), 0.1) if retry_after and retry_after.isdecimal() else 1.0
