from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock import quantity

QUANTITIES = st.from_regex(r"\A[0-9]{1,6}(\.[0-9]{1,3})?(n|u|m|k|M|G|T|Ki|Mi|Gi|e3|E-2|)\Z")


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("500m", "0.5"),
        ("1Gi", "1073741824"),
        ("1.5Gi", "1610612736"),
        ("2e3", "2000"),
        ("2E3", "2000"),
        ("2E", "2000000000000000000"),
        ("2Ei", "2305843009213693952"),
        ("100n", "0.0000001"),
        (".5", "0.5"),
        ("5.", "5"),
        ("+1", "1"),
        ("-1", "-1"),
        (4, "4"),
        (0.1, "0.1"),
        ("9223372036854775807", "9223372036854775807"),
    ],
    ids=str,
)
def test_a_quantity_is_read_exactly(text: quantity.Quantity, amount: str) -> None:
    assert quantity.parse(text) == Decimal(amount)


@pytest.mark.parametrize("text", ["", "1K", "1 Gi", "Gi", "1gi", "1e", "one", "1Gi2", "١"], ids=repr)
def test_what_is_no_quantity_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 500m"):
        quantity.parse(text)


@pytest.mark.parametrize(
    ("one", "other"), [("1024Mi", "1Gi"), ("1000m", 1), ("0.5", "500m"), ("1k", "1e3"), ("0", "0Gi")], ids=str
)
def test_spellings_of_one_amount_are_equal(one: quantity.Quantity, other: quantity.Quantity) -> None:
    assert quantity.equal(one, other)


def test_a_thousand_is_not_1024() -> None:
    assert not quantity.equal("1G", "1Gi")


@given(QUANTITIES)
def test_an_amount_in_the_base_unit_is_the_same(text: str) -> None:
    assert quantity.equal(text, f"{quantity.parse(text):f}")
