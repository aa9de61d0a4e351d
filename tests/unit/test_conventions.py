"""What the code base promises about itself."""

import ast
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from penstock import names
from penstock.api.status import LimitedBy, Phase, RolloutPhase, SleepState, TransitionStatus
from penstock.kinds import BY_NAME

ROOT = Path(__file__).parents[2]
MODULES = sorted([*(ROOT / "operator").rglob("*.py"), *(ROOT / "server").rglob("*.py")])
LONGEST_MODULE = 400
# Where strings of the cluster may be spelt out: the vocabulary itself and the API types that it takes from.
VOCABULARY = {"names.py", "kinds.py", "api"}
# They read the words of the kubelet, the scheduler and the model server, some of which are the same as ours.
INTERPRETERS = {"parse.py", "causes.py"}


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("folder", ["operator", "server"])
def test_the_folders_of_the_packages_are_no_packages(folder: str) -> None:
    # A package named `operator` would shadow Python's own module.
    assert not (ROOT / folder / "__init__.py").exists()


def test_python_s_own_operator_module_is_still_found() -> None:
    found = subprocess.run([sys.executable, "-c", "import operator; operator.add"], cwd=ROOT, check=False)
    assert found.returncode == 0


@pytest.mark.parametrize("module", MODULES, ids=label)
def test_no_module_is_too_long_to_read(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= LONGEST_MODULE


def test_the_import_contracts_hold() -> None:
    found = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-4000:]


def strings(module: Path) -> Iterator[tuple[int, str]]:
    """The string literals of a module with their lines, without docstrings."""
    tree = ast.parse(module.read_text())
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def operator_modules() -> list[Path]:
    package = ROOT / "operator" / "penstock"
    return [m for m in sorted(package.rglob("*.py")) if m.relative_to(package).parts[0] not in VOCABULARY]


@pytest.mark.parametrize("module", operator_modules(), ids=label)
def test_labels_annotations_and_groups_are_spelt_out_only_in_the_vocabulary(module: Path) -> None:
    ours = re.compile(r"(serving\.)?penstock\.dev/|app\.kubernetes\.io/|serving\.penstock\.dev")
    assert [(line, text) for line, text in strings(module) if ours.search(text)] == []


@pytest.mark.parametrize("module", [m for m in operator_modules() if m.name not in INTERPRETERS], ids=label)
def test_reasons_are_spelt_out_only_in_the_vocabulary(module: Path) -> None:
    typed = {
        word
        for literal in (Phase, RolloutPhase, TransitionStatus, LimitedBy, SleepState)
        for word in typing.get_args(literal)
    }
    reasons = {reason.value for reason in names.Reason} - typed  # mypy knows the others.
    assert [(line, text) for line, text in strings(module) if text in reasons] == []


def test_a_kind_of_each_name_is_known_by_it() -> None:
    assert all(name == kind.name for name, kind in BY_NAME.items())


def test_the_values_of_the_vocabulary_are_words_of_the_api_conventions() -> None:
    for word in (*names.Reason, *names.Condition):
        assert re.fullmatch(r"[A-Z][A-Za-z]*", word.value)


@pytest.mark.parametrize("service", ["a", "x" * 50])
def test_every_name_fits_where_it_is_written(service: str) -> None:
    assert len(names.deployment(service, names.Slot.GREEN)) <= 63
    assert len(names.controller_revision(service, "0123456789")) <= 63
