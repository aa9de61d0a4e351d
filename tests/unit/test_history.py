"""Which revisions are kept, and the number of each."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.desired.history import Stored, kept


def stored(**numbers: int) -> dict[str, Stored]:
    return {revision: Stored(number, {"of": revision}) for revision, number in numbers.items()}


def numbers(
    before: dict[str, Stored], current: str, *, in_use: Iterable[str] = (), running: Iterable[str] = (), limit: int = 5
) -> dict[str, int]:
    known = {revision: {"of": revision} for revision in (current, *running)}
    found = kept(before, known, current=current, in_use={current, *in_use}, limit=limit)
    assert all(each.template == {"of": revision} for revision, each in found.items())
    return {revision: each.number for revision, each in found.items()}


@pytest.mark.parametrize(
    ("before", "current", "after"),
    [
        pytest.param({}, "a", {"a": 1}, id="the first"),
        pytest.param({"a": 1}, "b", {"a": 1, "b": 2}, id="the next"),
        pytest.param({"a": 1, "b": 2}, "b", {"a": 1, "b": 2}, id="the same again"),
        pytest.param({"a": 1, "b": 2}, "a", {"a": 3, "b": 2}, id="an earlier one that the spec asks for again"),
        pytest.param({"a": 9, "b": 2}, "b", {"a": 9, "b": 10}, id="a number that somebody raised"),
        pytest.param({"a": 1, "b": 1}, "b", {"a": 1, "b": 2}, id="a number that somebody gave twice"),
        pytest.param({"a": 2, "b": 2, "c": 3}, "c", {"a": 2, "b": 3, "c": 4}, id="twice, of earlier ones"),
        pytest.param({"a": -4, "b": 0, "c": 3}, "c", {"a": 1, "b": 2, "c": 3}, id="numbers that are none"),
        pytest.param({"a": 2**63 - 1, "b": 2}, "b", {"a": 1, "b": 2}, id="a number that nothing comes after"),
    ],
)
def test_the_current_revision_has_the_highest_number(
    before: dict[str, int], current: str, after: dict[str, int]
) -> None:
    assert numbers(stored(**before), current) == after


def test_the_one_that_served_a_moment_ago_outlives_the_others() -> None:
    history: dict[str, Stored] = {}
    for current in ("a", "b", "c", "a", "d"):
        known = {current: {"of": current}}
        history = kept(history, known, current=current, in_use={current}, limit=1)
    assert {*history} == {"d", "a"}


def test_what_is_in_use_is_kept_however_old() -> None:
    before = stored(a=1, b=2, c=3, d=4)
    assert {*numbers(before, "e", in_use=["a", "b"], limit=1)} == {"a", "b", "e"}
    assert {*numbers(before, "e", in_use=["a", "b"], limit=3)} == {"a", "b", "d", "e"}


def test_one_in_use_that_was_deleted_is_stored_again_as_it_runs() -> None:
    assert numbers(stored(b=2), "b", in_use=["a"], running=["a"]) == {"a": 3, "b": 4}


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(-(2**63), 2**63 - 1)), st.sampled_from("abcdef"))
def test_a_second_pass_changes_nothing(before: dict[str, int], current: str) -> None:
    after = numbers(stored(**before), current)
    assert numbers(stored(**after), current) == after
    assert after[current] == max(after.values())
    assert len({*after.values()}) == len(after)
