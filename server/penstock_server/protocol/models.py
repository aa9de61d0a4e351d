"""GET /v1/models and /v1/models/{model}."""

from typing import Any

from aiohttp import web

from penstock_server.errors import NotFound
from penstock_server.service import SERVICE, Service


async def list_models(request: web.Request) -> web.Response:
    """The one model, from the first second."""
    return web.json_response({"object": "list", "data": [_model(request.app[SERVICE])]})


async def get_model(request: web.Request) -> web.Response:
    """The same by its name."""
    service = request.app[SERVICE]
    name = request.match_info["model"]
    if name != service.settings.model_name:
        raise NotFound(name)
    return web.json_response(_model(service))


def _model(service: Service) -> dict[str, Any]:
    known = {"id": service.settings.model_name, "object": "model", "created": service.created, "owned_by": "penstock"}
    engine = service.served.engine
    if engine is None:
        return known
    info = engine.info
    loaded = {"task": info.task, "architecture": info.architecture, "dtype": info.dtype, "device": info.device}
    return {**known, **loaded, "max_model_len": info.max_model_len}
