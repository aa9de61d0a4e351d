"""How far loading models have come: their pods are asked every few seconds, and a change wakes a pass."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from penstock.kube.pod_access import Address
from penstock.observed.values import Progress
from penstock.pods.client import PodClient
from penstock.watch.store import Key

_EVERY_SECONDS: Final = 3.0


@dataclass(slots=True)
class _Loading:
    """Pods of one revision of a service. `progress` is what they answered last, None before the first answer."""

    revision: str
    pods: Sequence[Address]
    task: asyncio.Task[None]
    progress: Progress | None = None


class Loading:
    """The services with loading pods, each asked by a task of its own."""

    def __init__(self, pod_client: PodClient, wake: Callable[[Key], None]) -> None:
        self._pod_client = pod_client
        self._wake = wake
        self._loading: dict[Key, _Loading] = {}

    def progress(self, key: Key, revision: str, pods: Sequence[Address]) -> Progress | None:
        """The last answer, of no pods nothing; None before the first answer. `pods` are the ones to ask from now on.

        Raises what asking has raised.
        """
        there = self._loading.get(key)
        if there is not None and (there.revision != revision or not pods):
            self.forget(key)
            there = None
        if not pods or not self._pod_client.can_reach_pods:
            return Progress()
        if there is None:
            self._loading[key] = _Loading(revision, pods, asyncio.ensure_future(self._poll(key)))
            return None
        if there.task.done():
            self.forget(key)  # to be asked anew
            there.task.result()
        there.pods = pods
        return there.progress

    def forget(self, key: Key) -> None:
        """When no pods are loading, or the service is gone."""
        there = self._loading.pop(key, None)
        if there is not None:
            there.task.cancel()

    async def close(self) -> None:
        """Ask nothing any more."""
        tasks = [each.task for each in self._loading.values()]
        for key in tuple(self._loading):
            self.forget(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _poll(self, key: Key) -> None:
        there = self._loading[key]
        while True:
            progress = await self._pod_client.progress(there.pods)
            if progress != there.progress:
                there.progress = progress
                self._wake(key)
            await asyncio.sleep(_EVERY_SECONDS)
