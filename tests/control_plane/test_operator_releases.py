"""Several releases over the same namespaces: one acts, the others say why they do not."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pykube
import pytest
from penstock.kinds import DEPLOYMENT, EVENT

from tests.control_plane.objects import Objects, assert_condition
from tests.control_plane.operator_process import Operator, install, uninstall
from tests.control_plane.waiting import eventually, throughout
from tests.harness.cluster import Cluster

# What each of two releases serves besides its own namespace; None stands for all namespaces.
OVERLAPS = {
    "two that serve all namespaces": (None, None),
    "one that serves all, and one of them": (None, ()),
    "one namespace, and one that serves all": ((), None),
    "two lists with a namespace in common": (("shared",), ("shared",)),
}


@dataclass
class Release:
    operator: Operator
    objects: Objects  # of the namespace that both serve
    events: Objects  # of its own namespace


@pytest.fixture
def two_releases(
    control_plane: Cluster, session_client: pykube.HTTPClient, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[Release, Release]]:
    """Two installations in namespaces of their own; nothing runs yet."""
    suffix = secrets.token_hex(3)
    names = {name: f"{name}-{suffix}" for name in ("first", "second", "shared")}
    served: tuple[tuple[str, ...] | None, tuple[str, ...] | None] = request.param
    # A namespace of both: a list's common one, or the one that is listed beside a release for all.
    common = "shared" if served[0] == ("shared",) else "first" if served[0] == () else "second"
    with ExitStack() as stack:
        for name in names.values():
            control_plane.kubectl("create", "namespace", name)
            control_plane.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={name}")
            stack.callback(control_plane.kubectl, "delete", "namespace", name, "--wait=false")
        releases = []
        for name, others in zip(("first", "second"), served, strict=True):
            namespaces = [names[name], *(names[other] for other in others or ())]
            installation = install(control_plane, namespaces, tmp_path, everywhere=others is None)
            stack.callback(uninstall, control_plane, installation)
            operator = Operator(installation, tmp_path)
            stack.callback(operator.end)
            stack.callback(show, operator)
            shown = Objects(session_client, names[common]), Objects(session_client, names[name])
            releases.append(Release(operator, *shown))
        yield releases[0], releases[1]


@pytest.mark.parametrize("two_releases", OVERLAPS.values(), ids=OVERLAPS.keys(), indirect=True)
def test_a_second_release_says_why_it_waits_and_takes_over_when_the_first_is_gone(
    two_releases: tuple[Release, Release], name: str
) -> None:
    first, second = two_releases
    # A lease that an operator of an earlier test left behind expires first.
    first.operator.start().wait_until_leading(within=60)
    second.operator.start()
    told = f"{first.events.namespace}/{first.operator.installation.release}", "watchNamespaces"
    eventually(lambda: second.operator.assert_refused(*told))
    throughout(lambda: assert_does_not_act(second.operator), seconds=5)
    assert second.operator.told().count('"not leading"') == 1
    eventually(lambda: assert_warned(second.events, told[0]))

    first.objects.serve(name)
    eventually(lambda: assert_condition(first.objects.service(name), "Ready", "True"))
    assert first.operator.stop() == 0
    second.operator.wait_until_leading()
    first.objects.delete(DEPLOYMENT, f"{name}-blue")
    eventually(lambda: first.objects.get(DEPLOYMENT, f"{name}-blue"))


@pytest.mark.parametrize("two_releases", [((), ())], ids=["a list each"], indirect=True)
def test_two_releases_that_share_no_namespace_both_act(two_releases: tuple[Release, Release]) -> None:
    for release in two_releases:
        release.operator.start().wait_until_leading()


def show(operator: Operator) -> None:
    print(operator.tail())


def assert_does_not_act(operator: Operator) -> None:
    assert operator.metric("penstock_leader") == 0


def assert_warned(objects: Objects, words: str) -> None:
    (event,) = [each for each in objects.all(EVENT) if each["reason"] == "ScopeConflict"]
    assert event["type"] == "Warning"
    assert words in event["note"]
    assert event["regarding"]["kind"] == "Pod"
