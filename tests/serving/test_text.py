"""Streaming text: whole characters, and stop strings wherever tokens are cut."""

from hypothesis import given
from hypothesis import strategies as st
from penstock_server.engine.text import Detokenizer, StopStrings


def decode_bytes(ids: object) -> str:
    return bytes(ids).decode(errors="replace")  # type: ignore[call-overload, no-any-return]


@given(st.text(max_size=60))
def test_the_pieces_of_a_text_are_whole_characters_and_add_up_to_it(text: str) -> None:
    detokenizer = Detokenizer(decode_bytes)
    pieces = [detokenizer.add(byte) for byte in text.encode()] + [detokenizer.flush()]
    assert "".join(pieces) == text
    assert all(len(piece) <= 1 for piece in pieces if "\ufffd" not in text)


@given(st.lists(st.integers(0, 255), max_size=15))
def test_garbage_is_passed_on_as_the_decoder_reads_it(ids: list[int]) -> None:
    detokenizer = Detokenizer(decode_bytes)
    pieces = [detokenizer.add(byte) for byte in ids] + [detokenizer.flush()]
    assert "".join(pieces) == decode_bytes(ids)


def test_endless_garbage_is_not_held_back_for_ever() -> None:
    detokenizer = Detokenizer(decode_bytes)
    assert any(detokenizer.add(0x80) for _ in range(40))


def expected(text: str, stops: list[str]) -> tuple[str, bool]:
    """By definition: the stop string that is completed first ends the text at its start."""
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)], True
    return text, False


@given(
    pieces=st.lists(st.text("abc", max_size=4), max_size=12),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
)
def test_the_first_completed_stop_string_ends_the_text_however_it_is_cut(pieces: list[str], stops: list[str]) -> None:
    watch = StopStrings(stops)
    sent, stopped = "", False
    for piece in pieces:
        text, stopped = watch.add(piece)
        sent += text
        if stopped:
            break
    if not stopped:
        sent += watch.flush()
    assert (sent, stopped) == expected("".join(pieces), stops)


@given(pieces=st.lists(st.text("ab", max_size=3), max_size=10), stop=st.text("ab", min_size=1, max_size=3))
def test_nothing_of_a_stop_string_is_ever_sent(pieces: list[str], stop: str) -> None:
    watch = StopStrings([stop])
    sent = ""
    for piece in pieces:
        text, stopped = watch.add(piece)
        sent += text
        if stopped:
            break
    assert stop not in sent
