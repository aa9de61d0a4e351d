import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from penstock import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, configuration = root.handlers, root.level, structlog.get_config()
    yield
    root.handlers = handlers
    root.setLevel(level)
    for name in logs.QUIET:
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.configure(**configuration)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_container_logs_one_json_object_per_line_with_the_reason() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    structlog.get_logger("penstock.test").info("deployment patched", name="chat-blue", reason="Drift")
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "deployment patched",
        "name": "chat-blue",
        "reason": "Drift",
        "level": "info",
        "logger": "penstock.test",
    }


def test_a_terminal_gets_text() -> None:
    stream = Terminal()
    logs.configure(stream=stream)
    structlog.get_logger("penstock.test").info("deployment patched")
    assert "deployment patched" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_the_standard_library_s_loggers_leave_by_the_same_door() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logging.getLogger("some.library").warning("watch of %s closed", "pods")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"]) == ("watch of pods closed", "warning", "some.library")


def test_kopf_s_line_per_event_is_not_logged_but_its_warnings_are() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logging.getLogger("kopf.objects").info("Handler 'x' succeeded.")
    logging.getLogger("kopf.objects").warning("watch failed")
    assert [line["event"] for line in lines(stream)] == ["watch failed"]


def test_debugging_shows_everything() -> None:
    stream = io.StringIO()
    logs.configure("debug", stream=stream)
    logging.getLogger("kopf.objects").debug("detail")
    assert [line["event"] for line in lines(stream)] == ["detail"]


def test_the_level_holds_back_what_is_below_it() -> None:
    stream = io.StringIO()
    logs.configure("error", stream=stream)
    structlog.get_logger("penstock.test").warning("quiet")
    assert stream.getvalue() == ""


def test_an_error_s_traceback_is_part_of_its_one_line() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    try:
        raise RuntimeError("no luck")
    except RuntimeError:
        structlog.get_logger("penstock.test").exception("reconcile failed")
    (line,) = lines(stream)
    assert line["exception"][0]["exc_value"] == "no luck"
    assert "locals" not in line["exception"][0]["frames"][0]
