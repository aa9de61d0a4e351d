"""What every long-running process of ours does the same: it ends at a signal, or when a part of it ends."""

import asyncio
import resource
import signal
from collections.abc import Coroutine, Iterable
from typing import Any


def on_signal() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def run_until(ending: Coroutine[Any, Any, None], parts: Iterable[asyncio.Task[None]]) -> None:
    """Run the parts until `ending` is over. Raises what ended a part: none of them may end."""
    stopping = asyncio.create_task(ending, name="stopping")
    everything: list[asyncio.Task[None]] = [*parts, stopping]
    try:
        done, _ = await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in everything:
            task.cancel()
        await asyncio.gather(*everything, return_exceptions=True)
    for task in done:
        task.result()
        if task is not stopping:
            raise RuntimeError(f"{task.get_name()} ended")


def raise_open_files() -> None:
    """To the most that is allowed: each connection is an open file, and a container may begin with 1,024 of them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
