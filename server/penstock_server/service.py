"""What every route's handler is given: settings, the model, the metrics, admission control."""

from dataclasses import dataclass
from typing import TypeGuard

from aiohttp import web

from penstock_server.admission import Admission
from penstock_server.config import Settings
from penstock_server.engine.protocol import EncodingEngine, Task, TextEngine
from penstock_server.errors import BadRequest, NotFound, Unavailable
from penstock_server.metrics import Metrics
from penstock_server.status import AnyEngine, Served


@dataclass(frozen=True, slots=True)
class Service:
    """One server."""

    settings: Settings
    served: Served
    metrics: Metrics
    admission: Admission
    created: int  # Unix time of the start, for /v1/models

    def text_engine(self, model: str | None) -> TextEngine:
        """The engine, if it writes text. Raises NotFound, Unavailable, BadRequest."""
        engine = self._engine(model)
        if not _writes_text(engine):
            raise self._wrong_task(engine, "generate text")
        return engine

    def encoding_engine(self, model: str | None, task: Task) -> EncodingEngine:
        """The engine, if it does `task`. Raises NotFound, Unavailable, BadRequest."""
        engine = self._engine(model)
        if _writes_text(engine) or engine.info.task is not task:
            raise self._wrong_task(engine, f"do {task}")
        return engine  # type: ignore[return-value]

    def _engine(self, model: str | None) -> AnyEngine:
        if model not in (None, self.settings.model_name):
            raise NotFound(str(model))
        if self.served.engine is None or not self.served.is_ready:
            raise Unavailable("the model is not ready yet", code="model_not_ready")
        return self.served.engine

    def _wrong_task(self, engine: AnyEngine, asked: str) -> BadRequest:
        message = f"the model '{self.settings.model_name}' is served for {engine.info.task}; it cannot {asked}"
        return BadRequest(message, param="model", code="unsupported_task")


def _writes_text(engine: AnyEngine) -> TypeGuard[TextEngine]:
    return engine.info.task is Task.TEXT_GENERATION


SERVICE = web.AppKey("service", Service)
