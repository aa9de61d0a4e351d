"""`penstock history` and `penstock diff`: the stored revisions."""

from typing import Any

import pytest
from penstock.api.status import RolloutStatus
from penstock.api.v1alpha1 import InferenceService
from penstock.cli import history, objects
from penstock.cli.history import Entry
from penstock.cli.layout import coloured
from penstock.cli.objects import Rollout, SlotPods
from penstock.desired import pod
from penstock.desired.history import controller_revision
from penstock.kinds import Manifest
from penstock.names import Slot

from tests.builders import T0, a_service, at, rolled_back, stable_at

CREATED = "2026-01-01T11:58:00Z"


def stored(revision: str, number: int, service: InferenceService | None = None) -> Manifest:
    """A ControllerRevision as the API server returns it, two minutes old at T0."""
    owner = service or a_service()
    template = pod.template(owner, revision, server_image="penstock-server:1")
    manifest = controller_revision(owner, revision, number, template)
    return {**manifest, "metadata": {**manifest["metadata"], "creationTimestamp": CREATED}}


def entry(revision: str = "v1", number: int = 1, **predictor: Any) -> Entry:
    (found,) = history.entries("chat", [stored(revision, number, a_service(**predictor))])
    return found


def seen(rollout: RolloutStatus) -> Rollout:
    return objects.service(a_service(status=rollout).to_dict()).rollout


def test_revisions_are_listed_by_their_number() -> None:
    found = history.entries("chat", [stored("v10", 10), stored("v9", 9), stored("v2", 2)])
    assert [each.revision for each in found] == ["v2", "v9", "v10"]


def test_a_revision_is_known_by_its_name_whatever_its_label_says() -> None:
    edited = stored("v1", 1)
    edited["metadata"]["labels"] = {}
    assert [each.revision for each in history.entries("chat", [edited])] == ["v1"]


@pytest.mark.parametrize(
    ("revision", "rollout", "roles"),
    [
        pytest.param("v1", stable_at("v1", active_slot="blue"), ["stable", "wanted", "blue (active)"], id="it serves"),
        pytest.param("v2", rolled_back(), ["wanted", "failed"], id="it was given up"),
        pytest.param("v0", stable_at("v1"), [], id="it is past"),
        pytest.param("v3", RolloutStatus(active_slot="blue", preview_slot="green"), ["green (preview)"], id="to come"),
        pytest.param("v3", RolloutStatus(active_slot="blue"), ["green (idle)"], id="parked"),
    ],
)
def test_a_revision_is_told_by_what_it_is_now(revision: str, rollout: RolloutStatus, roles: list[str]) -> None:
    slots = {Slot.BLUE: SlotPods("v1", 1, 1), Slot.GREEN: SlotPods("v3", 1, 1)}
    assert history.roles(entry(revision), seen(rollout), slots) == roles


@pytest.mark.parametrize(
    ("words", "image", "model"),
    [
        pytest.param({}, "penstock-server:1", "s3://models/smollm2", id="a bucket"),
        pytest.param(
            {"model": {"storageUri": "pvc://models/llm"}}, "penstock-server:1", "pvc://models/llm", id="a claim"
        ),
        pytest.param(
            {"model": {"storageUri": "pvc://models"}}, "penstock-server:1", "pvc://models", id="a whole claim"
        ),
        pytest.param({"model": {"image": "mine:2"}}, "mine:2", "s3://models/smollm2", id="an image of one's own"),
        pytest.param({"containers": [{"image": "vllm:1"}]}, "vllm:1", "", id="a server that does not tell"),
        pytest.param(
            {"containers": [{"image": "vllm:1", "args": ["--model=org/llm"]}]}, "vllm:1", "org/llm", id="one that does"
        ),
    ],
)
def test_a_revision_says_what_it_runs(words: dict[str, Any], image: str, model: str) -> None:
    found = entry(**words)
    assert (found.image, found.model) == (image, model)


def test_the_list_as_people_see_it() -> None:
    found = history.entries("chat", [stored("v1", 1), stored("v2", 2, a_service(containers=[{"image": "vllm:1"}]))])
    slots = {Slot.BLUE: SlotPods("v1", 1, 1)}
    assert history.lines(found, seen(stable_at("v1", active_slot="blue")), slots, T0) == [
        "NUMBER  REVISION  AGE  IS                             IMAGE              MODEL",
        "1       v1        2m   stable, wanted, blue (active)  penstock-server:1  s3://models/smollm2",
        "2       v2        2m   -                              vllm:1             -",
    ]


def test_the_list_as_programs_see_it() -> None:
    assert history.document([entry()], seen(stable_at("v1")), {}) == [
        {
            "number": 1,
            "revision": "v1",
            "created": CREATED,
            "is": ["stable", "wanted"],
            "image": "penstock-server:1",
            "model": "s3://models/smollm2",
        }
    ]


def test_the_difference_of_two_revisions_is_a_unified_diff_of_their_templates() -> None:
    found = history.difference(entry("v1", 1), entry("v1", 2, model={"image": "mine:2"}))
    assert found[:2] == ["--- revision v1 (1)", "+++ revision v1 (2)"]
    assert [line for line in found[2:] if line[0] in "+-"] == ["-    image: penstock-server:1", "+    image: mine:2"]


def test_templates_that_are_the_same_have_no_difference() -> None:
    assert history.difference(entry("v1", 1), entry("v1", 2)) == []


def test_what_went_is_red_and_what_came_is_green() -> None:
    found = history.difference(entry("v1", 1), entry("v1", 2, model={"image": "mine:2"}), coloured)
    assert "\x1b[31m-    image: penstock-server:1\x1b[0m" in found
    assert "\x1b[32m+    image: mine:2\x1b[0m" in found


def test_a_revision_without_a_time_is_listed_all_the_same() -> None:
    ageless = stored("v1", 1)
    del ageless["metadata"]["creationTimestamp"]
    (found,) = history.entries("chat", [ageless])
    assert history.lines([found], seen(stable_at("v2")), {}, at(0))[1].split()[:3] == ["1", "v1", "?"]
