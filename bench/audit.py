"""Requests, counted where they are answered: in the API server's audit log."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True)
class Requests:
    """How many requests each client sent, by (client, verb, resource)."""

    counts: Counter[tuple[str, str, str]]

    @property
    def total(self) -> int:
        return self.counts.total()

    def of(self, client: str) -> int:
        return sum(number for (name, _, _), number in self.counts.items() if name == client)

    def per(self, services: int) -> dict[str, Any]:
        """Requests per service: of all, of each client, and each client's by verb and resource."""
        clients = sorted({client for client, _, _ in self.counts}, key=lambda client: -self.of(client))
        return {
            "all clients": round(self.total / services, 2),
            "by client": {client: round(self.of(client) / services, 2) for client in clients},
            "by verb and resource": {client: self._by_verb(client, services) for client in clients},
        }

    def _by_verb(self, client: str, services: int) -> dict[str, float]:
        mine = [(f"{verb} {resource}", n) for (name, verb, resource), n in self.counts.most_common() if name == client]
        return {what: round(number / services, 2) for what, number in mine if number >= services / 100}


@dataclass(frozen=True)
class AuditLog:
    """The log of an API server of ours; a place in it is a number of bytes."""

    path: Path

    def here(self) -> int:
        return self.path.stat().st_size

    def since(self, start: int) -> Requests:
        with self.path.open("rb") as log:
            log.seek(start)
            written = log.read(self.here() - start)
        lines = written[: written.rfind(b"\n") + 1].splitlines()
        return Requests(Counter(_request(json.loads(line)) for line in lines))


def _request(event: dict[str, Any]) -> tuple[str, str, str]:
    about = event.get("objectRef", {})
    parts = [about.get("resource", event["requestURI"]), about.get("subresource")]
    return _client(event["user"]["username"]), event["verb"], "/".join(part for part in parts if part)


def _client(user: str) -> str:
    """A service account by its own name: each controller of the controller manager has one."""
    return user.rsplit(":", 1)[-1] if user.startswith(_ACCOUNT) else user.removeprefix("system:")
