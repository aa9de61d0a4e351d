"""What a command loads: modules are counted, for a test of time would tell more of the machine than of the command."""

import subprocess
import sys

import pytest

# Each of these takes longer to load than a command that shows a status should take altogether.
HEAVY = {"aiohttp", "asyncio", "kopf", "kubernetes", "pydantic", "prometheus_client", "rich", "structlog", "torch"}
MOST_FOR_HELP = 100
MOST_FOR_A_COMMAND = 250


def loaded(program: str) -> set[str]:
    """The modules that are there at the end of a program of its own."""
    code = f"import sys\n{program}\nprint(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(found.stdout.splitlines()[-1].split())


def heavy(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules} & HEAVY


@pytest.mark.parametrize("words", [["--help"], ["status", "--help"], ["promote", "--help"]], ids=" ".join)
def test_help_loads_the_parser_alone(words: list[str]) -> None:
    program = f"from penstock.cli import main\ntry: main.main({words!r})\nexcept SystemExit: pass"
    found = loaded(program)
    assert not heavy(found)
    assert len(found) <= MOST_FOR_HELP


@pytest.mark.parametrize("command", ["status", "explain", "history", "diff a b", "promote", "restart"])
def test_a_command_loads_neither_the_api_s_models_nor_the_operator_s_client(command: str) -> None:
    """Up to the refused connection it has read a kubeconfig, and all that it would show the answer with is loaded."""
    program = f"""
import tempfile
from penstock.cli import main
with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
    config.write(\"\"\"
current-context: nowhere
contexts: [{{name: nowhere, context: {{cluster: nowhere}}}}]
clusters: [{{name: nowhere, cluster: {{server: "https://127.0.0.1:1"}}}}]
\"\"\")
    config.flush()
    name, *rest = {command.split()!r}
    assert main.main([name, "chat", *rest, f"--kubeconfig={{config.name}}"]) == 1
"""
    found = loaded(program)
    assert not heavy(found)
    assert "penstock.controller" not in found
    assert len(found) <= MOST_FOR_A_COMMAND


def test_the_operator_loads_no_command() -> None:
    found = loaded("import penstock.cli.main, penstock.cli.process")
    assert not {module for module in found if module.startswith("penstock.cli.")} - {
        "penstock.cli.main",
        "penstock.cli.process",
    }
