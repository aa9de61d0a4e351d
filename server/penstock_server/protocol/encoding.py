"""POST /v1/embeddings and /predict."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from penstock_server.engine.protocol import EncodingEngine, ModelInfo, Task
from penstock_server.errors import BadRequest
from penstock_server.protocol.openai import EmbeddingRequest, PredictRequest
from penstock_server.protocol.reading import check_tokens, read
from penstock_server.service import Service

Row = NDArray[np.float32]  # one sequence's floats


async def embed(request: web.Request, service: Service) -> web.Response:
    """One vector per input."""
    body = await read(request, EmbeddingRequest)
    engine = service.encoding_engine(body.model, Task.EMBEDDINGS)
    sequences, names = await _sequences(engine, body.input, "input")
    rows = await _encode(engine, sequences, names, service)
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(row, body.encoding_format)}
        for index, row in enumerate(rows)
    ]
    tokens = sum(map(len, sequences))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return web.json_response({"object": "list", "data": data, "model": service.settings.model_name, "usage": usage})


async def predict(request: web.Request, service: Service) -> web.Response:
    """The likeliest label: an object for `text`, `predictions` in the same order for `texts`."""
    body = await read(request, PredictRequest)
    engine = service.encoding_engine(body.model, Task.TEXT_CLASSIFICATION)
    sequences, names = await _sequences(engine, body.text or body.texts or [], "text" if body.text else "texts")
    rows = await _encode(engine, sequences, names, service)
    predictions = [_prediction(row, engine.info) for row in rows]
    return web.json_response(predictions[0] if body.text else {"predictions": predictions})


async def _sequences(
    engine: EncodingEngine, given: str | Sequence[Any], field: str
) -> tuple[list[list[int]], list[str]]:
    """(token ids of each input, its field's path)."""
    match given:
        case str():
            return await engine.tokenize([given]), [field]
        case [int(), *_]:
            return [list(given)], [field]
    names = [f"{field}[{index}]" for index in range(len(given))]
    if isinstance(given[0], str):
        return await engine.tokenize(given), names
    return [list(ids) for ids in given], names


async def _encode(
    engine: EncodingEngine, sequences: list[list[int]], names: list[str], service: Service
) -> NDArray[np.float32]:
    for ids, name in zip(sequences, names, strict=True):
        _check(ids, name, engine.info)
    service.metrics.prompt_tokens.inc(sum(map(len, sequences)))
    return await engine.encode(sequences)


def _check(ids: list[int], name: str, info: ModelInfo) -> None:
    check_tokens(ids, name, info)
    if len(ids) > info.max_model_len:
        message = f"{name}: {len(ids)} tokens are more than the model's limit of {info.max_model_len}"
        raise BadRequest(message, param=name, code="context_length_exceeded")


def _vector(row: Row, encoding: str) -> str | list[float]:
    if encoding == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode()
    return [float(value) for value in row]


def _prediction(row: Row, info: ModelInfo) -> dict[str, Any]:
    best = int(row.argmax())
    scores = {label: float(score) for label, score in zip(info.labels, row, strict=True)}
    return {"prediction": info.labels[best], "confidence": float(row[best]), "scores": scores}
