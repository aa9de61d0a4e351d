"""When the operator is asked to wake a service. Pure.

The operator hears of the first ask by its watch; it is repeated because that write, or what came of it, may be lost.
"""

from typing import Final

# Of many requests that arrive, one asks.
ONCE_SECONDS: Final = 1.0
REPEAT_SECONDS: Final = 2.0
# The operator has heard; this one is for its own loss of memory.
REPEAT_WHILE_WAKING_SECONDS: Final = 30.0


def on_arrival(asked: float | None, now: float, *, is_waking: bool) -> bool:
    """Whether a request that arrives asks. `asked` is when the last ask was made."""
    return not is_waking and (asked is None or now - asked >= ONCE_SECONDS)


def while_held(asked: float | None, now: float, *, is_waking: bool, has_pods: bool) -> bool:
    """Whether requests that are held ask again."""
    if has_pods:
        return False
    pause = REPEAT_WHILE_WAKING_SECONDS if is_waking else REPEAT_SECONDS
    return asked is None or now - asked >= pause
