"""Several operators, one that acts."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from penstock.kinds import DEPLOYMENT

from tests.control_plane.objects import Objects, assert_condition
from tests.control_plane.operator_process import Installation, Operator
from tests.control_plane.waiting import eventually, throughout


@pytest.fixture
def pair(own_installation: Installation, tmp_path: Path) -> Iterator[tuple[Operator, Operator]]:
    """A leader and a standby that knows as much."""
    leader, standby = Operator(own_installation, tmp_path), Operator(own_installation, tmp_path)
    leader.start().wait_until_leading()
    standby.start().wait_until_synced()
    yield leader, standby
    for each in (leader, standby):
        each.end()
        print(each.tail())


def writes(operator: Operator) -> float:
    """Everything that it ever wrote, its attempts at the lease aside: those it only reads while another leads."""
    verbs = ("apply", "patch", "create", "update", "delete")
    return sum(operator.metric("penstock_api_requests_total", verb=verb) for verb in verbs)


def acts(objects: Objects, name: str) -> None:
    objects.delete(DEPLOYMENT, f"{name}-blue")
    eventually(lambda: objects.get(DEPLOYMENT, f"{name}-blue"), within=2)


def test_the_standby_writes_nothing_and_takes_over_at_once_when_the_leader_is_told_to_go(
    own_objects: Objects, pair: tuple[Operator, Operator], name: str
) -> None:
    leader, standby = pair
    own_objects.serve(name)
    eventually(lambda: assert_condition(own_objects.service(name), "Ready", "True"))
    # Two of the leader's renewals: the standby sees a living lease, and leaves it alone.
    throughout(lambda: assert_follows(standby), seconds=5)
    assert writes(leader) > 0

    assert leader.stop() == 0
    standby.wait_until_leading(within=4)
    acts(own_objects, name)


def assert_follows(standby: Operator) -> None:
    assert standby.metric("penstock_leader") == 0
    assert writes(standby) == 0


def test_the_standby_takes_over_from_a_leader_that_was_killed(
    own_objects: Objects, pair: tuple[Operator, Operator], name: str
) -> None:
    leader, standby = pair
    own_objects.serve(name)
    eventually(lambda: assert_condition(own_objects.service(name), "Ready", "True"))
    leader.kill()
    killed = time.monotonic()
    own_objects.delete(DEPLOYMENT, f"{name}-blue")
    eventually(lambda: own_objects.get(DEPLOYMENT, f"{name}-blue"), within=20)
    assert time.monotonic() - killed < 20
    assert standby.metric("penstock_leader") == 1


def test_a_leader_that_cannot_renew_stops_before_another_may_start(
    own_objects: Objects, own_installation: Installation, tmp_path: Path, name: str
) -> None:
    """Stopped for longer than its lease and woken again: it must not write a thing on what it then knows."""
    short = {"DURATION_SECONDS": "4", "RENEW_DEADLINE_SECONDS": "3", "RETRY_SECONDS": "1"}
    lease = {f"PENSTOCK_LEASE_{key}": value for key, value in short.items()}
    leader, standby = Operator(own_installation, tmp_path, lease), Operator(own_installation, tmp_path, lease)
    leader.start().wait_until_leading()
    own_objects.serve(name)
    eventually(lambda: assert_condition(own_objects.service(name), "Ready", "True"))
    standby.start().wait_until_synced()
    leader.freeze()
    standby.wait_until_leading()
    leader.thaw()
    assert leader.wait() == 1
    acts(own_objects, name)
    standby.end()
