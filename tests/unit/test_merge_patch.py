"""The patch of a status, held against RFC 7386's own definition of what a merge patch does."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from penstock.status.status import merge_patch

from tests.fake_cluster import merged_as_rfc_7386_says

# No nulls: neither the API server's status nor ours holds any, and a merge patch could not write one.
values = st.recursive(
    st.integers() | st.text(max_size=3) | st.lists(st.integers() | st.text(max_size=2), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)


@given(old=objects, new=objects)
def test_applying_the_patch_to_the_old_gives_the_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merged_as_rfc_7386_says(old, merge_patch(old, new)) == new


@given(objects)
def test_the_same_needs_no_patch(value: dict[str, Any]) -> None:
    assert merge_patch(value, value) == {}


@given(old=objects, new=objects)
def test_only_what_differs_is_in_the_patch(old: dict[str, Any], new: dict[str, Any]) -> None:
    same = {key for key in old.keys() & new.keys() if old[key] == new[key]}
    assert not same & merge_patch(old, new).keys()


def test_a_field_that_is_gone_is_taken_out_and_its_neighbours_are_left_alone() -> None:
    old = {"rollout": {"phase": "Progressing", "deadlineAt": "x"}, "url": "u"}
    assert merge_patch(old, {"rollout": {"phase": "Stable"}, "url": "u"}) == {
        "rollout": {"phase": "Stable", "deadlineAt": None}
    }
