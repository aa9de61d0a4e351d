import argparse
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.controller.settings import Settings
from penstock.environment import SettingsError
from penstock.kube.leader import LeaseTiming
from pydantic import ValidationError


def flags(*arguments: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    Settings.add_flags(parser)
    return vars(parser.parse_args(arguments))


def complaints(environ: dict[str, str]) -> list[str]:
    try:
        Settings.from_env(environ)
    except SettingsError as error:
        return str(error).splitlines()
    return []


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings = Settings.from_env({})
    assert settings.namespaces == ()
    assert settings.workers == 32
    assert (settings.api_qps, settings.api_burst) == (400, 800)
    assert settings.lease_timing == LeaseTiming(15, 10, 2)
    assert settings.pod_access == "Direct"


def test_a_variable_sets_its_field() -> None:
    settings = Settings.from_env({"PENSTOCK_WORKERS": "8", "PENSTOCK_POD_ACCESS": "ApiServer", "UNRELATED": "x"})
    assert settings.workers == 8
    assert settings.pod_access == "ApiServer"


def test_a_flag_comes_before_the_variable() -> None:
    settings = Settings.from_env({"PENSTOCK_WORKERS": "8", "PENSTOCK_LEASE_NAME": "a"}, flags("--workers", "4"))
    assert settings.workers == 4
    assert settings.lease_name == "a"


def test_flags_of_other_commands_are_not_settings() -> None:
    assert Settings.from_env({}, {"command": "run", "workers": None}).workers == 32


def test_an_empty_variable_counts_as_unset() -> None:
    assert Settings.from_env({"PENSTOCK_WORKERS": ""}).workers == 32


def test_namespaces_are_separated_by_commas() -> None:
    assert Settings.from_env({"PENSTOCK_NAMESPACES": "team-a, team-b,"}).namespaces == ("team-a", "team-b")


def test_two_processes_on_one_host_have_two_identities() -> None:
    assert Settings.from_env({}).lease_identity != Settings.from_env({}).lease_identity
    assert Settings.from_env({"PENSTOCK_LEASE_IDENTITY": "pod-1"}).lease_identity == "pod-1"


def test_a_bad_value_is_refused_by_variable_flag_bound_and_value() -> None:
    assert complaints({"PENSTOCK_WORKERS": "0"}) == [
        "PENSTOCK_WORKERS (--workers): Input should be greater than or equal to 1, not '0'"
    ]


def test_every_bad_value_has_its_line() -> None:
    level, workers = complaints({"PENSTOCK_WORKERS": "many", "PENSTOCK_LOG_LEVEL": "loud"})
    assert workers.startswith("PENSTOCK_WORKERS (--workers)")
    assert "'debug', 'info', 'warning' or 'error'" in level


def test_a_bad_namespace_in_the_list_is_named() -> None:
    (line,) = complaints({"PENSTOCK_NAMESPACES": "team-a,Team_B"})
    assert "not 'Team_B'" in line


def test_lease_times_that_could_let_two_lead_are_refused() -> None:
    (line,) = complaints({"PENSTOCK_LEASE_DURATION_SECONDS": "10"})
    assert "duration > renew deadline" in line


@pytest.mark.parametrize(
    "image",
    [
        "penstock-server:0.1.0",
        "localhost:5000/penstock/server",
        "registry.example.com/a/b:1@sha256:" + "0" * 64,
        "penstock-server@sha256:" + "a" * 64,
    ],
)
def test_an_image_may_be_given_by_tag_or_by_digest(image: str) -> None:
    assert Settings.from_env({"PENSTOCK_SERVER_IMAGE": image}).server_image == image


@pytest.mark.parametrize("image", ["Server:1", "server@sha256:abc", "a b", "server:"])
def test_what_is_no_image_is_refused(image: str) -> None:
    (line,) = complaints({"PENSTOCK_SERVER_IMAGE": image})
    assert line.startswith("PENSTOCK_SERVER_IMAGE (--server-image)")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings.from_env({}).workers = 3  # type: ignore[misc]


def test_the_help_names_every_setting_with_its_variable() -> None:
    parser = argparse.ArgumentParser()
    Settings.add_flags(parser)
    text = parser.format_help()
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')} " in text
        assert f"PENSTOCK_{name.upper()}" in text
        assert field.description


@given(st.dictionaries(st.sampled_from([f"PENSTOCK_{name.upper()}" for name in Settings.model_fields]), st.text()))
def test_whatever_the_environment_says_it_is_taken_or_refused_in_our_words(environ: dict[str, str]) -> None:
    assert all(line.startswith("PENSTOCK_") or "lease times" in line for line in complaints(environ))
