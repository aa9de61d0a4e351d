"""An event loop whose clock jumps to the next timer, so that hours of waiting take no time and happen exactly."""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 1,000 s; `jump` moves its clock as a suspended process would find it moved."""

    def __init__(self) -> None:
        self._virtual_now = 1000.0
        super().__init__(_JumpingSelector(self.jump))

    def time(self) -> float:
        return self._virtual_now

    def jump(self, seconds: float) -> None:
        self._virtual_now += seconds


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events:
            return events
        assert timeout is not None, "everything waits and no timer is set: this would wait for ever"
        self._jump(max(timeout, 0.0))
        return events


def virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run the async test on a loop of its own with virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def loop() -> VirtualLoop:
    """Return the running loop of a `virtual_time` test."""
    running = asyncio.get_running_loop()
    assert isinstance(running, VirtualLoop)
    return running


async def until(condition: Callable[[], bool], limit: float = 60.0) -> float:
    """Wait until the condition holds, look every 0.1 s, and return the virtual seconds it took."""
    start = loop().time()
    while not condition():
        assert loop().time() - start < limit, f"not within {limit} s"
        await asyncio.sleep(0.1)
    return loop().time() - start
