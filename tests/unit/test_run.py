"""How the parts of the operator are put together, as far as that shows without a cluster."""

from typing import cast

import pytest
from penstock.controller.run import Parts, _others, _reflectors
from penstock.controller.settings import Settings
from penstock.kinds import NODE
from penstock.kube.api_server import ApiServer
from penstock.kube.workqueue import WorkQueue
from penstock.metrics import Metrics, Snapshot
from penstock.watch.store import Store


async def test_nodes_are_watched_once_however_many_namespaces_are() -> None:
    """A check of the nodes of one namespace would find none of them, and have the process restarted for it."""
    metrics = Metrics(lambda: Snapshot(is_leader=False, queue_depth=0, services_by_phase={}, objects_by_kind={}))
    server = cast("ApiServer", None)
    parts = Parts(Settings(namespaces=("red", "blue")), Store(), WorkQueue(), metrics, server)
    parts.store.put(NODE, {"metadata": {"name": "a", "resourceVersion": "7"}})
    watching = [each for each in _reflectors(parts) if each.kind is NODE]
    assert len(watching) == 1
    assert list(parts.store.versions(NODE, watching[0].namespace).values()) == [7]


@pytest.mark.parametrize(("workers", "others"), [(1, 1), (2, 1), (4, 3), (16, 8), (32, 8), (256, 64)])
def test_some_workers_are_kept_for_rollouts_under_way_and_most_of_few_are_not(workers: int, others: int) -> None:
    assert _others(workers) == others
