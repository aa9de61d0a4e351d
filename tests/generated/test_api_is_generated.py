"""The CRD and the API page are what the types say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from penstock import names
from penstock.api import crd, reference
from penstock.rollout import actions

ROOT = Path(__file__).parents[2]
CRD = ROOT / "crds" / "serving.penstock.dev_inferenceservices.yaml"
PAGE = ROOT / "docs" / "reference" / "api.md"

# What the API server's structural schemas may not hold; see "Specifying a structural schema" in its documentation.
FORBIDDEN = {"$ref", "title", "anyOf", "allOf", "oneOf", "const", "prefixItems", "definitions", "$defs", "nullable"}


def objects(node: Any) -> Iterator[dict[str, Any]]:
    """Every object of a document, outermost first."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
        yield from objects(child)


def test_the_crd_file_is_what_the_types_say() -> None:
    assert CRD.read_text(encoding="utf-8") == crd.render()


def test_the_api_page_is_what_the_types_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference.render()


def test_every_annotation_and_action_that_users_write_is_on_the_api_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for annotation in (names.ANNOTATION_PAUSED, names.ANNOTATION_RESTARTED_AT, names.ANNOTATION_ACTION):
        assert f"| `{annotation}:" in page
    assert [verb for verb in actions._VERBS if f"`{verb}`" not in page] == []


def test_the_file_says_the_same_as_the_definition() -> None:
    assert yaml.safe_load(CRD.read_text(encoding="utf-8")) == crd.definition()


def test_the_crd_is_small_enough_for_client_side_apply() -> None:
    assert len(CRD.read_bytes()) < 100_000


def test_nothing_in_the_schema_is_beyond_structural_schemas() -> None:
    assert [keyword for node in objects(crd.schema()) for keyword in FORBIDDEN & set(node)] == []


def test_every_rule_blames_a_field_and_gives_a_reason() -> None:
    rules = [rule for node in objects(crd.schema()) for rule in node.get("x-kubernetes-validations", [])]
    assert len(rules) >= 14
    for rule in rules:
        assert rule["fieldPath"].rpartition(".")[2] in rule["message"], rule


def test_no_default_stands_inside_a_list() -> None:
    """The API server fills it in there, and a GitOps tool, which compares lists as a whole, sees a change for ever."""
    lists = [node["items"] for node in objects(crd.schema()) if "items" in node and "type" in node]
    assert len(lists) > 10
    assert [node for each in lists for node in objects(each) if "default" in node] == []


def test_every_description_ends_as_a_sentence_does() -> None:
    fields = [
        (name, field["description"])
        for node in objects({part: crd.schema()["properties"][part] for part in ("spec", "status")})
        for name, field in node.get("properties", {}).items()
    ]
    assert len(fields) > 100
    assert [name for name, text in fields if not text.endswith(".") or not text[0].isalnum()] == []


def test_the_rollout_strategy_has_no_default_in_the_schema() -> None:
    spec = crd.schema()["properties"]["spec"]["properties"]
    assert "default" not in spec["rollout"]["properties"]["strategy"]
    assert "default" not in spec["predictor"]["properties"]["scaleTarget"]


def test_the_status_schema_fills_in_nothing() -> None:
    assert [node for node in objects(crd.schema()["properties"]["status"]) if "default" in node] == []


def test_byte_counts_do_not_end_at_two_gigabytes() -> None:
    status = crd.schema()["properties"]["status"]
    fields = {name: field for node in objects(status) for name, field in node.get("properties", {}).items()}
    counts = {name: field["format"] for name, field in fields.items() if "ytes" in name}
    assert counts
    assert set(counts.values()) == {"int64"}


def test_a_file_that_has_drifted_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drifted = tmp_path / "crd.yaml"
    drifted.write_text(crd.render() + "# by hand\n", encoding="utf-8")
    assert crd.print_or_check(crd.render(), ["--check", str(drifted)]) == 1
    assert "make generate" in capsys.readouterr().err
    drifted.write_text(crd.render(), encoding="utf-8")
    assert crd.print_or_check(crd.render(), ["--check", str(drifted)]) == 0


def test_without_arguments_the_text_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert crd.print_or_check("text\n", []) == 0
    assert capsys.readouterr().out == "text\n"
