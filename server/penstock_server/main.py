"""`penstock-server`: load one model, serve it, drain on SIGTERM.

Exit codes (the reason is in the termination log):
    0  drained after SIGTERM or SIGINT
    1  an unexpected exception
    2  InvalidArguments
    3  the model could not be fetched (ModelDownloadFailed, ModelDownloadStalled, NotEnoughDisk, InvalidStorageUri)
    4  ModelLoadFailed: files that do not load, or a first inference that fails
    5  UnsupportedModel
    6  CannotListen
"""

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point."""
    # Set a handler before the imports, which take a second: the kernel sends a container's first process no signal
    # without a handler, and a pod deleted meanwhile would wait out its grace period. There is nothing to drain yet.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    from penstock_server.lifecycle import run  # noqa: PLC0415

    run(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    main()
