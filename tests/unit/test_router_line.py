"""The line by itself: every request is somewhere exactly once, in order, and no pod has more than it admits."""

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from penstock.router.line import Line

PODS = ["a", "b", "c"]


def test_the_first_comes_first() -> None:
    line = Line()
    tickets = [line.join() for _ in range(3)]
    assert line.assign(["a"], limit=2) == [(tickets[0], "a"), (tickets[1], "a")]
    assert line.held == 1


def test_each_goes_to_the_least_busy_pod() -> None:
    line = Line()
    for _ in range(3):
        line.join()
    line.assign(["a"], limit=3)
    for _ in range(4):
        line.join()
    assert [pod for _, pod in line.assign(["a", "b"], limit=10)] == ["b", "b", "b", "a"]
    line.join()
    assert [pod for _, pod in line.assign(["a", "b"], limit=10)] == ["b"]


def test_one_that_is_put_back_is_first_again() -> None:
    line = Line()
    first, second = line.join(), line.join()
    line.assign(["a"], limit=1)
    line.put_back(first)
    assert [ticket for ticket, _ in line.assign(["a", "b"], limit=1)] == [first, second]


def test_those_who_left_leave_nothing_behind() -> None:
    line = Line()
    kept = line.join()
    for _ in range(10_000):
        line.leave(line.join())
    assert line.held == 1
    assert len(line._order) < 200
    assert line.assign(["a"], limit=1) == [(kept, "a")]


class Lines(RuleBasedStateMachine):
    """Against the plainest model: lists."""

    @initialize(limit=st.integers(1, 4))
    def begin(self, limit: int) -> None:
        self.line, self.limit = Line(), limit
        self.held: list[int] = []
        self.under_way: dict[int, str] = {}

    @rule()
    def join(self) -> None:
        self.held.append(self.line.join())

    @rule(pods=st.lists(st.sampled_from(PODS), unique=True))
    def assign(self, pods: list[str]) -> None:
        given = self.line.assign(pods, self.limit)
        assert [ticket for ticket, _ in given] == sorted(self.held)[: len(given)]
        free = sum(self.limit - min(self.limit, Counter(self.under_way.values())[pod]) for pod in pods)
        assert len(given) == min(free, len(self.held))
        for ticket, pod in given:
            assert pod in pods
            self.held.remove(ticket)
            self.under_way[ticket] = pod

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        there = [*self.held, *self.under_way]
        if not there:
            return
        ticket = data.draw(st.sampled_from(there))
        self.line.leave(ticket)
        self.line.leave(ticket)  # A second time changes nothing.
        self.held = [each for each in self.held if each != ticket]
        self.under_way.pop(ticket, None)

    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        if not self.under_way:
            return
        ticket = data.draw(st.sampled_from(list(self.under_way)))
        self.line.put_back(ticket)
        del self.under_way[ticket]
        self.held.append(ticket)

    @invariant()
    def counts_agree(self) -> None:
        if not hasattr(self, "line"):
            return
        assert self.line.held == len(self.held)
        busy = Counter(self.under_way.values())
        assert [self.line.under_way(pod) for pod in PODS] == [busy[pod] for pod in PODS]
        assert all(self.line.under_way(pod) <= self.limit for pod in PODS)


TestLines = Lines.TestCase
