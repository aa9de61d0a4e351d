import asyncio
from collections.abc import Callable, Coroutine
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock.kube.leader import LeaderElection, LeaseConflict, LeaseLost, LeaseTiming
from penstock.kube.release import Lease, Release

from tests.virtual_time import loop, until, virtual_time

T = TypeVar("T")

T0 = datetime(2026, 1, 1, tzinfo=UTC)


class Server:
    """One lease behind optimistic concurrency, as the API server keeps it."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.version = 0

    def put(self, lease: Lease) -> Lease:
        self.version += 1
        self.lease = deepcopy(lease)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return deepcopy(self.lease)

    @property
    def spec(self) -> dict[str, Any]:
        assert self.lease is not None
        spec: dict[str, Any] = self.lease["spec"]
        return spec


class Connection:
    """One candidate's way to the server: it can break, hang, or lose answers on their way back."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.fault: str | None = None  # down, hangs or loses-answers
        self.calls: list[str] = []

    async def get(self, namespace: str, name: str) -> Lease | None:
        assert (namespace, name) == ("penstock-system", "penstock")
        return await self._call("get", lambda: deepcopy(self.server.lease))

    async def create(self, lease: Lease) -> Lease:
        def create() -> Lease:
            if self.server.lease is not None:
                raise LeaseConflict
            return self.server.put(lease)

        return await self._call("create", create)

    async def replace(self, lease: Lease) -> Lease:
        def replace() -> Lease:
            if self.server.lease is None or lease["metadata"]["resourceVersion"] != str(self.server.version):
                raise LeaseConflict
            return self.server.put(lease)

        return await self._call("update", replace)

    async def of_all_releases(self) -> list[Lease]:
        return await self._call("list", lambda: [deepcopy(self.server.lease)] if self.server.lease else [])

    async def may_serve(self, release: Release, namespace: str) -> bool:
        raise AssertionError("there is no other release")

    async def _call(self, verb: str, act: Callable[[], T]) -> T:
        self.calls.append(verb)
        await asyncio.sleep(0.01)
        if self.fault == "down":
            raise OSError("connection refused")
        if self.fault == "hangs":
            await asyncio.sleep(3600)
        answer = act()
        if self.fault == "loses-answers":
            raise OSError("connection reset")
        return answer


def wall_clock() -> datetime:
    return T0 + timedelta(seconds=loop().time())


class Candidate:
    """An operator that takes part in the election and does nothing while leading."""

    def __init__(self, server: Server, identity: str, now: Callable[[], datetime] = wall_clock) -> None:
        self.connection = Connection(server)
        self.election = LeaderElection(
            self.connection,
            release=Release("penstock-system", "penstock", "penstock"),
            identity=identity,
            now=now,
            chance=lambda: 1.0,
        )
        self.works = False
        self.task: asyncio.Task[None] | None = None

    def start(self, lead: Callable[[], Coroutine[Any, Any, None]] | None = None) -> "Candidate":
        self.task = asyncio.create_task(self.election.run(lead or self.work))
        return self

    async def work(self) -> None:
        self.works = True
        try:
            await asyncio.sleep(1_000_000)
        finally:
            self.works = False

    async def exit(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait({self.task})

    def kill(self) -> None:
        """End as SIGKILL does: nothing reaches the server any more."""
        self.connection.fault = "down"


async def a_leader(server: Server, identity: str = "one", **kwargs: Any) -> Candidate:
    candidate = Candidate(server, identity, **kwargs).start()
    await until(lambda: candidate.works)
    return candidate


async def a_standby(server: Server, identity: str = "two", **kwargs: Any) -> Candidate:
    candidate = Candidate(server, identity, **kwargs).start()
    await asyncio.sleep(5)
    assert not candidate.works
    return candidate


@virtual_time
async def test_the_first_candidate_creates_the_lease_and_leads() -> None:
    server = Server()
    leader = await a_leader(server)
    assert leader.election.is_leader
    assert server.spec["holderIdentity"] == "one"
    assert server.spec["leaseDurationSeconds"] == 15
    assert server.spec["leaseTransitions"] == 0
    assert server.spec["acquireTime"] == "2026-01-01T00:16:40.020000Z"
    await leader.exit()


@virtual_time
async def test_of_two_candidates_one_leads() -> None:
    server = Server()
    one, two = Candidate(server, "one").start(), Candidate(server, "two").start()
    await asyncio.sleep(300)
    assert [one.works, two.works].count(True) == 1
    assert one.election.is_leader == one.works
    assert server.spec["leaseTransitions"] == 0
    await one.exit()
    await two.exit()


@virtual_time
async def test_a_clean_exit_hands_over_within_three_seconds() -> None:
    server = Server()
    one, two = await a_leader(server), await a_standby(server)
    await one.exit()
    assert server.spec["holderIdentity"] == ""
    assert await until(lambda: two.works) < 3
    assert server.spec["leaseTransitions"] == 1
    await two.exit()


@virtual_time
async def test_a_killed_leader_is_replaced_within_twenty_seconds_but_not_before_its_lease_is_over() -> None:
    server = Server()
    one, two = await a_leader(server), await a_standby(server)
    one.kill()
    assert 13 < await until(lambda: two.works) < 20
    await two.exit()
    await one.exit()


@virtual_time
async def test_a_restarted_process_with_the_same_identity_leads_at_once() -> None:
    server = Server()
    before = await a_leader(server, "pod-1")
    before.kill()
    again = Candidate(server, "pod-1").start()
    assert await until(lambda: again.works) < 1
    await before.exit()
    await again.exit()


@pytest.mark.parametrize("fault", ["down", "hangs", "loses-answers"])
@virtual_time
async def test_a_leader_that_gets_no_answers_stops_within_the_renew_deadline(fault: str) -> None:
    server = Server()
    leader = await a_leader(server)
    await asyncio.sleep(60)
    leader.connection.fault = fault
    assert await until(lambda: not leader.works) <= 10.2
    assert not leader.election.is_leader
    assert leader.task is not None
    with pytest.raises(LeaseLost):
        await leader.task


@virtual_time
async def test_an_outage_shorter_than_the_deadline_costs_nothing() -> None:
    server = Server()
    leader = await a_leader(server)
    leader.connection.fault = "hangs"
    await asyncio.sleep(5)
    leader.connection.fault = None
    await asyncio.sleep(60)
    assert leader.works
    await leader.exit()


@virtual_time
async def test_a_renewal_whose_answer_was_lost_costs_nothing() -> None:
    server = Server()
    leader = await a_leader(server)
    leader.connection.fault = "loses-answers"
    await asyncio.sleep(3)
    leader.connection.fault = None
    await asyncio.sleep(60)
    assert leader.works
    await leader.exit()
    assert server.spec["holderIdentity"] == ""


@virtual_time
async def test_a_leader_whose_lease_was_taken_stops_at_its_next_renewal_and_leaves_the_lease_alone() -> None:
    server = Server()
    leader = await a_leader(server)
    await asyncio.sleep(10)
    assert server.lease is not None
    server.put({**server.lease, "spec": {**server.spec, "holderIdentity": "thief"}})
    assert await until(lambda: not leader.works) < 5
    assert leader.task is not None
    with pytest.raises(LeaseLost):
        await leader.task
    assert server.spec["holderIdentity"] == "thief"


@virtual_time
async def test_an_edit_of_the_lease_that_leaves_the_holder_costs_nothing() -> None:
    server = Server()
    leader = await a_leader(server)
    assert server.lease is not None
    server.put({**server.lease, "metadata": {**server.lease["metadata"], "labels": {"edited": "yes"}}})
    await asyncio.sleep(60)
    assert leader.works
    assert server.lease["metadata"]["labels"]["edited"] == "yes"
    await leader.exit()


@virtual_time
async def test_a_lease_deleted_under_its_leader_is_created_again() -> None:
    server = Server()
    leader = await a_leader(server)
    server.lease = None
    await asyncio.sleep(10)
    assert leader.works
    assert server.spec["holderIdentity"] == "one"
    await leader.exit()


@pytest.mark.parametrize("skew", [timedelta(days=-1), timedelta(days=1)], ids=["behind", "ahead"])
@virtual_time
async def test_a_standby_whose_wall_clock_is_wrong_takes_nothing(skew: timedelta) -> None:
    server = Server()
    one = await a_leader(server)
    two = await a_standby(server, now=lambda: wall_clock() + skew)
    await asyncio.sleep(300)
    assert one.works
    assert not two.works
    await two.exit()
    await one.exit()


@virtual_time
async def test_a_process_that_was_suspended_past_its_deadline_does_not_think_it_leads() -> None:
    leader = await a_leader(Server())
    loop().jump(60)
    assert not leader.election.is_leader
    await leader.exit()


@virtual_time
async def test_leading_costs_one_write_and_no_read_per_retry_period() -> None:
    leader = await a_leader(Server())
    leader.connection.calls.clear()
    await asyncio.sleep(20.5)
    assert leader.connection.calls.count("update") in (9, 10)
    assert set(leader.connection.calls) == {"update"}
    await leader.exit()


@virtual_time
async def test_work_that_ends_by_itself_releases_the_lease() -> None:
    server = Server()
    candidate = Candidate(server, "one").start(lambda: asyncio.sleep(30))
    assert candidate.task is not None
    await candidate.task
    assert server.spec["holderIdentity"] == ""
    assert server.spec["leaseDurationSeconds"] == 1


@virtual_time
async def test_an_error_of_the_work_releases_the_lease_and_is_passed_on() -> None:
    server = Server()

    async def fail() -> None:
        raise RuntimeError("broken watch")

    candidate = Candidate(server, "one").start(fail)
    assert candidate.task is not None
    with pytest.raises(RuntimeError, match="broken watch"):
        await candidate.task
    assert server.spec["holderIdentity"] == ""


@virtual_time
async def test_the_lease_is_kept_until_cancelled_work_has_stopped() -> None:
    server = Server()
    holder_at_the_end = ""

    async def slow_to_stop() -> None:
        nonlocal holder_at_the_end
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(3)
            holder_at_the_end = server.spec["holderIdentity"]

    candidate = Candidate(server, "one").start(slow_to_stop)
    await asyncio.sleep(10)
    await candidate.exit()
    assert holder_at_the_end == "one"
    assert server.spec["holderIdentity"] == ""


@virtual_time
async def test_a_standby_that_exits_leaves_the_leader_s_lease_alone() -> None:
    server = Server()
    one, two = await a_leader(server), await a_standby(server)
    await two.exit()
    assert server.spec["holderIdentity"] == "one"
    await asyncio.sleep(30)
    assert one.works
    await one.exit()


@pytest.mark.parametrize("times", [(10, 10, 2), (15, 10, 9), (15, 10, 0)], ids=str)
def test_durations_that_could_let_two_lead_are_refused(times: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="duration > renew deadline"):
        LeaseTiming(*times)


FAULTS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([None, "down", "hangs", "loses-answers"]), st.floats(0.1, 30)),
    max_size=12,
)


@given(faults=FAULTS)
@settings(max_examples=60)
@virtual_time
async def test_no_outage_makes_two_lead_at_once(faults: list[tuple[int, str | None, float]]) -> None:
    server = Server()
    candidates = [Candidate(server, identity) for identity in ("one", "two", "three")]

    async def live(candidate: Candidate) -> None:
        # A candidate that lost its lease is restarted, as the kubelet would.
        while True:
            candidate.start()
            assert candidate.task is not None
            await asyncio.wait({candidate.task})
            assert isinstance(candidate.task.exception(), LeaseLost)

    async def watch() -> None:
        while True:
            assert sum(candidate.works for candidate in candidates) <= 1
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    living = [asyncio.create_task(live(candidate)) for candidate in candidates]
    for number, fault, seconds in faults:
        candidates[number].connection.fault = fault
        await asyncio.sleep(seconds)
    for candidate in candidates:
        candidate.connection.fault = None
    await until(lambda: any(candidate.works for candidate in candidates), limit=30)
    assert not watching.done()
    for task in (watching, *living):
        task.cancel()
    await asyncio.wait({watching, *living})
    for candidate in candidates:
        await candidate.exit()
