"""What is remembered from one look at the counters to the next."""

from penstock.api.rollout import Analysis
from penstock.observed.counters import Counters, Window
from penstock.pods.samples import Samples
from penstock.rollout import analysis
from penstock.watch.store import Key

CHAT, OTHER = Key("ml", "chat"), Key("ml", "other")


def counted(**requests: int) -> dict[str, Counters]:
    """By pod, requests of which every tenth failed."""
    return {pod: Counters(number, number // 10) for pod, number in requests.items()}


def look(samples: Samples, new: dict[str, Counters]) -> float:
    """The requests since the last look, which are recorded."""
    return seen(samples, new).requests


def seen(samples: Samples, new: dict[str, Counters], *, least: int = 1, key: Key = CHAT) -> Window:
    found = samples.measure(key, new, tells=lambda window: window.requests >= least)
    samples.keep(key)
    return found


def test_the_first_look_after_a_start_only_sets_the_base() -> None:
    samples = Samples()
    assert look(samples, counted(green=400)) == 0
    assert look(samples, counted(green=430)) == 30


def test_each_look_counts_from_the_one_before() -> None:
    samples = Samples()
    look(samples, counted(green=0))
    assert [look(samples, counted(green=number)) for number in (10, 15, 15)] == [10, 5, 0]


def test_errors_are_counted_with_the_requests() -> None:
    samples = Samples()
    seen(samples, counted(green=10))
    new = seen(samples, counted(green=50))
    assert (new.requests, new.errors) == (40, 4)


def test_a_pod_that_missed_a_look_is_counted_over_both() -> None:
    samples = Samples()
    look(samples, counted(a=10, b=10))
    assert look(samples, counted(a=20)) == 10
    assert look(samples, counted(a=30, b=35)) == 35


def test_a_pod_that_comes_later_is_counted_from_its_second_look() -> None:
    samples = Samples()
    look(samples, counted(a=10))
    assert look(samples, counted(a=20, b=7)) == 10
    assert look(samples, counted(a=30, b=9)) == 12


def test_little_traffic_adds_up_until_it_tells_something() -> None:
    samples = Samples()
    seen(samples, counted(a=0), least=20)
    told = [seen(samples, counted(a=number), least=20).requests for number in (8, 16, 24, 30)]
    assert told == [8, 16, 24, 6]


def test_successes_add_up_until_there_are_enough_to_time() -> None:
    spec, samples = Analysis(max_latency_increase_percent=20), Samples()

    def look(answered: int) -> float:
        """Of the pod, which has refused every second request as the stable revision does."""
        new = {"a": Counters(answered, refused=answered // 2)}
        found = samples.measure(CHAT, new, tells=lambda window: analysis.tells(window, Window(100, refused=50), spec))
        samples.keep(CHAT)
        return found.successes

    assert [look(answered) for answered in (0, 20, 40, 60)] == [0, 10, 20, 10]


def test_a_look_that_could_not_be_recorded_is_made_again() -> None:
    samples = Samples()
    look(samples, counted(green=10))
    assert samples.measure(CHAT, counted(green=30)).requests == 20
    assert samples.measure(CHAT, counted(green=35)).requests == 25
    samples.keep(CHAT)
    assert look(samples, counted(green=36)) == 1


def test_services_do_not_share_pods_of_one_name() -> None:
    samples = Samples()
    look(samples, counted(green=10))
    assert samples.measure(OTHER, counted(green=500)).requests == 0
    assert look(samples, counted(green=15)) == 5


def test_a_service_that_is_forgotten_begins_anew() -> None:
    samples = Samples()
    look(samples, counted(green=10))
    samples.forget(CHAT)
    samples.forget(OTHER)
    assert look(samples, counted(green=50)) == 0


def test_of_pods_that_come_and_go_the_latest_are_remembered() -> None:
    samples = Samples()
    for number in range(1000):
        look(samples, counted(**{f"green-{number}": 1}))
    assert look(samples, counted(**{"green-999": 3, "green-800": 5})) == 2 + 4
    assert look(samples, counted(**{"green-0": 3})) == 0
    assert len(samples._last[CHAT]) <= 256
