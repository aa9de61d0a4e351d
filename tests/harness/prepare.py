"""What `make` prepares before a cluster starts, one thing a call: `python -m tests.harness.prepare tools`.

Programs and the base image are made while there is no virtual environment yet, so each is imported by the one who needs
it.
"""

import sys
from collections.abc import Callable, Mapping

from tests.harness.progress import HarnessError, progress


def _tools() -> None:
    from tests.harness import tools  # noqa: PLC0415

    tools.ensure(*tools.FOR_TESTS)


def _base_image() -> None:
    from tests.harness import base_image, docker, packages  # noqa: PLC0415

    if not docker.answers():
        # The node's with them, for the same cluster: apt then waits for nobody later.
        packages.ensure(packages.IMAGES | packages.NODE)
        base_image.ensure()


def _images() -> None:
    from tests.harness import images  # noqa: PLC0415

    for name, dockerfile in images.DOCKERFILES.items():
        images.build(dockerfile, name)


def _model() -> None:
    from tests import models  # noqa: PLC0415

    models.smollm2()


STEPS: Mapping[str, Callable[[], None]] = {
    "tools": _tools,
    "base-image": _base_image,
    "images": _images,
    "model": _model,
}


def main(arguments: list[str]) -> int:
    """Returns the exit status: 0, or 1 with one line on stderr that says what is wrong."""
    if len(arguments) != 1 or arguments[0] not in STEPS:
        progress(f"usage: python -m tests.harness.prepare {'|'.join(STEPS)}")
        return 2
    try:
        STEPS[arguments[0]]()
    except HarnessError as error:
        progress(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
