"""Why a request is not forwarded, as its answer says it. Pure."""

from dataclasses import dataclass
from typing import Any, Final

from penstock.names import Reason, RouterReason

# Seconds after which it is worth asking again.
SOON: Final = 1
LATER: Final = 10
_TYPES: Final = {500: "server_error", 502: "server_error", 503: "service_unavailable_error", 504: "timeout_error"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """The status, a reason of the common vocabulary, and the reason in words."""

    reason: str
    message: str
    status: int = 503
    retry_after: int = LATER  # seconds; only said with 503

    def body(self) -> dict[str, Any]:
        """The OpenAI API's error object, as the model server answers with it, too."""
        kind = _TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": None, "code": self.reason}}


class Refused(Exception):
    """Carries the refusal to where it is answered."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def suspended() -> Refusal:
    return Refusal(Reason.SUSPENDED, "the service is suspended: spec.suspend is true")


def scaled_to_zero() -> Refusal:
    return Refusal(Reason.SCALED_TO_ZERO_BY_USER, "the service was scaled to zero: spec.replicas is 0")


def paused(annotation: str) -> Refusal:
    return Refusal(Reason.PAUSED_BY_USER, f"the service sleeps and is not woken: it has the annotation {annotation}")


def too_many(held: int, of: str) -> Refusal:
    message = f"{held} requests are held already for {of} until pods are ready"
    return Refusal(RouterReason.TOO_MANY_HELD_REQUESTS, message, retry_after=SOON)


def wake_timeout(seconds: float) -> Refusal:
    return Refusal(RouterReason.WAKE_TIMEOUT, f"no pod could take the request within {seconds:g} s")


def no_service(port: int) -> Refusal:
    return Refusal(RouterReason.NO_SERVICE, f"port {port} of the router belongs to no service any more")


def broken(pod: str) -> Refusal:
    return Refusal(RouterReason.POD_FAILED, f"the pod {pod} broke off before it answered", status=502)


def overdue(pod: str, seconds: float) -> Refusal:
    return Refusal(RouterReason.POD_TIMEOUT, f"the pod {pod} did not begin to answer within {seconds:g} s", status=504)


def not_proxied(what: str) -> Refusal:
    return Refusal(RouterReason.NOT_PROXIED, f"the router does not forward {what}", status=400)


def internal() -> Refusal:
    return Refusal(Reason.INTERNAL_ERROR, "internal error of the router", status=500)
