"""How far the server has come between its start and its first answer."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from penstock_server.engine.protocol import EncodingEngine, EngineStats, TextEngine

AnyEngine = TextEngine | EncodingEngine
# One step of a large model over a long prompt on a small CPU takes minutes; a wedged one never ends.
LONGEST_STEP_SECONDS = 600.0


class State(StrEnum):
    """Stages, in order."""

    DOWNLOADING = "downloading"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Status:
    """The body of /startupz."""

    state: State = State.DOWNLOADING
    downloaded_bytes: int = 0
    total_bytes: int | None = None  # None until the source was listed
    bytes_per_second: float = 0.0  # of this download, since its first report
    loaded_bytes: int = 0
    message: str = ""

    def body(self) -> dict[str, Any]:
        """As JSON, in the operator's spelling."""
        return {
            "state": str(self.state),
            "downloadedBytes": self.downloaded_bytes,
            "totalBytes": self.total_bytes,
            "bytesPerSecond": round(self.bytes_per_second),
            "loadedBytes": self.loaded_bytes,
            "message": self.message,
        }


class Served:
    """The one model of this process: its status, and its engine once there is one."""

    def __init__(self) -> None:
        self.status = Status()
        self.engine: AnyEngine | None = None

    def advance(self, **changes: Any) -> None:
        """Replace the status. Called from the loading thread, too: readers see the old value or the new."""
        self.status = replace(self.status, **changes)

    @property
    def is_ready(self) -> bool:
        """Loaded, one real inference done, and the engine still moves."""
        return self.status.state is State.READY and self.is_alive

    @property
    def is_alive(self) -> bool:
        """Whether waiting longer can help: still loading, or the engine's heartbeat is young."""
        return self.engine is None or moves(self.engine.stats())


def moves(stats: EngineStats) -> bool:
    """A full queue or a long step is no reason to be restarted; an ended or wedged loop is."""
    return stats.alive and stats.heartbeat_age < LONGEST_STEP_SECONDS
