"""Structured logs: JSON in a container, readable on a terminal; never the text of a prompt."""

import logging
import sys

import structlog


def configure() -> None:
    """Set up structlog, and what other libraries log through `logging`, for the whole process."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_rendering()))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # At INFO these libraries log their internals.
    for noisy in ("aiohttp", "asyncio", "botocore", "urllib3", "transformers"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _rendering() -> list[structlog.typing.Processor]:
    drop = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if sys.stderr.isatty():
        return [drop, structlog.dev.ConsoleRenderer()]
    return [drop, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
