import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock import names
from penstock.observed.label_selector import LabelSelector

LABELS = {"app": "model", "slot": "blue", "empty": ""}


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "app=model",
        "app==model",
        "app = model , slot=blue",
        "app!=web",
        "other!=web",
        "slot in (blue,green)",
        "slot in ( blue , green ),app=model",
        "slot notin (red)",
        "other notin (red)",
        "app",
        "!other",
        "! other",
        "empty=",
        "empty in ()",
    ],
)
def test_it_matches(text: str) -> None:
    assert LabelSelector.parse(text).matches(LABELS)


@pytest.mark.parametrize(
    "text",
    ["app=web", "app!=model", "other=x", "slot in (red,green)", "slot notin (blue)", "other", "!app", "other in ()"],
)
def test_it_does_not_match(text: str) -> None:
    assert not LabelSelector.parse(text).matches(LABELS)


@pytest.mark.parametrize(
    "text",
    [
        "app=model slot=blue",
        "=x",
        "app=a b",
        "slot in blue",
        "slot in (blue",
        "a in (b c)",
        "app=-",
        "a,,b",
        "x" * 9000,
    ],
)
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"selector|values"):
        LabelSelector.parse(text)


def test_the_one_value_that_a_label_must_have_is_found() -> None:
    selector = LabelSelector.parse(f"{names.LABEL_SERVICE}=chat,{names.LABEL_SLOT} in (blue)")
    assert selector.only(names.LABEL_SERVICE) == "chat"
    assert selector.only(names.LABEL_SLOT) == "blue"
    assert selector.only("other") is None
    assert LabelSelector.parse("a!=b").only("a") is None
    assert LabelSelector.parse("a in (b,c)").only("a") is None


KEYS = st.from_regex(r"\A[a-z]([a-z.-]{0,8}[a-z])?\Z")
VALUES = st.from_regex(r"\A([a-z0-9]([a-z0-9._-]{0,8}[a-z0-9])?)?\Z")


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.dictionaries(KEYS, VALUES, max_size=5))
def test_equalities_match_what_has_all_of_them(wanted: dict[str, str], labels: dict[str, str]) -> None:
    selector = LabelSelector.parse(",".join(f"{key}={value}" for key, value in wanted.items()))
    assert selector.matches(labels) == (wanted.items() <= labels.items())


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        LabelSelector.parse(text)
    except ValueError:
        return
