"""docs/reference/router.md, from the router's settings and words."""

from penstock import names
from penstock.names import RouterReason
from penstock.router import wake
from penstock.router.hold import SHUNNED_SECONDS
from penstock.router.server import IDLE_SECONDS
from penstock.router.service import FATAL, UNLIMITED
from penstock.router.settings import Settings
from penstock.router.upstream import CONNECT_SECONDS

from tests.generated import settings
from tests.generated.tables import code, table

PAGE = """\
<!-- Generated from penstock.router; run `make generate` after a change. -->
# The router

`penstock router` holds the requests of services that sleep, asks the operator to wake them, and forwards the requests
when pods are ready. It is in the path of requests only while a service sleeps or wakes: the operator then makes the
endpoints of its Service those of the router. The [chart](chart.md) runs two replicas; each holds by itself.

## Which service

Each service that may sleep has a port of the router in `status.autoscaling.sleep.port`. What comes on it is for that
service, whatever the request says. `GET {path}` is answered by the router itself: `{{"router": POD, "service":
"NAMESPACE/NAME"}}`; it wakes nothing.

## Waking

A request asks, at most once in {once:g} s for each service and replica: the router writes the time into
`status.wakeRequestedAt`. While requests are held and no pod is ready, it asks again every {repeat:g} s, and every
{waking:g} s once the service is `Waking`. It writes nothing else, and has no right to.

## Held requests

They are forwarded in the order in which they came, each to the ready pod with the fewest requests of this router, of
the active slot if that has one. While the service is `Asleep`, what looks ready is on its way out and gets none. A pod
gets no more at once than `containerConcurrency` divided by the number of replicas (at least 1; {unlimited} where it is
unlimited). A pod that does not take a connection within {connect:g} s gets none for {shunned:g} s, and the request
keeps its place. The body is not read before there is a pod. A client that goes away is forgotten; one that has sent all
it has and closes its half of the connection has gone away, too.

An answer that was waited for has the header `{cold}` with the seconds. All answers close the connection, so that the
next one goes to a pod.

## Answers of its own

They have the header `{header}` with the pod's name, and the body of the [model server's](server.md) errors with the
reason as `code`. Those with status 503 have `Retry-After`.

{reasons}
These causes, if they were found since the service began to wake, answer at once: {fatal}.
Other causes, such as `InsufficientGPU`, are waited for until `wakeTimeoutSeconds`, and are then the answer.

## Forwarding

HTTP/1.1, with a connection to the pod for each request. Bodies are streamed both ways and never decompressed; method,
target and headers are passed on as they came, but for those of a single connection. `X-Forwarded-For` and
`X-Forwarded-Proto` are added. `Expect: 100-continue` is answered by the router when there is a pod; other interim
answers and trailers are left out. WebSockets are passed through. `CONNECT`, and methods that
[llhttp](https://github.com/nodejs/llhttp) does not know, are refused with 400. If a pod breaks off in the middle of an
answer, so does the router. A pod must begin to answer within `predictor.timeout` seconds after the request's last byte.
A connection without a request ends after {idle:g} s.

## Settings

A flag wins over its variable.

{settings}
## HTTP

Port `--metrics-port` serves `/healthz`, `/readyz` and [`/metrics`](metrics.md#router). It is ready when it knows all
services and has opened their ports. After SIGTERM it is not ready, takes connections for `--drain-seconds`, then ends
what is held or under way, for `--grace-seconds` at most.
"""

_REASONS = {
    RouterReason.TOO_MANY_HELD_REQUESTS: "503: `maxHeldRequests` of the service, or of the router, are held.",
    RouterReason.WAKE_TIMEOUT: "503: no pod could take it within `wakeTimeoutSeconds`, and no cause is known.",
    names.Reason.SUSPENDED: "503: `spec.suspend` is true.",
    names.Reason.SCALED_TO_ZERO_BY_USER: "503: `spec.replicas` is 0.",
    names.Reason.PAUSED_BY_USER: f"503: asleep with the annotation `{names.ANNOTATION_PAUSED}`.",
    RouterReason.NO_SERVICE: "503: the service is gone, or may not sleep any more.",
    RouterReason.POD_FAILED: "502: the pod broke off before it answered.",
    RouterReason.POD_TIMEOUT: "504: the pod did not begin to answer in time.",
    RouterReason.NOT_PROXIED: "400: no HTTP/1.x, or nothing that is forwarded.",
    names.Reason.INTERNAL_ERROR: "500: a fault of the router, which its log shows.",
}


def render() -> str:
    """The page, byte for byte."""
    return PAGE.format(
        path=names.ROUTER_PATH,
        header=names.ROUTER_HEADER,
        cold=names.COLD_START_HEADER,
        once=wake.ONCE_SECONDS,
        repeat=wake.REPEAT_SECONDS,
        waking=wake.REPEAT_WHILE_WAKING_SECONDS,
        unlimited=UNLIMITED,
        connect=CONNECT_SECONDS,
        shunned=SHUNNED_SECONDS,
        idle=IDLE_SECONDS,
        fatal=", ".join(code(reason) for reason in sorted(FATAL)),
        reasons=table(("reason", "when"), ((code(reason), text) for reason, text in _REASONS.items())),
        settings=settings.table_of(Settings),
    )
