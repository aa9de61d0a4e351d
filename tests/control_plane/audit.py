"""What the API server recorded of who asked for what."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Right = tuple[str, str, str]  # group, resource, verb
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


def rights(roles: list[dict[str, Any]]) -> set[Right]:
    """What these Roles and ClusterRoles grant."""
    return {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(requests: list[Request]) -> set[Right]:
    """What the requests needed: a server-side apply is a patch, and a create where it made the object."""
    # Which versions and groups there are, every ServiceAccount may ask.
    asked = {(r.group, r.resource, r.verb) for r in requests if r.resource}
    made = {(r.group, r.resource, "create") for r in requests if r.verb == "patch" and r.code == 201}
    return asked | made
