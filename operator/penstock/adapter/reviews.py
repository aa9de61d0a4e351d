"""Whether a user may read a metric: the API server's own word, remembered for a few seconds."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from penstock.adapter.front_proxy import User

# As Kubernetes' own webhook authorizer remembers, only shorter: the autoscaler asks every few seconds.
_ALLOWED_SECONDS: Final = 60.0
_DENIED_SECONDS: Final = 10.0
_MOST: Final = 4096


class Reviews:
    """`review` asks the API server; it raises errors.ApiError or errors.Unreachable."""

    def __init__(self, review: Callable[[dict[str, Any]], Awaitable[bool]], monotonic: Callable[[], float]) -> None:
        self._review = review
        self._monotonic = monotonic
        self._known: OrderedDict[tuple[User, tuple[tuple[str, str], ...]], tuple[bool, float]] = OrderedDict()

    async def is_allowed(self, user: User, attributes: Mapping[str, str]) -> bool:
        key = user, tuple(sorted(attributes.items()))
        known = self._known.get(key)
        if known is not None and self._monotonic() < known[1]:
            return known[0]
        allowed = await self._review(user.review(attributes))
        self._known[key] = allowed, self._monotonic() + (_ALLOWED_SECONDS if allowed else _DENIED_SECONDS)
        self._known.move_to_end(key)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return allowed
