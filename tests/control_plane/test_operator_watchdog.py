"""The check on the watches, against what a real API server lists."""

import asyncio
from contextlib import suppress

from penstock.kinds import CHILDREN, INFERENCE_SERVICE
from penstock.kube.api_server import connect
from penstock.kube.throttle import TokenBucket
from penstock.metrics import Metrics, Snapshot
from penstock.watch.store import Store
from penstock.watch.watchdog import Watchdog, Watched

from tests.control_plane.operator_process import Installation


async def test_a_kind_of_which_there_is_nothing_is_nothing_to_fail_on(own_installation: Installation) -> None:
    metrics = Metrics(lambda: Snapshot(is_leader=True, queue_depth=0, services_by_phase={}, objects_by_kind={}))
    async with connect(metrics, TokenBucket(100, 100), str(own_installation.kubeconfig)) as server:
        watchdog = Watchdog(server, Store(), enqueue=lambda _: None, interval=0.01)
        for kind in (INFERENCE_SERVICE, *CHILDREN):
            pages = server.pages(kind, own_installation.namespace, metadata_only=True)
            assert [page["items"] async for page in pages] == [[]]
            # It would end with the error.
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await watchdog.guard(Watched(kind, own_installation.namespace))
