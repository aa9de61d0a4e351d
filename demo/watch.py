"""What a person wants to know of a service that is coming up, line by line, and of one that does not."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.harness import release
from tests.harness.cluster import Cluster, KubectlError

POLL_SECONDS = 0.5
Status = dict[str, Any]
_WORDS = (
    "{range .status.blockedBy[*]}{.reason} on {.object}: {.message}{'\\n'}{end}"
    "{range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{'\\n'}{end}"
)


class NotServing(Exception):
    """The service cannot become ready by itself, or has not in time."""


def wait_until_ready(cluster: Cluster, name: str, *, generation: int, seconds: float) -> Iterator[str]:
    """Yields a line whenever the service has something new to say; ends when it is Ready. Raises NotServing."""

    def is_ready(status: Status) -> bool:
        if status.get("observedGeneration") != generation:
            return False
        if condition(status, "Ready").get("status") != "True" and condition(status, "Stalled").get("status") == "True":
            raise NotServing(condition(status, "Stalled")["message"])
        return condition(status, "Ready").get("status") == "True"

    return follow(cluster, name, summary, is_ready, seconds=seconds, else_say=f"{name} was not ready")


def follow(
    cluster: Cluster,
    name: str,
    describe: Callable[[Status], str],
    is_over: Callable[[Status], bool],
    *,
    seconds: float,
    else_say: str,
) -> Iterator[str]:
    """Yields the description of the status whenever that changes, until it is over. Raises NotServing."""
    deadline, told = time.monotonic() + seconds, ""
    while True:
        status = read(cluster, name)
        line = describe(status)
        if line != told:
            told = line
            yield line
        if is_over(status):
            return
        if time.monotonic() > deadline:
            raise NotServing(f"{else_say} within {seconds:.0f} s")
        # kubectl itself takes longer: the pause is for the machine, not for the answer.
        time.sleep(POLL_SECONDS)


def read(cluster: Cluster, name: str) -> Status:
    status: Status = json.loads(cluster.kubectl("get", "isvc", name, "--output=json")).get("status", {})
    return status


def condition(status: Status, kind: str) -> dict[str, str]:
    """The condition of that type; empty while nobody has written it."""
    return next((each for each in status.get("conditions", []) if each["type"] == kind), {})


def summary(status: Status) -> str:
    """The status in one line: phase, the download if there is one, what stands in the way."""
    parts = [status.get("phase") or "not seen by the operator yet"]
    download = status.get("download") or {}
    if download.get("totalBytes"):
        parts.append(f"{download['bytes'] / 1e6:.0f} of {download['totalBytes'] / 1e6:.0f} MB fetched")
    parts += [f"{each['reason']}: {each['message']}" for each in status.get("blockedBy", [])]
    return " · ".join(parts)


def explanation(cluster: Cluster, name: str) -> str:
    """Everything that explains why a service does not come up: its own words, Events, and the last lines of logs."""
    selector = f"serving.penstock.dev/inferenceservice={name}"
    sections = {
        "The service says": ("get", "isvc", name, f"--output=jsonpath={_WORDS}"),
        "Warnings": ("events", "--types=Warning"),
        "Pods": ("get", "pods", f"--selector={selector}", "--output=wide"),
        "The model server's log": ("logs", f"--selector={selector}", "--tail=20", "--prefix", "--all-containers"),
        "The operator's log": ("logs", release.OPERATOR, f"--namespace={release.NAMESPACE}", "--tail=20", "--prefix"),
    }
    return "\n\n".join(f"{title}:\n{_tried(cluster, command)}" for title, command in sections.items())


def _tried(cluster: Cluster, command: tuple[str, ...]) -> str:
    try:
        return cluster.kubectl(*command).strip() or "(nothing)"
    except KubectlError as error:
        return str(error)
