import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.processes import LOGS_KEPT, Processes, started_at

SLEEP = ["sleep", "60"]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    started = Processes(tmp_path)
    yield started
    started.stop_all()


def test_a_started_program_runs_until_it_is_stopped(processes: Processes) -> None:
    processes.start("a", SLEEP)
    assert processes.is_running("a")
    processes.stop("a")
    assert not processes.is_running("a")
    assert processes.names() == []


def test_starting_twice_keeps_the_first(processes: Processes) -> None:
    processes.start("a", SLEEP)
    first = processes.pid("a")
    processes.start("a", SLEEP)
    assert processes.pid("a") == first


def test_a_program_that_ignores_sigterm_is_killed_after_its_grace(processes: Processes) -> None:
    processes.start("deaf", ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 60; done"])
    _wait_for_line(processes.log("deaf"), "deaf")
    processes.stop("deaf", grace=0.1)
    assert not processes.is_running("deaf")


def test_a_program_outlives_its_starter_and_a_later_one_stops_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.harness.processes import Processes; "
        f"Processes(Path(sys.argv[1])).start('a', {SLEEP})"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
    later = Processes(tmp_path)
    assert later.is_running("a")
    later.stop_all()
    assert not later.is_running("a")


def test_a_recycled_pid_is_never_killed(processes: Processes) -> None:
    """The record names a living process, but one that started at another time: ourselves."""
    processes.start("a", SLEEP)
    pid = processes.pid("a")
    assert pid
    file = processes.records / "a.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"started": 1}))
    processes.stop("a")
    assert started_at(pid) is not None
    os.kill(pid, signal.SIGKILL)


def test_an_interrupted_program_resumes_with_its_command_and_environment(processes: Processes) -> None:
    processes.start("a", ["sh", "-c", "echo word=$WORD; sleep 60"], env=os.environ | {"WORD": "x"})
    processes.interrupt("a")
    assert not processes.is_running("a")
    processes.resume("a")
    _wait_for_line(processes.log("a"), "word=x")


def test_the_records_and_the_order_survive_a_crash(processes: Processes) -> None:
    for name in ("c", "a", "b"):
        processes.start(name, SLEEP)
    processes.kill("a", signal.SIGKILL)
    assert processes.names() == ["c", "a", "b"]


def test_logs_are_kept_and_their_number_is_bounded(processes: Processes) -> None:
    for number in range(LOGS_KEPT + 3):
        processes.start("a", ["sh", "-c", f"echo {number}; exec sleep 60"])
        _wait_for_line(processes.log("a"), str(number))
        processes.stop("a")
    kept = sorted(path.name for path in processes.logs.iterdir())
    assert kept == ["a.log", *(f"a.log.{number}" for number in range(1, LOGS_KEPT + 1))]
    assert (processes.logs / "a.log.1").read_text() == f"{LOGS_KEPT + 1}\n"


def test_resuming_an_unknown_program_names_the_known_ones(processes: Processes) -> None:
    processes.start("known", SLEEP)
    with pytest.raises(KeyError, match="known"):
        processes.resume("other")


def _wait_for_line(log: Path, line: str) -> None:
    deadline = time.monotonic() + 5
    while line not in log.read_text().splitlines():
        assert time.monotonic() < deadline, f"{log} never said {line!r}"
        time.sleep(0.01)
