"""What the API server recorded of who asked for what."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Request:
    """One request that the API server has answered."""

    user: str
    verb: str
    group: str
    resource: str  # with its subresource: "inferenceservices/status"
    namespace: str
    name: str
    code: int
    uri: str

    @property
    def is_write(self) -> bool:
        return self.verb in WRITES


class Audit:
    """The log from now on."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._start = log.stat().st_size

    def requests(self, user: str) -> list[Request]:
        """Those of one user. The API server writes each as it is answered; a watch when it begins and when it ends."""
        with self._log.open("rb") as log:
            log.seek(self._start)
            lines = log.read().decode().split("\n")
        # The last one may not be whole yet.
        return [_request(event) for line in lines[:-1] if (event := json.loads(line))["user"]["username"] == user]


def _request(event: dict[str, Any]) -> Request:
    about = event.get("objectRef", {})
    parts = [part for part in (about.get("resource"), about.get("subresource")) if part]
    return Request(
        user=event["user"]["username"],
        verb=event["verb"],
        group=about.get("apiGroup", ""),
        resource="/".join(parts),
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        uri=event["requestURI"],
    )
