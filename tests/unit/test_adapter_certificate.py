"""Certificates are checked as a client does it: by Python's own TLS, over memory."""

import ssl
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from penstock import clock
from penstock.adapter import tls
from penstock.adapter.certificate import AUTHORITY_LIFE, SERVING_LIFE, Certificates, renewed

HOST = "penstock-metrics-adapter.penstock-system.svc"
NOW = clock.now().replace(microsecond=0)
DAY = timedelta(days=1)


def trusts(bundle: bytes, served: Certificates, host: str = HOST) -> bool:
    """Whether a client that trusts the bundle gets through a handshake with a server of these certificates, now."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cadata=bundle.decode())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load(server, served)
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return ends[0].version() is not None


def authorities(certificates: Certificates) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(certificates.bundle)


def test_the_first_certificate_is_trusted_through_its_bundle_and_only_for_its_host() -> None:
    first = renewed(None, HOST, NOW)
    assert trusts(first.bundle, first)
    assert trusts(first.bundle, first, HOST.removesuffix(".svc"))
    assert not trusts(first.bundle, first, "kubernetes.default.svc")
    assert not trusts(renewed(None, HOST, NOW).bundle, first)


def test_nothing_is_changed_while_nothing_is_due() -> None:
    first = renewed(None, HOST, NOW)
    assert renewed(first, HOST, NOW + DAY) is first
    assert renewed(first, HOST, NOW + SERVING_LIFE / 2) is first


def test_a_serving_certificate_in_its_last_third_is_renewed_under_the_same_authority() -> None:
    first = renewed(None, HOST, NOW)
    second = renewed(first, HOST, NOW + SERVING_LIFE * 0.7)
    assert second.bundle == first.bundle
    assert second.certificate != first.certificate
    assert second.expires == NOW + SERVING_LIFE * 1.7


def test_a_certificate_for_another_host_is_replaced() -> None:
    old = renewed(None, "other.default.svc", NOW)
    assert renewed(old, HOST, NOW).is_for(HOST)


def test_a_new_authority_is_trusted_an_hour_before_it_signs() -> None:
    old = renewed(None, HOST, NOW - AUTHORITY_LIFE * 0.7)
    # Its serving certificate has been renewed all the time.
    old = with_new_leaf(old, NOW - SERVING_LIFE * 0.9)
    announced = renewed(old, HOST, NOW)
    assert len(authorities(announced)) == 2
    assert announced.certificate == old.certificate
    assert renewed(announced, HOST, NOW + timedelta(minutes=30)) is announced
    signed = renewed(announced, HOST, NOW + timedelta(hours=2))
    assert signed.certificate != announced.certificate
    # Who has read only the announcement goes on.
    assert signed.bundle == announced.bundle
    assert trusts(announced.bundle, announced)


def with_new_leaf(old: Certificates, at: datetime) -> Certificates:
    new = renewed(old, HOST, at)
    assert new.certificate != old.certificate
    assert len(authorities(new)) == 1
    return new


@given(st.lists(st.integers(1, 900), min_size=1, max_size=12))
def test_at_every_renewal_the_bundle_before_and_after_trust_what_is_served(days: list[int]) -> None:
    """A client that has not read the new bundle yet, and one that has, both go on."""
    now = NOW - timedelta(days=sum(days))
    kept = renewed(None, HOST, now)
    for pause in days:
        # The upkeep looks every minute; a pause of years is an installation that stood still.
        now += timedelta(days=pause)
        steps = [kept]
        while (new := renewed(steps[-1], HOST, now)) is not steps[-1]:
            steps.append(new)
            assert len(steps) < 5
        kept = steps[-1]
        assert kept.expires > now
        newest, *_ = authorities(kept)
        assert newest.not_valid_before_utc <= now < newest.not_valid_after_utc
    assert trusts(kept.bundle, kept)


def test_a_secret_round_trips() -> None:
    first = renewed(None, HOST, NOW)
    assert Certificates.of_secret(first.secret_data()) == first


@pytest.mark.parametrize("name", ["ca.crt", "ca.key", "tls.crt", "tls.key"])
def test_a_secret_that_somebody_has_damaged_holds_no_certificates(name: str) -> None:
    data, other = renewed(None, HOST, NOW).secret_data(), renewed(None, HOST, NOW).secret_data()
    assert Certificates.of_secret({key: value for key, value in data.items() if key != name}) is None
    assert Certificates.of_secret({**data, name: "bm90IGEgY2VydGlmaWNhdGU="}) is None
    assert Certificates.of_secret({**data, name: "%"}) is None
    assert Certificates.of_secret({**data, name: other[name]}) is None


def test_keys_are_not_shown_where_the_certificates_are_printed() -> None:
    assert "PRIVATE" not in repr(renewed(None, HOST, NOW))


def test_a_clock_that_was_set_back_by_years_makes_new_ones() -> None:
    future: datetime = NOW + timedelta(days=5000)
    new = renewed(renewed(renewed(None, HOST, future), HOST, NOW), HOST, NOW)
    assert trusts(new.bundle, new)
