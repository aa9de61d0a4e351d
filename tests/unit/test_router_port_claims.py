"""Which port of the routers belongs to which service."""

from hypothesis import given
from hypothesis import strategies as st
from penstock.controller.router_ports import RouterPorts
from penstock.watch.store import Key

keys = st.builds(Key, st.just("ml"), st.sampled_from([f"service-{number}" for number in range(12)]))


def test_a_service_keeps_the_port_that_it_had() -> None:
    ports = RouterPorts(20000, 20009, noted=[(Key("ml", "chat"), 20007)])
    assert ports.of(Key("ml", "chat"), None) == 20007
    assert ports.of(Key("ml", "other"), 20003) == 20003


def test_a_port_that_is_another_service_s_or_none_of_the_routers_is_exchanged() -> None:
    ports = RouterPorts(20000, 20009)
    first = ports.of(Key("ml", "chat"), 20007)
    assert first == 20007
    assert ports.of(Key("ml", "thief"), 20007) not in (None, 20007)
    assert ports.of(Key("ml", "stranger"), 80) in range(20000, 20010)


def test_a_forgotten_port_is_found_again_by_the_service_s_name() -> None:
    first = RouterPorts(20000, 27999).of(Key("ml", "chat"), None)
    assert RouterPorts(20000, 27999).of(Key("ml", "chat"), None) == first


def test_where_all_are_taken_there_is_none_until_one_is_given_back() -> None:
    ports = RouterPorts(20000, 20001)
    assert {ports.of(Key("ml", name), None) for name in ("a", "b")} == {20000, 20001}
    assert ports.of(Key("ml", "c"), None) is None
    ports.forget(Key("ml", "a"))
    assert ports.of(Key("ml", "c"), None) is not None


@given(st.lists(st.tuples(keys, st.one_of(st.none(), st.integers(19998, 20012)), st.booleans()), max_size=60))
def test_no_two_services_ever_have_one_port(steps: list[tuple[Key, int | None, bool]]) -> None:
    ports, held = RouterPorts(20000, 20007), dict[Key, int]()
    for key, noted, is_gone in steps:
        if is_gone:
            ports.forget(key)
            held.pop(key, None)
            continue
        port = ports.of(key, noted)
        if port is not None:
            assert held.get(key, port) == port
            held[key] = port
        assert len(set(held.values())) == len(held)
        assert set(held.values()) <= set(range(20000, 20008))
