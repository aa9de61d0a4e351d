"""What is asked outside of the passes: once, of what is there, and with an answer that wakes the next pass."""

import asyncio
from collections.abc import Sequence

import pytest
from penstock.api.status import AbTestStatus
from penstock.kube.pod_access import Address, Message
from penstock.observed.answers import Answers
from penstock.observed.values import Progress
from penstock.pods.client import HttpPodClient, NoPodClient
from penstock.pods.inquiries import Inquiries
from penstock.pods.loading import Loading
from penstock.rollout.decision import Asks
from penstock.rollout.smoke import SmokeRequest
from penstock.watch.store import Key

from tests.virtual_time import virtual_time

CHAT = Key("ml", "chat")
TEST_A = Asks(smoke=frozenset("a"))
TEST_A_AND_B = Asks(smoke=frozenset("ab"))
TEST_B = Asks(smoke=frozenset("b"))
MEASURE = Asks(measure=True)


class Asked:
    """Inquiries that take a second each, and what became of them."""

    def __init__(self) -> None:
        self.woken: list[Key] = []
        self.asked: list[Asks] = []
        self.wanted_at: list[float] = []
        self.asked_at: list[float] = []
        self.cancelled: list[Asks] = []
        self.fault: Exception | None = None
        self.inquiries = Inquiries(self.woken.append)

    def ask(self, asks: Asks, basis: object = "v2") -> None:
        self.wanted_at.append(asyncio.get_running_loop().time())
        self.inquiries.ask(CHAT, asks, basis, lambda: self._answer(asks))

    def answers(self, basis: object = "v2") -> Answers | None:
        return self.inquiries.answers(CHAT, basis)

    async def _answer(self, asks: Asks) -> Answers:
        self.asked.append(asks)
        self.asked_at.append(asyncio.get_running_loop().time())
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            self.cancelled.append(asks)
            raise
        if self.fault is not None:
            raise self.fault
        return Answers(dict.fromkeys(asks.smoke))


@virtual_time
async def test_the_answer_wakes_a_pass_and_stays_until_it_was_used() -> None:
    about = Asked()
    about.ask(TEST_A)
    assert (about.answers(), about.woken) == (None, [])
    await asyncio.sleep(1.1)
    assert about.woken == [CHAT]
    assert about.answers() == about.answers() == Answers({"a": None})
    about.inquiries.drop(CHAT)
    assert about.answers() is None


@virtual_time
async def test_what_is_asked_is_not_asked_again() -> None:
    about = Asked()
    for _ in range(3):
        about.ask(TEST_A)
        await asyncio.sleep(0.1)
    assert about.asked == [TEST_A]


@virtual_time
async def test_a_pod_that_becomes_ready_later_does_not_begin_the_test_of_the_others_anew() -> None:
    about = Asked()
    about.ask(TEST_A)
    await asyncio.sleep(0.1)
    about.ask(TEST_A_AND_B)
    await asyncio.sleep(1)
    assert about.answers() == Answers({"a": None})
    assert about.asked == [TEST_A]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param(TEST_A, TEST_B, id="the pod is gone"),
        pytest.param(TEST_A_AND_B, TEST_A, id="one of the pods is gone"),
        pytest.param(TEST_A, MEASURE, id="something else is asked"),
        pytest.param(MEASURE, Asks(judge=AbTestStatus()), id="a judgement is asked"),
    ],
)
@virtual_time
async def test_another_question_takes_the_place_of_the_one_before(first: Asks, then: Asks) -> None:
    about = Asked()
    about.ask(first)
    await asyncio.sleep(0.5)
    about.ask(then)
    await asyncio.sleep(0.6)
    assert (about.asked, about.cancelled, about.answers(), about.woken) == ([first, then], [first], None, [])
    await asyncio.sleep(0.5)
    assert about.answers() == Answers(dict.fromkeys(then.smoke))


@pytest.mark.parametrize("seconds", [0.5, 1.5])
@virtual_time
async def test_an_answer_about_what_has_become_another_is_dropped(seconds: float) -> None:
    about = Asked()
    about.ask(TEST_A)
    await asyncio.sleep(seconds)
    assert about.answers(basis="v3") is None
    await asyncio.sleep(1)
    assert about.answers() is None
    assert about.woken == [CHAT] * (seconds > 1)


@virtual_time
async def test_a_pass_that_asks_nothing_lets_what_is_under_way_end() -> None:
    about = Asked()
    about.ask(TEST_A)
    await asyncio.sleep(0.5)
    assert about.answers() is None
    await asyncio.sleep(0.6)
    assert about.answers() == Answers({"a": None})


@virtual_time
async def test_a_fault_fails_the_pass_that_it_wakes_and_the_next_asks_anew() -> None:
    about = Asked()
    about.fault = RuntimeError("no luck")
    about.ask(TEST_A)
    await asyncio.sleep(1.1)
    assert about.woken == [CHAT]
    with pytest.raises(RuntimeError, match="no luck"):
        about.answers()
    assert about.answers() is None
    about.ask(TEST_A)
    await asyncio.sleep(1.1)
    assert about.asked == [TEST_A, TEST_A]


@virtual_time
async def test_what_fails_again_and_again_is_asked_less_and_less_often_until_it_is_answered() -> None:
    about = Asked()
    about.fault = RuntimeError("no luck")
    for _ in range(20):
        await failed(about)
    pauses = [asked - wanted for wanted, asked in zip(about.wanted_at, about.asked_at, strict=True)]
    assert pauses == pytest.approx([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, *[300] * 10])

    about.fault = None
    about.ask(TEST_A)
    await asyncio.sleep(302)
    assert about.answers() == Answers({"a": None})
    about.inquiries.drop(CHAT)
    about.ask(TEST_B)
    await asyncio.sleep(1.1)
    assert about.answers() == Answers({"b": None})


async def failed(about: Asked) -> None:
    """Ask, wait for longer than any pause, and let a pass have the fault."""
    about.ask(TEST_A)
    await asyncio.sleep(302)
    with pytest.raises(RuntimeError, match="no luck"):
        about.answers()


@virtual_time
async def test_a_service_that_is_gone_leaves_no_pause_to_one_of_its_name() -> None:
    about = Asked()
    about.fault = RuntimeError("no luck")
    for _ in range(5):
        await failed(about)
    about.inquiries.forget(CHAT)
    about.ask(TEST_A)
    await asyncio.sleep(0.1)
    assert len(about.asked) == 6


@virtual_time
async def test_nothing_is_asked_once_it_is_closed() -> None:
    about = Asked()
    about.ask(TEST_A)
    await asyncio.sleep(0.1)
    await about.inquiries.close()
    assert (about.cancelled, about.woken) == ([TEST_A], [])


class Pods(NoPodClient):
    """Loading pods that tell the same for seven seconds, then more."""

    can_reach_pods = True

    def __init__(self) -> None:
        self.asked: list[Sequence[Address]] = []

    async def progress(self, pods: Sequence[Address]) -> Progress:
        self.asked.append(pods)
        await asyncio.sleep(1)
        return Progress(bytes=7) if len(self.asked) < 3 else Progress(bytes=9)


A, B = Address("ml", "a", "10.0.0.1"), Address("ml", "b", "10.0.0.2")


class TestLoading:
    @virtual_time
    async def test_pods_are_asked_every_few_seconds_and_a_change_wakes_a_pass(self) -> None:
        woken: list[Key] = []
        pods = Pods()
        loading = Loading(pods, woken.append)
        assert loading.progress(CHAT, "v1", [A]) is None
        await asyncio.sleep(1.1)
        assert (loading.progress(CHAT, "v1", [A, B]), woken) == (Progress(bytes=7), [CHAT])
        await asyncio.sleep(4)
        assert (pods.asked, woken) == ([[A], [A, B]], [CHAT])
        await asyncio.sleep(4)
        assert (loading.progress(CHAT, "v1", [A, B]), woken) == (Progress(bytes=9), [CHAT, CHAT])
        await loading.close()

    @virtual_time
    async def test_what_another_revision_told_is_forgotten(self) -> None:
        loading = Loading(Pods(), lambda _: None)
        loading.progress(CHAT, "v1", [A])
        await asyncio.sleep(1.1)
        assert loading.progress(CHAT, "v2", [B]) is None
        await loading.close()

    @virtual_time
    async def test_without_loading_pods_nothing_is_asked_or_told(self) -> None:
        pods = Pods()
        loading = Loading(pods, lambda _: None)
        loading.progress(CHAT, "v1", [A])
        await asyncio.sleep(1.1)
        assert loading.progress(CHAT, "v1", []) == Progress()
        await asyncio.sleep(60)
        assert len(pods.asked) == 1

    @virtual_time
    async def test_where_pods_cannot_be_reached_nothing_is_waited_for(self) -> None:
        assert Loading(NoPodClient(), lambda _: None).progress(CHAT, "v1", [A]) == Progress()


class Hanging:
    """The way to pods of which only those of one service answer."""

    def __init__(self) -> None:
        self.answered: list[str] = []

    async def send(self, pod: Address, message: Message) -> tuple[int, bytes]:
        if pod.namespace != "quick":
            await asyncio.sleep(message.seconds)
            raise TimeoutError
        self.answered.append(message.path)
        return 404 if message.path == "/metrics" else 200, b""


class TestHowManyAreAskedAtOnce:
    @virtual_time
    async def test_forty_services_with_many_pods_that_hang_leave_room_for_another(self) -> None:
        client, test = HttpPodClient(Hanging()), SmokeRequest("GET", 8080, "/")
        many = [Address("slow", str(number), "") for number in range(64)]
        slow = [asyncio.create_task(client.smoke(test, many)) for _ in range(40)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(0.1):
            assert await client.smoke(test, [Address("quick", "a", "")]) == {"a": None}
        await asyncio.gather(*slow)

    @virtual_time
    async def test_smoke_tests_without_end_leave_room_for_measurements_and_a_turn_for_all(self) -> None:
        way = Hanging()
        client, test = HttpPodClient(way), SmokeRequest("GET", 8080, "/")
        slow = [asyncio.create_task(client.smoke(test, [Address("slow", str(n), "")])) for n in range(500)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(0.1):
            await client.counters([Address("quick", "a", "")])
        assert way.answered == ["/metrics"]
        late = asyncio.create_task(client.smoke(test, [Address("quick", "a", "")]))
        await asyncio.sleep(0.1)
        assert not late.done()
        assert await late == {"a": None}
        assert all(len(found) == 1 for found in await asyncio.gather(*slow))
