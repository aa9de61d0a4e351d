"""docs/reference/server.md, from the model server's command line, routes, request types and errors.

What code cannot say for itself stands in the tables below; a test compares their keys with the code, and
tests/serving/test_reference_examples.py has a real server answer each example.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from penstock_server.app import INFERENCE, PROBES
from penstock_server.config import parser
from penstock_server.errors import TYPES
from penstock_server.failure import ExitCode
from penstock_server.protocol.openai import ChatRequest, CompletionRequest, EmbeddingRequest, Generate, PredictRequest
from penstock_server.protocol.reading import LARGEST_BODY_BYTES, Body

from tests.generated.tables import cell, code, table


@dataclass(frozen=True, slots=True)
class Example:
    """One request and its answer, for the task that the route needs."""

    task: str
    request: dict[str, Any]
    answer: dict[str, Any]


_USAGE = {"prompt_tokens": 38, "completion_tokens": 8, "total_tokens": 46}
REQUESTS: dict[str, type[Body]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/completions": CompletionRequest,
    "/v1/embeddings": EmbeddingRequest,
    "/predict": PredictRequest,
}
EXAMPLES = {
    "/v1/chat/completions": Example(
        "text-generation",
        {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 16},
        {
            "id": "chatcmpl-5f0e8d3c9a7b4e21f6d80c1b",
            "object": "chat.completion",
            "created": 1764000000,
            "model": "smollm2",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "The capital of France is Paris."},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": _USAGE,
        },
    ),
    "/v1/completions": Example(
        "text-generation",
        {"prompt": "The capital of France is", "max_tokens": 8},
        {
            "id": "cmpl-5f0e8d3c9a7b4e21f6d80c1b",
            "object": "text_completion",
            "created": 1764000000,
            "model": "smollm2",
            "choices": [{"index": 0, "text": " Paris.", "logprobs": None, "finish_reason": "stop"}],
            "usage": _USAGE,
        },
    ),
    "/v1/embeddings": Example(
        "embeddings",
        {"input": ["first text", "second text"]},
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": 0, "embedding": [0.0123, -0.0456, 0.0789]},
                {"object": "embedding", "index": 1, "embedding": [0.0321, 0.0654, -0.0987]},
            ],
            "model": "minilm",
            "usage": {"prompt_tokens": 8, "total_tokens": 8},
        },
    ),
    "/predict": Example(
        "text-classification",
        {"text": "I would buy this again"},
        {"prediction": "positive", "confidence": 0.9381, "scores": {"negative": 0.0619, "positive": 0.9381}},
    ),
}
GET_ANSWERS = {
    "/livez": ("200 while the event loop and the engine move, else 503", {"status": "alive"}),
    "/readyz": (
        "200 when the model is loaded, has done one inference, and the server is not draining",
        {"status": "ready"},
    ),
    "/health": ("the same as `/readyz`", {"status": "ready"}),
    "/ready": ("the same as `/readyz`", {"status": "ready"}),
    "/startupz": (
        "503 with the progress until the model is ready: `downloading`, `loading`, `warming`, `ready` or `failed`",
        {
            "state": "downloading",
            "downloadedBytes": 1048576,
            "totalBytes": 269060552,
            "bytesPerSecond": 52428800,
            "loadedBytes": 0,
            "message": "",
        },
    ),
    "/metrics": ("[Prometheus metrics](metrics.md#model-server)", None),
    "/v1/models": ("a list of the one model", None),
    "/v1/models/{model:.+}": (
        "the model; from `task` on once it is loaded",
        {
            "id": "smollm2",
            "object": "model",
            "created": 1764000000,
            "owned_by": "penstock",
            "task": "text-generation",
            "architecture": "LlamaForCausalLM",
            "dtype": "float32",
            "device": "cpu",
            "max_model_len": 8192,
        },
    ),
}
VARIABLES = {
    "PENSTOCK_CACHE_DIR": "Default of `--cache-dir`. The operator sets it to `/var/cache/penstock`.",
    "HOME": "Where the default of `--cache-dir` lies otherwise.",
    "PENSTOCK_GPU_REQUESTED": "Set, and not `0`, `false`, `none` or `void`: a GPU was asked for. A server that then "
    "finds none runs on the CPU and logs a warning. The operator sets it for pods that request a GPU.",
    "NVIDIA_VISIBLE_DEVICES": "The same, as NVIDIA's container runtime sets it.",
    "PENSTOCK_TERMINATION_LOG": "File for the reason of a failed start, if it exists. Default: `/dev/termination-log`.",
    "AWS_ACCESS_KEY_ID": "Credentials for `s3://`.",
    "AWS_SECRET_ACCESS_KEY": "Credentials for `s3://`.",
    "AWS_SESSION_TOKEN": "Credentials for `s3://`.",
    "AWS_NO_SIGN_REQUEST": "`true`: read a public bucket without credentials.",
    "AWS_REGION": "Region of the bucket.",
    "AWS_DEFAULT_REGION": "The same, if `AWS_REGION` is not set. Default: `us-east-1`.",
    "AWS_ENDPOINT_URL_S3": "Address of another S3 server.",
    "AWS_ENDPOINT_URL": "The same, if `AWS_ENDPOINT_URL_S3` is not set.",
}
ERRORS: dict[str, tuple[int, str]] = {
    "invalid_json": (400, "The body is not JSON."),
    "invalid_body": (400, "The body is not encoded as its headers say."),
    "invalid_value": (
        400,
        "A field has a value that is not allowed; `param` is its path, such as `messages[0].content`.",
    ),
    "unsupported_parameter": (
        400,
        (
            "A field that this server does not have. Fields at the value that asks for nothing "
            "(`logprobs: false`, `tools: []`) are accepted."
        ),
    ),
    "context_length_exceeded": (400, "The prompt, and what is to be written, do not fit the model's context."),
    "prompt_refused": (400, "The model's chat template refuses the messages."),
    "unsupported_task": (400, "The model does something else than this route."),
    "model_not_found": (404, "`model` is not the model that is served here. It may be left out."),
    "queue_full": (429, "`--max-queue` requests wait already, or 1024 are in flight. `Retry-After: 1`."),
    "engine_failed": (500, "The engine failed on this request."),
    "internal_error": (500, "What nobody foresaw; the log has it, under the answer's `X-Request-Id`."),
    "model_not_ready": (503, "The model is still being fetched or loaded. `Retry-After: 1`."),
    "draining": (503, "The server is shutting down. `Retry-After: 1`."),
    "deadline_exceeded": (504, "The request took longer than `--timeout`."),
}
EXITS = {
    ExitCode.DRAINED: ("", "Stopped by SIGTERM or SIGINT, when all requests were answered or the drain was over."),
    ExitCode.CRASHED: ("", "A crash that nobody foresaw."),
    ExitCode.BAD_ARGUMENTS: ("`InvalidArguments`", "The command line."),
    ExitCode.DOWNLOAD_FAILED: (
        "`ModelDownloadFailed`, `ModelDownloadStalled`, `NotEnoughDisk`, `InvalidStorageUri`",
        "The model could not be fetched.",
    ),
    ExitCode.LOAD_FAILED: ("`ModelLoadFailed`", "The files do not load, or the first inference failed."),
    ExitCode.UNSUPPORTED_MODEL: ("`UnsupportedModel`", "An architecture or a task that this server does not have."),
    ExitCode.CANNOT_LISTEN: ("`CannotListen`", "The address or port is taken."),
}
PAGE = """\
<!-- Generated from server/penstock_server and tests/generated/server_page.py; run `make generate` after a change. -->
# The model server

`penstock-server --model DIR_OR_URI` serves one model over HTTP. In a cluster the operator starts it and sets the flags
from the [InferenceService](api.md); `spec.predictor.model.args` and `env` add to them. Where models come from:
[storage](../concepts/storage.md).

## Flags

{flags}
## Environment variables

{variables}
Keys of the Secret that `storage.secretName` names become such variables.

## Routes

A body is JSON with `Content-Type: application/json`, {megabytes} MiB at most. `model` may be left out. Every answer has
an `X-Request-Id`: the client's own if it sent one, else a new one. A `traceparent` header's trace id is logged.

{routes}
{posts}
### Streams

`"stream": true` answers the text routes with server-sent events: one JSON event for each piece of text
(`chat.completion.chunk` with a `delta`, or `text_completion` with `text`), then `data: [DONE]`. With
`"stream_options": {{"include_usage": true}}` the event before that has the `usage`. An error before the first event has
its own HTTP status; one after it is an event `{{"error": …}}`, and the stream ends without `[DONE]`.

## Errors

Every failure has the OpenAI API's body:

```json
{error}
```

| status | `type` | `code` | when |
|---|---|---|---|
{errors}
Also with `code: null`: 404 for a path and 405 for a method that there is not, 413 for a body that is too large, 415 for
another `Content-Type`.

## Exit codes

The reason also stands in the container's termination message, from where the operator takes it into
`status.modelStatus.lastFailureInfo`.

{exits}
## Stopping

On SIGTERM `/readyz` fails at once, and requests are accepted for `--drain-delay` seconds more, until endpoints have
followed. Then new ones are answered 503 (`draining`), and what is in flight has `--drain-timeout` seconds to finish. A
second signal, or the end of that time, cuts off what is left with an error that its client can read. SIGINT, for
terminals, waits for no endpoints.
"""


def render() -> str:
    """The page, byte for byte."""
    return PAGE.format(
        flags=table(("flag", "values", "meaning"), _flags()),
        variables=table(("variable", "meaning"), ((code(name), text) for name, text in VARIABLES.items())),
        megabytes=LARGEST_BODY_BYTES // 2**20,
        routes=table(("route", "task", "what it answers"), _routes()),
        posts="\n".join(_post(path, example) for path, example in EXAMPLES.items()),
        error=_pretty(
            {
                "error": {
                    "message": "max_tokens: Input should be greater than or equal to 1",
                    "type": "invalid_request_error",
                    "param": "max_tokens",
                    "code": "invalid_value",
                }
            }
        ),
        errors="".join(f"{_error(*row)}\n" for row in ERRORS.items()),
        exits=table(
            ("code", "reason", "meaning"), ((code(int(number)), *texts) for number, texts in sorted(EXITS.items()))
        ),
    )


def flags() -> list[argparse.Action]:
    """The flags of `penstock-server`, without --help."""
    return [action for action in parser({"HOME": "~"})._actions if action.dest != "help"]


def _flags() -> Iterator[tuple[str, str, str]]:
    for action in flags():
        values = (
            ", ".join(map(str, action.choices))
            if action.choices
            else action.metavar or ("NUMBER" if action.type else "ADDRESS")
        )
        text = str(action.help) % {"default": action.default}
        yield code(action.option_strings[0]), str(values), text + ", required" * action.required


def _routes() -> Iterator[tuple[str, str, str]]:
    for path in INFERENCE:
        if path not in EXAMPLES:
            yield code(f"POST {path}"), "", f"the same as `/v1{path}`"
            continue
        link = f"POST {path}".lower().translate({ord(sign): None for sign in "/"}).replace(" ", "-")
        yield f"[`POST {path}`](#{link})", EXAMPLES[path].task, _first(path)
    for path in PROBES:
        meaning, answer = GET_ANSWERS[path]
        shown = f": `{json.dumps(answer)}`" if answer else ""
        yield code(f"GET {path.replace(':.+', '')}"), "", f"{meaning}{shown}"


def _first(path: str) -> str:
    return (INFERENCE[path].__doc__ or "").splitlines()[0].rstrip(".")


def _post(path: str, example: Example) -> str:
    fields = ", ".join(code(name) for name in REQUESTS[path].model_fields)
    ignored = REQUESTS[path].neutral if issubclass(REQUESTS[path], Generate) else {}
    accepted = f" Accepted at this value only: {', '.join(code(f'{k}: {json.dumps(v)}') for k, v in ignored.items())}."
    return "\n".join(
        [
            f"### POST {path}",
            "",
            f"Fields: {fields}.{accepted if ignored else ''}",
            "",
            "```json",
            _pretty(example.request),
            "```",
            "",
            "```json",
            _pretty(example.answer),
            "```",
            "",
        ]
    )


def _error(name: str, row: tuple[int, str]) -> str:
    status, text = row
    return f"| {status} | {code(TYPES.get(status, 'invalid_request_error'))} | {code(name)} | {cell(text)} |"


def _pretty(value: Any) -> str:
    """JSON as a person would write it: what fits a line stands in one."""
    return _lines(value, "")


def _lines(value: Any, indent: str) -> str:
    one = json.dumps(value)
    if len(one) + len(indent) <= 100 or not isinstance(value, dict | list):
        return one
    deeper = indent + "  "
    if isinstance(value, list):
        return "[\n" + ",\n".join(deeper + _lines(item, deeper) for item in value) + f"\n{indent}]"
    items = (f"{deeper}{json.dumps(key)}: {_lines(item, deeper)}" for key, item in value.items())
    return "{\n" + ",\n".join(items) + f"\n{indent}}}"
