"""Several releases, each with a lease of its own: of those that share a namespace one leads."""

import asyncio
from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock.kube.leader import LeaderElection, LeaseConflict, LeaseLost
from penstock.kube.release import SELECTOR, Lease, Release

from tests.virtual_time import until, virtual_time

T = TypeVar("T")


class Server:
    """The leases of all namespaces, and which ServiceAccounts may write services."""

    def __init__(self) -> None:
        self.leases: dict[tuple[str, str], Lease] = {}
        self.version = 0
        self.strangers: set[str] = set()  # namespaces whose ServiceAccounts may not

    def put(self, lease: Lease) -> Lease:
        self.version += 1
        stored = deepcopy(lease)
        stored["metadata"]["resourceVersion"] = str(self.version)
        self.leases[lease["metadata"]["namespace"], lease["metadata"]["name"]] = stored
        return deepcopy(stored)

    def holder(self, namespace: str) -> str:
        held: str = self.leases[namespace, "penstock"]["spec"]["holderIdentity"]
        return held


class Connection:
    """One candidate's way to the server."""

    def __init__(self, server: Server, delay: float = 0.01) -> None:
        self.server = server
        self.delay = delay
        self.fault: str | None = None  # down or loses-answers
        self.calls: list[str] = []

    async def get(self, namespace: str, name: str) -> Lease | None:
        return await self._call("get", lambda: deepcopy(self.server.leases.get((namespace, name))))

    async def create(self, lease: Lease) -> Lease:
        return await self._call("create", lambda: self._put(lease, None))

    async def replace(self, lease: Lease) -> Lease:
        return await self._call("update", lambda: self._put(lease, lease["metadata"]["resourceVersion"]))

    async def of_all_releases(self) -> list[Lease]:
        return await self._call("list", lambda: deepcopy(list(self.server.leases.values())))

    async def may_serve(self, release: Release, namespace: str) -> bool:
        return await self._call("review", lambda: release.namespace not in self.server.strangers)

    def _put(self, lease: Lease, version: str | None) -> Lease:
        known = self.server.leases.get((lease["metadata"]["namespace"], lease["metadata"]["name"]))
        if (known["metadata"]["resourceVersion"] if known else None) != version:
            raise LeaseConflict
        return self.server.put(lease)

    async def _call(self, verb: str, act: Callable[[], T]) -> T:
        self.calls.append(verb)
        await asyncio.sleep(self.delay)
        if self.fault == "down":
            raise OSError("connection refused")
        answer = act()
        await asyncio.sleep(self.delay)
        if self.fault == "loses-answers":
            raise OSError("connection reset")
        return answer


class Candidate:
    """A replica of the release in that namespace."""

    def __init__(
        self, server: Server, namespace: str, *serves: str, replica: str = "0", delay: float = 0.01, chance: float = 0.5
    ) -> None:
        self.release = Release(namespace, "penstock", "penstock", frozenset(serves))
        self.connection = Connection(server, delay)
        self.refusals: list[str] = []
        self.works = False
        self.task: asyncio.Task[None] | None = None
        self.election = LeaderElection(
            self.connection,
            release=self.release,
            identity=f"{namespace}-{replica}",
            on_refused=self._hear,
            chance=lambda: chance,
        )

    def start(self) -> "Candidate":
        self.task = asyncio.create_task(self.election.run(self._work))
        return self

    async def exit(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait({self.task})

    async def _work(self) -> None:
        self.works = True
        try:
            await asyncio.sleep(1_000_000)
        finally:
            self.works = False

    async def _hear(self, why: str) -> None:
        self.refusals.append(why)


async def a_leader(server: Server, namespace: str, *serves: str) -> Candidate:
    candidate = Candidate(server, namespace, *serves).start()
    await until(lambda: candidate.works)
    return candidate


SCOPES = {
    "both serve all": ((), (), [""]),
    "one serves all": ((), ("red", "blue"), ["blue", "red"]),
    "the other serves all": (("red",), (), ["red"]),
    "two lists share one": (("red", "blue"), ("red", "green"), ["red"]),
    "two lists share none": (("red",), ("blue",), []),
}


@pytest.mark.parametrize(("ours", "theirs", "shared"), SCOPES.values(), ids=SCOPES.keys())
def test_two_releases_share_the_namespaces_that_both_serve(
    ours: tuple[str, ...], theirs: tuple[str, ...], shared: list[str]
) -> None:
    one, two = (Release(name, "penstock", "", frozenset(serves)) for name, serves in (("a", ours), ("b", theirs)))
    assert one.shared_with(two) == two.shared_with(one) == shared


@pytest.mark.parametrize("serves", [(), ("red",), ("red", "blue")], ids=str)
def test_a_lease_tells_its_release_and_keeps_what_others_wrote_on_it(serves: tuple[str, ...]) -> None:
    release = Release("a", "penstock", "operator", frozenset(serves))
    metadata = {"namespace": "a", "name": "penstock", "labels": {"x": "y"}, "annotations": {"x": "y"}}
    lease = release.marked({"metadata": metadata})
    assert Release.of(lease) == release
    assert {f"{name}={value}" for name, value in lease["metadata"]["labels"].items()} > set(SELECTOR.split(","))
    assert lease["metadata"]["annotations"]["x"] == "y"


@virtual_time
async def test_the_second_release_says_once_why_it_waits_and_follows_within_twenty_seconds() -> None:
    server = Server()
    first, second = await a_leader(server, "a"), Candidate(server, "b", "red").start()
    await asyncio.sleep(300)
    assert not second.works
    why = second.election.refusal
    assert second.refusals == [why]
    assert why.startswith("the release a/penstock serves all namespaces, this one serves red, and only one may act")
    assert why.endswith("uninstall one of them, or set their watchNamespaces so that they share none")
    assert ("b", "penstock") not in server.leases
    await first.exit()
    assert await until(lambda: second.works) < 20
    assert second.election.refusal == ""
    await second.exit()


@virtual_time
async def test_a_release_that_was_killed_is_followed_when_its_lease_is_over() -> None:
    server = Server()
    first, second = await a_leader(server, "a"), Candidate(server, "b").start()
    await asyncio.sleep(30)
    first.connection.fault = "down"
    assert 5 < await until(lambda: second.works) < 40
    assert not first.works
    await second.exit()
    await first.exit()


@virtual_time
async def test_the_standby_of_a_release_that_leads_is_not_refused_and_looks_for_no_others() -> None:
    server = Server()
    leader, standby = await a_leader(server, "a"), Candidate(server, "a", replica="1").start()
    await asyncio.sleep(30)
    assert standby.election.refusal == ""
    assert set(standby.connection.calls) == {"get"}
    await standby.exit()
    await leader.exit()


@virtual_time
async def test_every_replica_of_a_release_that_is_refused_says_so() -> None:
    server = Server()
    leader = await a_leader(server, "a")
    replicas = [Candidate(server, "b", replica=replica).start() for replica in "01"]
    await asyncio.sleep(30)
    assert [len(each.refusals) for each in replicas] == [1, 1]
    for each in (leader, *replicas):
        await each.exit()


@virtual_time
async def test_a_lease_that_nobody_with_rights_wrote_stops_no_release() -> None:
    """Who may write Leases in a namespace of their own must not hold up the operator of the whole cluster."""
    server = Server()
    server.strangers.add("tenant")
    forged = Release("tenant", "penstock", "default").marked({"metadata": {"namespace": "tenant", "name": "penstock"}})
    server.put({**forged, "spec": {"holderIdentity": "mallory", "leaseDurationSeconds": 10**6}})
    leader = await a_leader(server, "a")
    assert leader.refusals == []
    await leader.exit()


def forge(server: Server, namespace: str, number: int) -> None:
    """Leases of so many releases that say they serve everything, each by an account of its own."""
    server.strangers.add(namespace)
    for each in range(number):
        metadata = {"namespace": namespace, "name": f"a-{each}", "creationTimestamp": "2026-11-28T12:00:01Z"}
        forged = Release(namespace, f"a-{each}", f"account-{each}").marked({"metadata": metadata})
        server.put({**forged, "spec": {"holderIdentity": "mallory", "leaseDurationSeconds": 10**6}})


@virtual_time
async def test_a_thousand_forged_leases_in_each_of_twenty_namespaces_delay_an_operator_by_seconds() -> None:
    server = Server()
    for tenant in range(20):
        forge(server, f"tenant-{tenant}", 1000)
    began = asyncio.get_running_loop().time()
    leader = await a_leader(server, "a", "red", "blue")
    assert asyncio.get_running_loop().time() - began < 5
    assert leader.refusals == []
    await leader.exit()


@virtual_time
async def test_forged_leases_beside_a_release_do_not_hide_it() -> None:
    server = Server()
    first = await a_leader(server, "b")
    server.leases["b", "penstock"]["metadata"]["creationTimestamp"] = "2026-11-28T12:00:00Z"
    forge(server, "b", 100)
    server.strangers.clear()
    forge(server, "c", 100)
    second = Candidate(server, "z").start()
    await asyncio.sleep(20)
    assert not second.works
    assert "b/" in second.election.refusal
    for each in (first, second):
        await each.exit()


@virtual_time
async def test_a_replica_with_more_namespaces_gives_the_lease_back_to_one_that_may_act() -> None:
    """An upgrade that widens watchNamespaces into another release's: what serves already goes on serving."""
    server = Server()
    other, before = await a_leader(server, "b", "blue"), await a_leader(server, "a", "red")
    after = Candidate(server, "a", "red", "blue", replica="1").start()
    await asyncio.sleep(5)
    assert after.election.refusal == ""
    await before.exit()
    await asyncio.sleep(30)
    assert "b/penstock serves blue" in after.election.refusal
    assert server.holder("a") == ""
    again = await a_leader(server, "a", "red")
    assert other.works
    for each in (other, after, again):
        await each.exit()


@pytest.mark.parametrize("delay", [0.01, 0.3, 0.7])
@virtual_time
async def test_two_releases_that_start_at_the_same_time_end_with_one_that_leads(delay: float) -> None:
    server = Server()
    one = Candidate(server, "a", delay=delay, chance=0.2).start()
    two = Candidate(server, "b", delay=delay, chance=0.9).start()
    await until(lambda: one.works or two.works)
    await asyncio.sleep(60)
    assert [one.works, two.works].count(True) == 1
    await one.exit()
    await two.exit()


RELEASES = st.lists(st.sampled_from([(), ("red",), ("red", "blue"), ("blue",)]), min_size=2, max_size=4)
FAULTS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([None, "down", "loses-answers"]), st.floats(0.1, 30)), max_size=10
)


@given(scopes=RELEASES, faults=FAULTS, delays=st.lists(st.floats(0.01, 0.5), min_size=4, max_size=4))
@settings(max_examples=60)
@virtual_time
async def test_no_outage_makes_two_releases_act_in_one_namespace(
    scopes: list[tuple[str, ...]], faults: list[tuple[int, str | None, float]], delays: list[float]
) -> None:
    server = Server()
    candidates: list[Candidate] = [
        Candidate(server, f"release-{number}", *scope, delay=delays[number], chance=number / 4)
        for number, scope in enumerate(scopes)
    ]

    async def live(candidate: Candidate) -> None:
        while True:
            candidate.start()
            assert candidate.task is not None
            await asyncio.wait({candidate.task})
            assert isinstance(candidate.task.exception(), LeaseLost)

    async def watch() -> None:
        while True:
            acting = [each.release for each in candidates if each.works]
            pairs: list[Any] = [(a, b) for a in acting for b in acting if a is not b and a.shared_with(b)]
            assert pairs == []
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    living = [asyncio.create_task(live(candidate)) for candidate in candidates]
    for number, fault, seconds in faults:
        candidates[number % len(candidates)].connection.fault = fault
        await asyncio.sleep(seconds)
    for candidate in candidates:
        candidate.connection.fault = None
    await until(lambda: any(candidate.works for candidate in candidates), limit=200)
    assert not watching.done()
    for task in (watching, *living):
        task.cancel()
    await asyncio.wait({watching, *living})
    for candidate in candidates:
        await candidate.exit()
