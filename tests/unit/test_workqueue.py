import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.kube.throttle import TokenBucket
from penstock.kube.workqueue import WorkQueue

from tests.virtual_time import loop, until, virtual_time


def a_queue(**kwargs: Any) -> WorkQueue[str]:
    return WorkQueue(**{"chance": lambda: 1.0, **kwargs})


async def taken(queue: WorkQueue[str], number: int) -> list[str]:
    """Take and finish that many keys."""
    keys = []
    for _ in range(number):
        key = await queue.get()
        keys.append(key)
        queue.done(key)
    return keys


async def ended(running: asyncio.Task[None]) -> None:
    """The workers stop."""
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@virtual_time
async def test_a_key_added_twice_is_worked_once() -> None:
    queue = a_queue()
    queue.add("a")
    queue.add("a")
    assert await taken(queue, 1) == ["a"]
    assert queue.depth == 0


@virtual_time
async def test_a_key_added_while_in_work_runs_once_more_afterwards() -> None:
    queue = a_queue()
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert await queue.get() == "b"
    queue.done(key)
    assert await taken(queue, 1) == ["a"]
    assert queue.depth == 0


@virtual_time
async def test_keys_are_served_in_the_order_they_came() -> None:
    queue = a_queue()
    for key in "cabd":
        queue.add(key)
    assert await taken(queue, 4) == list("cabd")


@virtual_time
async def test_urgent_keys_go_first_in_the_order_they_came() -> None:
    queue = a_queue(is_urgent=str.isupper)
    for key in "aBcD":
        queue.add(key)
    assert await taken(queue, 4) == list("BDac")


@virtual_time
async def test_urgent_keys_without_end_starve_nobody() -> None:
    queue = a_queue(is_urgent=str.isupper)
    queue.add("a")
    served = []
    for number in range(20):
        queue.add(f"U{number}".upper())
        served += await taken(queue, 1)
    assert "a" in served[:6]


@virtual_time
async def test_of_keys_that_are_not_urgent_only_so_many_are_in_work() -> None:
    queue = a_queue(is_urgent=str.isupper, most_others=1)
    for key in "abC":
        queue.add(key)
    assert [await queue.get(), await queue.get()] == ["C", "a"]
    waiting = asyncio.create_task(queue.get())
    queue.add("D")
    assert await waiting == "D"
    waiting = asyncio.create_task(queue.get())
    queue.done("D")
    await asyncio.sleep(1)
    assert not waiting.done()
    queue.done("a")
    assert await waiting == "b"


@virtual_time
async def test_a_worker_that_waits_is_woken_by_the_next_key() -> None:
    queue = a_queue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(1)
    queue.add("a")
    assert await waiting == "a"


@virtual_time
async def test_the_earliest_of_several_times_wins() -> None:
    queue = a_queue()
    start = loop().time()
    queue.add_after("a", 30)
    queue.add_after("a", 5)
    queue.add_after("a", 60)
    await taken(queue, 1)
    assert loop().time() - start == pytest.approx(5)
    await asyncio.sleep(100)
    assert queue.depth == 0


@virtual_time
async def test_an_add_now_replaces_the_one_that_waits_for_its_time() -> None:
    queue = a_queue()
    queue.add_after("a", 5)
    queue.add("a")
    await taken(queue, 1)
    await asyncio.sleep(10)
    assert queue.depth == 0


@virtual_time
async def test_a_time_that_comes_while_the_key_is_in_work_is_not_lost() -> None:
    queue = a_queue()
    queue.add("a")
    key = await queue.get()
    queue.add_after("a", 5)
    await asyncio.sleep(6)
    queue.done(key)
    assert await taken(queue, 1) == ["a"]


@virtual_time
async def test_a_delay_of_nothing_is_an_add() -> None:
    queue = a_queue()
    queue.add_after("a", 0)
    assert queue.depth == 1


@virtual_time
async def test_back_off_doubles_up_to_its_cap() -> None:
    queue = a_queue(backoff_base=1, backoff_cap=10)
    assert [queue.retry("a") for _ in range(6)] == [1, 2, 4, 8, 10, 10]


@virtual_time
async def test_back_off_of_weeks_of_failures_is_still_the_cap() -> None:
    queue = a_queue(backoff_cap=300)
    for _ in range(2000):
        delay = queue.retry("a")
    assert delay == 300


@virtual_time
async def test_chance_shortens_a_back_off_by_at_most_half() -> None:
    queue = a_queue(backoff_base=1, chance=lambda: 0.0)
    assert queue.retry("a") == 0.5


@virtual_time
async def test_forgetting_a_key_starts_its_back_off_afresh() -> None:
    queue = a_queue(backoff_base=1)
    queue.retry("a")
    queue.retry("a")
    queue.forget("a")
    assert queue.retry("a") == 1


@virtual_time
async def test_an_error_is_reported_and_tried_again_later_and_a_success_is_forgotten() -> None:
    errors: list[tuple[str, str]] = []
    times: list[float] = []
    queue = a_queue(backoff_base=1, on_error=lambda key, error: errors.append((key, str(error))))

    async def fails_twice(_key: str) -> None:
        times.append(loop().time() - start)
        if len(times) < 3:
            raise RuntimeError("no luck")

    start = loop().time()
    running = asyncio.create_task(queue.run(fails_twice, workers=1))
    queue.add("a")
    await asyncio.sleep(60)
    assert errors == [("a", "no luck"), ("a", "no luck")]
    assert times == pytest.approx([0, 1, 3])
    assert queue.retry("a") == 1
    await ended(running)


@virtual_time
async def test_a_worker_that_asks_for_a_retry_itself_keeps_its_back_off() -> None:
    queue = a_queue(backoff_base=1)
    delays: list[float] = []

    async def asks(key: str) -> None:
        delays.append(queue.retry(key))

    running = asyncio.create_task(queue.run(asks, workers=1))
    queue.add("a")
    await asyncio.sleep(4)
    assert delays == [1, 2, 4]
    await ended(running)


@virtual_time
async def test_a_poison_key_never_delays_the_others() -> None:
    done: Counter[str] = Counter()
    queue = a_queue(on_error=lambda _key, _error: None)

    async def work(key: str) -> None:
        if key == "poison":
            raise RuntimeError
        await asyncio.sleep(0.01)
        done[key] += 1

    queue.add("poison")
    for number in range(100):
        queue.add(f"good-{number}")
    running = asyncio.create_task(queue.run(work, workers=1))
    await asyncio.sleep(100 * 0.01 + 0.001)
    assert len(done) == 100
    await ended(running)


@virtual_time
async def test_cancelling_the_workers_interrupts_what_is_in_work() -> None:
    queue = a_queue()
    finished: list[str] = []

    async def work(key: str) -> None:
        await asyncio.sleep(5)
        finished.append(key)

    running = asyncio.create_task(queue.run(work, workers=2))
    queue.add("a")
    await asyncio.sleep(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert finished == []


@virtual_time
async def test_a_getter_cancelled_as_it_is_woken_hands_the_key_on() -> None:
    queue = a_queue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 1) == "a"


@virtual_time
async def test_the_time_a_key_waited_for_a_worker_is_reported() -> None:
    waits: list[float] = []
    queue = a_queue(on_wait=waits.append)
    queue.add_after("a", 10)
    await asyncio.sleep(13)
    await taken(queue, 1)
    assert waits == pytest.approx([3])


@virtual_time
async def test_ten_thousand_keys_are_each_worked_once_by_sixteen_workers() -> None:
    done: Counter[str] = Counter()
    queue = a_queue()

    async def work(key: str) -> None:
        await asyncio.sleep(0)
        done[key] += 1

    for number in range(10_000):
        queue.add(str(number))
    running = asyncio.create_task(queue.run(work, workers=16))
    await until(lambda: queue.depth == 0)
    await ended(running)
    assert len(done) == 10_000
    assert set(done.values()) == {1}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add_after", "retry", "wait"]),
        st.sampled_from("abc"),
        st.sampled_from([0.0, 0.5, 3.0, 8.0]),
    ),
    max_size=40,
)


@given(
    steps=STEPS, failing=st.sets(st.integers(0, 30)), workers=st.integers(1, 3), urgent=st.sets(st.sampled_from("abc"))
)
@virtual_time
async def test_whatever_happens_a_key_is_worked_after_its_last_add_and_never_twice_at_once(
    steps: list[tuple[str, str, float]], failing: set[int], workers: int, urgent: set[str]
) -> None:
    queue = a_queue(on_error=lambda _key, _error: None, is_urgent=urgent.__contains__, most_others=1)
    in_work: set[str] = set()
    started: dict[str, float] = {}
    added: dict[str, float] = {}
    runs = 0

    async def work(key: str) -> None:
        nonlocal runs
        assert key not in in_work
        in_work.add(key)
        started[key] = loop().time()
        runs += 1
        fails = runs in failing
        await asyncio.sleep(1)
        in_work.remove(key)
        if fails:
            raise RuntimeError

    running = asyncio.create_task(queue.run(work, workers))
    for what, key, seconds in steps:
        match what:
            case "wait":
                await asyncio.sleep(seconds)
                continue
            case "add":
                queue.add(key)
            case "add_after":
                queue.add_after(key, seconds)
            case "retry":
                queue.retry(key)
        added[key] = loop().time()
    await asyncio.sleep(1000)
    assert queue.depth == 0
    assert all(started[key] >= added[key] for key in added)
    await ended(running)


@virtual_time
async def test_a_bucket_lets_a_burst_through_and_then_keeps_its_rate() -> None:
    bucket, start = TokenBucket(rate=10, burst=3), loop().time()
    times = []
    for _ in range(6):
        await bucket.acquire()
        times.append(loop().time() - start)
    assert times == pytest.approx([0, 0, 0, 0.1, 0.2, 0.3])


@virtual_time
async def test_a_bucket_serves_those_who_wait_in_their_order() -> None:
    bucket = TokenBucket(rate=10, burst=1)
    order: list[int] = []

    async def write(number: int) -> None:
        await bucket.acquire()
        order.append(number)

    await asyncio.gather(*(write(number) for number in range(5)))
    assert order == [0, 1, 2, 3, 4]


@virtual_time
async def test_a_bucket_left_alone_fills_up_to_its_burst_and_no_further() -> None:
    bucket = TokenBucket(rate=10, burst=2)
    await bucket.acquire()
    await asyncio.sleep(3600)
    start = loop().time()
    for _ in range(3):
        await bucket.acquire()
    assert loop().time() - start == pytest.approx(0.1)


@virtual_time
async def test_a_cancelled_wait_gives_its_token_back() -> None:
    bucket, start = TokenBucket(rate=1, burst=1), loop().time()
    await bucket.acquire()
    waiting = asyncio.create_task(bucket.acquire())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    await bucket.acquire()
    assert loop().time() - start == pytest.approx(1)
