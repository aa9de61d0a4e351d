from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.adapter.window import STALE_SECONDS, WINDOW_SECONDS, Reading, Window

NAME = "requests"


def window(*scrapes: tuple[float, float]) -> Window:
    made = Window()
    for at, value in scrapes:
        made.add(at, {NAME: {"": value}}, {NAME: value})
    return made


def test_a_rate_is_the_increase_between_the_first_and_the_last_scrape() -> None:
    assert window((100, 10), (102, 14), (104, 30)).rate(NAME, 104) == Reading(5.0, 4)


def test_one_scrape_is_no_rate() -> None:
    """What the counter held then may be weeks of another time's requests."""
    assert window((100, 5000)).rate(NAME, 100) is None


def test_a_restarted_server_has_counted_all_of_its_value_since() -> None:
    assert window((100, 50), (102, 60), (104, 6)).rate(NAME, 104) == Reading(4.0, 4)


def test_a_series_that_vanishes_takes_no_other_one_s_past_for_news() -> None:
    """Triton drops the counters of a model that it unloads."""
    made = Window()
    made.add(100, {NAME: {"chat": 1_000_000, "old": 500}}, {})
    made.add(102, {NAME: {"chat": 1_000_004}}, {})
    assert made.rate(NAME, 102) == Reading(2.0, 2)
    made.add(104, {NAME: {"chat": 1_000_004, "old": 500}}, {})
    assert made.rate(NAME, 104) == Reading(1.0, 4)


def test_a_series_that_is_new_has_counted_from_zero() -> None:
    made = Window()
    made.add(100, {NAME: {}}, {})
    made.add(102, {NAME: {"500": 6}}, {})
    assert made.rate(NAME, 102) == Reading(3.0, 2)


def test_a_missed_scrape_only_widens_the_step() -> None:
    assert window((100, 0), (106, 12)).rate(NAME, 106) == Reading(2.0, 6)


def test_scrapes_older_than_the_window_count_no_more() -> None:
    assert window((100, 0), (100 + WINDOW_SECONDS, 900), (102 + WINDOW_SECONDS, 902)).rate(
        NAME, 102 + WINDOW_SECONDS
    ) == Reading(1.0, 2)


@pytest.mark.parametrize("ask", [Window.rate, Window.mean])
def test_a_pod_that_no_longer_answers_has_no_sample(ask: Callable[[Window, str, float], Reading | None]) -> None:
    seen = window((100, 0), (102, 4))
    assert ask(seen, NAME, 102 + STALE_SECONDS) is not None
    assert ask(seen, NAME, 102.1 + STALE_SECONDS) is None


def test_after_a_long_silence_the_first_scrape_is_no_rate_again() -> None:
    assert window((100, 0), (102, 4), (500, 90)).rate(NAME, 500) is None


def test_a_gauge_is_the_mean_of_its_scrapes_so_that_one_moment_decides_nothing() -> None:
    assert window((100, 0), (102, 8), (104, 4)).mean(NAME, 104) == Reading(4.0, 4)


def test_an_unknown_series_has_no_reading() -> None:
    seen = window((100, 0), (102, 4))
    assert seen.rate("other", 102) is None
    assert seen.mean("other", 102) is None


def test_a_scrape_that_is_not_later_than_the_last_is_left_out() -> None:
    assert window((100, 0), (102, 4), (102, 90), (101, 50)).rate(NAME, 102) == Reading(2.0, 2)


# A life of a pod: time to the next scrape, requests meanwhile, and whether its server is restarted just before it.
LIVES = st.lists(st.tuples(st.floats(0.5, 5), st.integers(0, 1000), st.booleans()), min_size=1, max_size=40)


def lived(life: Sequence[tuple[float, int, bool]]) -> tuple[Window, float, list[tuple[float, int]]]:
    """The window at the end, the time then, and what had truly been counted at each scrape, as far as one could see."""
    made, at, seen, counted = Window(), 1000.0, 0, 0
    truth = [(at, 0)]
    made.add(at, {NAME: {"": 0}}, {})
    for seconds, requests, restarts in life:
        at += seconds
        # Requests of a server that ended before it was scraped again nobody can know; here they all came after.
        seen = requests if restarts else seen + requests
        counted += requests
        made.add(at, {NAME: {"": seen}}, {})
        truth.append((at, counted))
    return made, at, truth


@given(LIVES)
def test_resets_and_odd_intervals_lose_no_request_and_invent_none(life: list[tuple[float, int, bool]]) -> None:
    made, now, truth = lived(life)
    inside = [(at, count) for at, count in truth if at >= now - WINDOW_SECONDS]
    found = made.rate(NAME, now)
    if len(inside) < 2:
        assert found is None
        return
    assert found is not None
    # A restart is only seen where the counter falls; one that it hides lets the value before it count for nothing.
    assert 0 <= found.value * found.seconds <= inside[-1][1] - inside[0][1] + 1e-6
    assert found.seconds == pytest.approx(inside[-1][0] - inside[0][0])


@given(LIVES)
def test_without_a_restart_the_rate_is_exact(life: list[tuple[float, int, bool]]) -> None:
    made, now, truth = lived([(seconds, requests, False) for seconds, requests, _ in life])
    inside = [(at, count) for at, count in truth if at >= now - WINDOW_SECONDS]
    found = made.rate(NAME, now)
    assert (found is None) == (len(inside) < 2)
    if found is not None:
        assert found.value * found.seconds == pytest.approx(inside[-1][1] - inside[0][1])
