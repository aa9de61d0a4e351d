"""Which container of a pod serves. Alone here, so that a command of the command line need not load the API's models."""

from typing import Any

from penstock import names
from penstock.kinds import Manifest


def serving_container(of: Manifest) -> dict[str, Any]:
    """The container that serves, of a template of ours or of a pod, wherever a webhook has put containers of its own.

    Templates of older versions do not name it. There it is the one of our server's name, or with the port that requests
    go to; without either sign, the first.
    """
    containers: list[dict[str, Any]] = of["spec"]["containers"]
    named = (of["metadata"].get("annotations") or {}).get(names.ANNOTATION_DEFAULT_CONTAINER)
    by_name = {each.get("name"): each for each in containers}
    has_port = (each for each in containers if any(port.get("name") == names.PORT for port in each.get("ports") or []))
    return by_name.get(named) or by_name.get(names.CONTAINER) or next(has_port, containers[0])
