"""The pages of docs/reference/ are what the code says, and what they say besides is about all of it."""

import re
from pathlib import Path

import pytest
import yaml
from penstock.controller.settings import Settings
from penstock.metrics import Metrics, Snapshot
from penstock_server.app import INFERENCE, PROBES
from penstock_server.failure import ExitCode
from penstock_server.metrics import Metrics as ServerMetrics

from tests.generated import chart_page, metrics_page, pages, server_page

ROOT = Path(__file__).parents[2]
SERVER = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "server").rglob("*.py")))
# What the server sets for its libraries, or hands on to them.
NOT_READ = {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "TRANSFORMERS_NO_ADVISORY_WARNINGS", "OMP_WAIT_POLICY"}


@pytest.mark.parametrize("page", pages.generated(), ids=lambda page: page.name)
def test_a_page_is_what_the_code_says(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == pages.generated()[page], "run `make generate`"


def test_every_value_of_the_chart_says_what_it_does_or_stands_in_a_group_that_does() -> None:
    seen = list(chart_page.values(chart_page.VALUES.read_text(encoding="utf-8")))
    told = {value.path for value in seen if value.comment}
    silent = [
        value.path
        for value in seen
        if not any(value.path == path or value.path.startswith(f"{path}.") for path in told)
    ]
    assert silent == []


def test_every_value_of_the_chart_is_on_the_page() -> None:
    def leaves(tree: object, path: str = "") -> set[str]:
        if not isinstance(tree, dict) or not tree:
            return {path}
        return {leaf for key, inner in tree.items() for leaf in leaves(inner, f"{path}.{key}".lstrip("."))}

    text = chart_page.VALUES.read_text(encoding="utf-8")
    assert leaves(yaml.safe_load(text)) <= {value.path for value in chart_page.values(text)}


def test_the_defaults_of_settings_that_the_chart_leaves_out_are_the_operator_s() -> None:
    text = chart_page.VALUES.read_text(encoding="utf-8")
    left_out = [value for value in chart_page.values(text) if value.path.startswith("settings.") and not value.default]
    fields = {name.replace("_", ""): field.default for name, field in Settings.model_fields.items()}
    assert left_out
    for value in left_out:
        default = str(fields[value.path.removeprefix("settings.").lower()]).removesuffix(".0")
        assert value.comment.endswith(f"(`{default}`)"), value


def test_every_metric_of_both_is_on_the_page() -> None:
    text = metrics_page.render()
    operator = Metrics(lambda: Snapshot(is_leader=False, queue_depth=0, services_by_phase={}, objects_by_kind={}))
    names = metrics_page.exposed(operator._registry) | metrics_page.exposed(ServerMetrics("model").registry)
    assert len(names) > 20
    assert {name for name in names if f"| `{name}` |" not in text} == set()


def test_every_route_of_the_server_is_told() -> None:
    text = server_page.render()
    paths = [f"POST {path}" for path in INFERENCE] + [f"GET {path.replace(':.+', '')}" for path in PROBES]
    assert [path for path in paths if f"`{path}`" not in text] == []


@pytest.mark.parametrize("path", server_page.EXAMPLES)
def test_the_server_accepts_the_example_s_fields(path: str) -> None:
    server_page.REQUESTS[path].model_validate(server_page.EXAMPLES[path].request)


def test_every_error_code_of_the_server_is_told_and_no_other() -> None:
    codes = set(re.findall(r"code=\"([a-z_]+)\"", SERVER))
    assert codes == set(server_page.ERRORS)


def test_every_variable_that_the_server_reads_is_told_and_no_other() -> None:
    read = set(re.findall(r"env\.get\(\"([A-Z][A-Z0-9_]+)\"", SERVER)) | {
        "PENSTOCK_GPU_REQUESTED",
        "NVIDIA_VISIBLE_DEVICES",
    }
    assert read - NOT_READ == set(server_page.VARIABLES)


def test_every_exit_code_is_told() -> None:
    assert set(server_page.EXITS) == set(ExitCode)
    reasons = set(re.findall(r"StartupFailure\([^)]*?\"([A-Z][A-Za-z]+)\"", SERVER)) - {"InvalidSpec"}
    told = " ".join(reason for reason, _ in server_page.EXITS.values())
    assert [reason for reason in reasons if f"`{reason}`" not in told] == []
