"""Free TCP ports on this machine."""

import socket
from contextlib import ExitStack


def free(count: int) -> list[int]:
    """Ports that were free on 127.0.0.1 at the same moment, so that they differ from each other."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
