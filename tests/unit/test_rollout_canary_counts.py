"""A canary by the number of its pods: which numbers, and how to come from one to the next without losing any."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock.rollout.canary_counts import Counts, counts, next_counts, share

weights = st.integers(0, 100)
steps = st.integers(1, 99)
sizes = st.integers(1, 30)
missing = st.integers(0, 4)


@pytest.mark.parametrize(
    ("weight", "wanted", "max_unavailable", "expected"),
    [
        pytest.param(10, 10, 0, Counts(9, 1), id="a tenth of ten"),
        pytest.param(10, 1, 0, Counts(1, 1), id="one pod can only be halved"),
        pytest.param(90, 1, 1, Counts(1, 1), id="one pod can only be halved, even if it may be missing"),
        pytest.param(10, 2, 0, Counts(2, 1), id="the pod too many that is needed on the way stays for a closer share"),
        pytest.param(10, 2, 1, Counts(1, 1), id="no pod too many where one may be missing"),
        pytest.param(50, 2, 0, Counts(1, 1), id="no pod too many where it brings nothing"),
        pytest.param(50, 3, 0, Counts(2, 2), id="a pod too many makes an odd number even"),
        pytest.param(50, 3, 1, Counts(1, 2), id="a half goes to the canary"),
        pytest.param(25, 10, 1, Counts(7, 3), id="a half goes to the canary, too, where Python would round to even"),
        pytest.param(33, 3, 0, Counts(2, 1), id="a third"),
        pytest.param(1, 100, 0, Counts(99, 1), id="a hundredth of a hundred"),
        pytest.param(1, 10, 1, Counts(9, 1), id="the canary keeps a pod"),
        pytest.param(99, 10, 1, Counts(1, 9), id="the stable revision keeps a pod"),
        pytest.param(0, 4, 0, Counts(4, 0), id="before the first step"),
        pytest.param(100, 4, 0, Counts(0, 4), id="after the last step"),
        pytest.param(100, 1, 0, Counts(0, 1), id="one pod after the last step"),
        pytest.param(50, 0, 0, Counts(0, 0), id="suspended"),
    ],
)
def test_the_pods_of_a_step(weight: int, wanted: int, max_unavailable: int, expected: Counts) -> None:
    assert counts(weight, wanted, max_unavailable) == expected


@given(steps, sizes, missing)
def test_each_revision_keeps_a_pod_and_there_is_one_too_many_at_most(
    weight: int, wanted: int, max_unavailable: int
) -> None:
    found = counts(weight, wanted, max_unavailable)
    assert min(found.stable, found.canary) >= 1
    assert wanted <= found.total <= wanted + 1


@given(steps, sizes)
def test_no_other_split_comes_closer(weight: int, wanted: int) -> None:
    def distance(pods: Counts) -> float:
        return abs(100 * pods.canary / pods.total - weight)

    others = [Counts(total - n, n) for total in (wanted, wanted + 1) for n in range(1, total)]
    assert distance(counts(weight, wanted, 0)) == pytest.approx(min(map(distance, others)))


@given(sizes, missing)
def test_a_later_step_never_takes_traffic_from_the_canary(wanted: int, max_unavailable: int) -> None:
    found = [counts(weight, wanted, max_unavailable) for weight in range(101)]
    assert all(a.canary * b.total <= b.canary * a.total for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("pods", "told"),
    [
        pytest.param(counts(10, 1, 0), "1 of 2 pods: 50 % instead of 10 %", id="another share than asked"),
        pytest.param(counts(10, 10, 0), "1 of 10 pods: 10 %", id="the share that was asked"),
        pytest.param(counts(33, 3, 0), "1 of 3 pods: 33 %", id="the share that was asked, rounded"),
        pytest.param(counts(0, 3, 0), "0 of 3 pods: 0 %", id="no canary"),
        pytest.param(counts(10, 0, 0), "no pods", id="suspended"),
        pytest.param(Counts(2, 1), "1 of 3 pods: 33 %", id="nothing was asked"),
    ],
)
def test_the_real_share_is_told(pods: Counts, told: str) -> None:
    assert share(pods) == told


def test_on_the_way_the_share_is_told_beside_what_is_asked_in_the_end() -> None:
    on_the_way = next_counts(counts(50, 4, 0), Counts(4, 0), Counts(4, 0), wanted=4, max_unavailable=0)
    assert share(on_the_way) == "1 of 5 pods: 20 % instead of 50 %"


# From one to the next.


def way(start: Counts, target: Counts, *, wanted: int, max_unavailable: int = 0) -> list[Counts]:
    """What is written one after the other while every pod becomes available before the next look."""
    written = [start]
    while written[-1] != target:
        now = written[-1]
        following = next_counts(target, now, now, wanted=wanted, max_unavailable=max_unavailable)
        assert following != now
        written.append(following)
    return written[1:]


@pytest.mark.parametrize(
    ("start", "target", "wanted", "max_unavailable", "written"),
    [
        pytest.param(
            Counts(2, 0), Counts(1, 1), 2, 0, [Counts(2, 1), Counts(1, 1)], id="the new pod first, the old one second"
        ),
        pytest.param(Counts(2, 0), Counts(1, 1), 2, 1, [Counts(1, 1)], id="both at once where one may be missing"),
        pytest.param(
            Counts(1, 1), Counts(2, 0), 2, 0, [Counts(2, 1), Counts(2, 0)], id="back: full size before the canary goes"
        ),
        pytest.param(Counts(1, 1), Counts(0, 1), 1, 0, [Counts(0, 1)], id="the end of a single pod's canary"),
        pytest.param(
            Counts(3, 1),
            Counts(2, 2),
            4,
            0,
            [Counts(3, 2), Counts(2, 2)],
            id="a step in the middle",
        ),
        pytest.param(
            Counts(10, 0),
            Counts(5, 5),
            10,
            2,
            [Counts(8, 1), Counts(7, 3), Counts(5, 4), Counts(5, 5)],
            id="in larger strides where two may be missing",
        ),
        pytest.param(Counts(1, 1), Counts(9, 1), 10, 0, [Counts(9, 1)], id="the autoscaler wants more"),
        pytest.param(Counts(9, 1), Counts(2, 1), 2, 0, [Counts(2, 1)], id="the autoscaler wants fewer"),
        pytest.param(Counts(2, 1), Counts(0, 0), 0, 0, [Counts(0, 0)], id="suspended on the way"),
    ],
)
def test_the_way_from_one_to_the_next(
    start: Counts, target: Counts, wanted: int, max_unavailable: int, written: list[Counts]
) -> None:
    assert way(start, target, wanted=wanted, max_unavailable=max_unavailable) == written


@pytest.mark.parametrize(
    ("target", "available", "written", "expected"),
    [
        pytest.param(
            Counts(1, 1), Counts(2, 0), Counts(2, 1), Counts(2, 1), id="a canary that is not available is waited for"
        ),
        pytest.param(Counts(2, 0), Counts(2, 0), Counts(2, 1), Counts(2, 0), id="one that never starts is taken back"),
        pytest.param(
            Counts(2, 0), Counts(1, 0), Counts(1, 2), Counts(1, 0), id="it is taken back even where pods are missing"
        ),
        pytest.param(
            Counts(2, 0),
            Counts(1, 1),
            Counts(2, 1),
            Counts(2, 1),
            id="an available one stays for a stable pod's return",
        ),
        pytest.param(
            Counts(1, 1), Counts(0, 0), Counts(2, 0), Counts(1, 1), id="a stable revision that is down blocks no fix"
        ),
        pytest.param(
            Counts(0, 2), Counts(2, 2), Counts(2, 0), Counts(2, 1), id="pods that are about to go count no longer"
        ),
    ],
)
def test_what_is_written_while_pods_are_missing(
    target: Counts, available: Counts, written: Counts, expected: Counts
) -> None:
    assert next_counts(target, available, written, wanted=2, max_unavailable=0) == expected


some_counts = st.builds(Counts, st.integers(0, 6), st.integers(0, 6))


@settings(max_examples=500)
@given(some_counts, some_counts, some_counts, st.integers(0, 7), missing)
def test_in_whichever_order_it_is_written_there_are_never_too_many_pods_nor_too_few(
    target: Counts, available: Counts, written: Counts, wanted: int, max_unavailable: int
) -> None:
    """Whatever the target: it may stem from before the autoscaler's last word."""
    found = next_counts(target, available, written, wanted=wanted, max_unavailable=max_unavailable)
    for between in (Counts(found.stable, written.canary), Counts(written.stable, found.canary), found):
        assert between.total <= max(written.total, wanted + 1)
        assert lasting(available, between) >= min(lasting(available, written), wanted - max_unavailable)


def lasting(available: Counts, written: Counts) -> int:
    """The available pods of these sizes, of which those that are not available go first."""
    return min(available.stable, written.stable) + min(available.canary, written.canary)


@given(some_counts, some_counts, some_counts, st.integers(0, 7), missing)
def test_it_only_goes_towards_the_target(
    target: Counts, available: Counts, written: Counts, wanted: int, max_unavailable: int
) -> None:
    found = next_counts(target, available, written, wanted=wanted, max_unavailable=max_unavailable)
    assert found.stable in between_both(written.stable, target.stable)
    assert found.canary in between_both(written.canary, target.canary)


def between_both(one: int, other: int) -> range:
    return range(min(one, other), max(one, other) + 1)


@given(some_counts, weights, st.integers(0, 12), missing)
def test_where_every_pod_starts_it_arrives(start: Counts, weight: int, wanted: int, max_unavailable: int) -> None:
    target = counts(weight, wanted, max_unavailable)
    assert len(way(start, target, wanted=wanted, max_unavailable=max_unavailable)) <= 2 * (start.total + target.total)


@given(steps, sizes, missing)
def test_a_canary_that_never_starts_is_taken_back_from_wherever_it_got(
    weight: int, wanted: int, max_unavailable: int
) -> None:
    """Forward as far as it goes while no canary pod becomes available, and back."""
    bounds = {"wanted": wanted, "max_unavailable": max_unavailable}
    target, written = counts(weight, wanted, max_unavailable), Counts(wanted, 0)
    while (further := next_counts(target, Counts(written.stable, 0), written, **bounds)) != written:
        written = further
    assert written.stable >= wanted - max_unavailable
    while (back := next_counts(Counts(wanted, 0), Counts(written.stable, 0), written, **bounds)) != written:
        written = back
    assert written == Counts(wanted, 0)
