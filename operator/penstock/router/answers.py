"""What the router answers itself. Each carries its name, and ends the connection: the next one may go to a pod."""

from aiohttp import web

from penstock import names
from penstock.router.refusal import Refusal
from penstock.watch.store import Key


def of_router(name: str, service: Key | None) -> web.Response:
    """Who answers, and for which service: how the operator knows that requests reach a router."""
    return _closing(web.json_response({"router": name, "service": str(service or "")}), name)


def refused(name: str, refusal: Refusal) -> web.Response:
    answer = web.json_response(refusal.body(), status=refusal.status)
    if refusal.status == 503:
        answer.headers["Retry-After"] = str(refusal.retry_after)
    return _closing(answer, name)


def _closing(answer: web.Response, name: str) -> web.Response:
    answer.headers[names.ROUTER_HEADER] = name
    answer.force_close()
    return answer
