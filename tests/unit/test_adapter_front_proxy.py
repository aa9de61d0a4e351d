import json

import pytest
from penstock.adapter.front_proxy import FrontProxy, NotConfigured, User

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
CONFIG = {
    "requestheader-client-ca-file": CA,
    "requestheader-allowed-names": '["front-proxy-client"]',
    "requestheader-username-headers": '["X-Remote-User"]',
    "requestheader-group-headers": '["X-Remote-Group"]',
    "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
}
HEADERS = [("X-Remote-User", "jane"), ("x-remote-group", "dev"), ("X-Remote-Group", "system:authenticated")]


def test_the_front_proxy_vouches_for_the_user_in_its_headers() -> None:
    proxy = FrontProxy.of_config_map(CONFIG)
    assert proxy.user("front-proxy-client", HEADERS) == User("jane", ("dev", "system:authenticated"))


@pytest.mark.parametrize("common_name", [None, "", "somebody", "front-proxy-client.evil"])
def test_headers_alone_vouch_for_nobody(common_name: str | None) -> None:
    assert FrontProxy.of_config_map(CONFIG).user(common_name, HEADERS) is None


def test_without_allowed_names_every_certificate_of_the_authority_may_vouch() -> None:
    proxy = FrontProxy.of_config_map({**CONFIG, "requestheader-allowed-names": "[]"})
    assert proxy.user("whoever", HEADERS) is not None
    assert proxy.user(None, HEADERS) is None


def test_nobody_is_no_user() -> None:
    assert FrontProxy.of_config_map(CONFIG).user("front-proxy-client", [("X-Remote-Group", "system:masters")]) is None
    assert FrontProxy.of_config_map(CONFIG).user("front-proxy-client", [("X-Remote-User", "")]) is None


def test_extra_fields_are_decoded_and_handed_on_to_the_review() -> None:
    headers = [*HEADERS, ("X-Remote-Extra-Example.com%2fscope", "read"), ("X-Remote-Extra-Example.com%2fscope", "list")]
    user = FrontProxy.of_config_map(CONFIG).user("front-proxy-client", headers)
    assert user is not None
    assert user.review({"verb": "get"}) == {
        "user": "jane",
        "groups": ["dev", "system:authenticated"],
        "extra": {"example.com/scope": ["read", "list"]},
        "resourceAttributes": {"verb": "get"},
    }


def test_header_names_are_those_that_the_cluster_uses() -> None:
    config = {**CONFIG, "requestheader-username-headers": json.dumps(["X-User", "X-Remote-User"])}
    proxy = FrontProxy.of_config_map(config)
    assert proxy.user("front-proxy-client", [("X-User", "joe"), *HEADERS]) == User(
        "joe", ("dev", "system:authenticated")
    )


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"client-ca-file": CA},
        {**CONFIG, "requestheader-allowed-names": "front-proxy-client"},
        {**CONFIG, "requestheader-allowed-names": "[1]"},
    ],
)
def test_a_cluster_without_an_aggregation_layer_is_named_as_such(config: dict[str, str]) -> None:
    with pytest.raises(NotConfigured, match="requestheader"):
        FrontProxy.of_config_map(config)
