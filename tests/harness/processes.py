"""Programs that outlive the one that starts them, and that a later one can find and stop.

Each is a file `NAME.json` in the state folder: its command, its pid, the time the kernel says it started (so that a pid
that was given to another program is never mistaken for ours), and its place in the order of starting.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

LOGS_KEPT = 5  # per program, besides the current one


@dataclass(frozen=True)
class Record:
    argv: list[str]
    env: dict[str, str] | None
    cwd: str | None
    order: int
    pid: int
    started: int  # clock ticks after boot, field 22 of /proc/PID/stat


class Processes:
    """The programs whose records are under one state folder; logs go to its `logs/`."""

    def __init__(self, state: Path) -> None:
        self.records = state / "processes"
        self.logs = state / "logs"

    def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Starts a program in its own session; a no-op while it is running. Raises OSError when it cannot be run."""
        if self.is_running(name):
            return
        self.records.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.logs.mkdir(parents=True, exist_ok=True)
        _rotate(self.log(name))
        command = [str(word) for word in argv]
        with self.log(name).open("ab") as output:
            process = subprocess.Popen(
                command,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _children[process.pid] = process
        _write(
            self._file(name),
            Record(
                argv=command,
                env=dict(env) if env is not None else None,
                cwd=str(cwd) if cwd else None,
                order=self._next_order(),
                pid=process.pid,
                started=started_at(process.pid) or 0,
            ),
        )

    def stop(self, name: str, *, grace: float = 10) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds; gone and forgotten when this returns."""
        self.interrupt(name, grace=grace)
        self._file(name).unlink(missing_ok=True)

    def interrupt(self, name: str, *, grace: float = 10, signal_number: int = signal.SIGTERM) -> None:
        """Stops a program as `stop` does, and remembers its command for `resume`."""
        self.kill(name, signal_number)
        if not self._gone_within(name, grace):
            self.kill(name, signal.SIGKILL)
            self._gone_within(name, 10)

    def resume(self, name: str) -> None:
        """Starts a program again with the command it had. Raises KeyError when none of that name was started."""
        record = self.record(name)
        self.start(name, record.argv, env=record.env, cwd=Path(record.cwd) if record.cwd else None)

    def record(self, name: str) -> Record:
        """Raises KeyError when no program of that name was started."""
        if not self._file(name).exists():
            raise KeyError(f"no program named {name!r}; there are {', '.join(self.names()) or 'none'}")
        return _read(self._file(name))

    def kill(self, name: str, signal_number: int) -> None:
        """Sends a signal to the program and its process group, and keeps the record; a no-op when it is not running."""
        record = self._running(name)
        if record:
            os.killpg(record.pid, signal_number)

    def stop_all(self, *, grace: float = 10) -> None:
        """Stops every program, the last started first."""
        for name in reversed(self.names()):
            self.stop(name, grace=grace)

    def names(self) -> list[str]:
        """Every program that was started and not stopped, running or crashed, in the order of starting."""
        records = {file.stem: _read(file) for file in self.records.glob("*.json")}
        return sorted(records, key=lambda name: records[name].order)

    def is_running(self, name: str) -> bool:
        return self._running(name) is not None

    def pid(self, name: str) -> int | None:
        """None when it is not running."""
        record = self._running(name)
        return record.pid if record else None

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _running(self, name: str) -> Record | None:
        file = self._file(name)
        if not file.exists():
            return None
        record = _read(file)
        return record if started_at(record.pid) == record.started else None

    def _gone_within(self, name: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.is_running(name):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _next_order(self) -> int:
        return max((_read(file).order for file in self.records.glob("*.json")), default=0) + 1

    def _file(self, name: str) -> Path:
        return self.records / f"{name}.json"


# Children of this very program must be reaped, or they stay as zombies until it ends.
_children: dict[int, subprocess.Popen[bytes]] = {}


def started_at(pid: int) -> int | None:
    """Clock ticks after boot at which the process started; None when there is no such process (zombies are dead)."""
    child = _children.get(pid)
    if child and child.poll() is not None:
        del _children[pid]
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The program's name may hold spaces and parentheses: the fields are counted from the last one.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])


def _read(file: Path) -> Record:
    return Record(**json.loads(file.read_text()))


def _write(file: Path, record: Record) -> None:
    partial = file.with_suffix(".partial")
    partial.touch(mode=0o600)  # The environment may hold a secret.
    partial.write_text(json.dumps(asdict(record)))
    partial.replace(file)


def _rotate(log: Path) -> None:
    """NAME.log becomes NAME.log.1, and so on; the oldest is dropped."""
    for number in range(LOGS_KEPT, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        newer = log if number == 1 else log.with_name(f"{log.name}.{number - 1}")
        if newer.exists():
            newer.replace(older)
