"""The command line, as one frozen value."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, cast

from penstock_server.engine.architectures import TaskChoice
from penstock_server.failure import ExitCode, StartupFailure

TASKS = ("auto", "text-generation", "text-classification", "embeddings")
DTYPES = ("auto", "float32", "bfloat16", "float16")
GPU_VARIABLES = ("PENSTOCK_GPU_REQUESTED", "NVIDIA_VISIBLE_DEVICES")
NO_GPU = {"", "0", "false", "none", "void"}


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a server. Durations are in seconds."""

    model: str
    model_name: str
    task: TaskChoice
    dtype: str
    host: str
    port: int
    container_concurrency: int  # 0: no limit but the queue's
    timeout: float
    max_queue: int
    drain_delay: float
    drain_timeout: float
    cache_dir: Path
    gpu_requested: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise StartupFailure(ExitCode.BAD_ARGUMENTS, "InvalidArguments", message)


def parser(env: Mapping[str, str]) -> argparse.ArgumentParser:
    """The arguments and their help."""
    cache = env.get("PENSTOCK_CACHE_DIR") or str(Path(env.get("HOME", "/tmp")) / ".cache" / "penstock")  # noqa: S108 - for a user without a home directory
    args = _Parser(
        prog="penstock-server",
        description="Serve one model over HTTP: OpenAI-compatible text generation and embeddings, or classification.",
        epilog="Try: penstock-server --model ./my-model, then curl localhost:8080/v1/models",
        allow_abbrev=False,
    )
    model = args.add_argument_group("model")
    model.add_argument(
        "--model",
        required=True,
        metavar="DIR_OR_URI",
        help="a Hugging Face model directory, or where to fetch one (s3://bucket/prefix, file:///path)",
    )
    model.add_argument("--model-name", metavar="NAME", help="name that requests use (default: last part of --model)")
    model.add_argument("--task", choices=TASKS, default="auto", help="what to serve it for (default: from its config)")
    model.add_argument(
        "--dtype", choices=DTYPES, default="auto", help="precision (default: bfloat16 on a GPU, else float32)"
    )
    model.add_argument(
        "--cache-dir",
        type=Path,
        default=Path(cache),
        metavar="DIR",
        help="where fetched models are kept (default: $PENSTOCK_CACHE_DIR or %(default)s)",
    )
    http = args.add_argument_group("HTTP")
    http.add_argument("--host", default="0.0.0.0", help="address to listen on (default: %(default)s)")  # noqa: S104 - a pod serves its Service
    http.add_argument("--port", type=_port, default=8080, help="port to listen on, 0 for any (default: %(default)s)")
    http.add_argument(
        "--container-concurrency",
        type=_count,
        default=0,
        metavar="N",
        help="requests worked on at once; 0 leaves it to the engine (default: %(default)s)",
    )
    http.add_argument(
        "--max-queue",
        type=_positive,
        default=128,
        metavar="N",
        help="requests that may wait; more are answered 429 (default: %(default)s)",
    )
    http.add_argument(
        "--timeout",
        type=_seconds,
        default=300.0,
        metavar="SECONDS",
        help="longest request, answered 504 past it (default: %(default)s)",
    )
    drain = args.add_argument_group("shutdown (SIGTERM)")
    drain.add_argument(
        "--drain-delay",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="go on accepting while endpoints update (default: %(default)s)",
    )
    drain.add_argument(
        "--drain-timeout",
        type=_seconds,
        default=None,
        metavar="SECONDS",
        help="then finish what is in flight for so long (default: --timeout)",
    )
    return args


def parse(argv: Sequence[str], env: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the command line. Raises StartupFailure; --help exits."""
    seen = parser(env).parse_args(argv)
    if seen.model_name == "":
        raise StartupFailure(ExitCode.BAD_ARGUMENTS, "InvalidArguments", "argument --model-name: must not be empty")
    return Settings(
        model=seen.model,
        model_name=seen.model_name or _last_part(seen.model),
        task=cast("TaskChoice", seen.task),
        dtype=seen.dtype,
        host=seen.host,
        port=seen.port,
        container_concurrency=seen.container_concurrency,
        timeout=seen.timeout,
        max_queue=seen.max_queue,
        drain_delay=seen.drain_delay,
        drain_timeout=seen.timeout if seen.drain_timeout is None else seen.drain_timeout,
        cache_dir=seen.cache_dir,
        gpu_requested=any(env.get(name, "").lower() not in NO_GPU for name in GPU_VARIABLES),
    )


def _last_part(model: str) -> str:
    # A part with an @ is a mistyped address with credentials, which are refused later and must not be shown before.
    return model.rstrip("/").rsplit("/", 1)[-1].rsplit("@", 1)[-1] or "model"


def _count(text: str) -> int:
    return _bounded(int(text), 0, 1_000_000)


def _positive(text: str) -> int:
    return _bounded(int(text), 1, 1_000_000)


def _port(text: str) -> int:
    return _bounded(int(text), 0, 65_535)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 7 * 86_400:
        raise argparse.ArgumentTypeError("must be between 0 and 604800 seconds")
    return seconds


def _bounded(number: int, least: int, most: int) -> int:
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"must be between {least} and {most}")
    return number
