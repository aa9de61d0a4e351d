"""The chart as Helm renders it, and the checked-in files that come from it.

`python -m tests.chart.rendering` writes those files (`make generate`).
"""

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from penstock.api import crd

from tests.harness import tools

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "helm" / "penstock"
CHART_CRD = CHART / "files" / "serving.penstock.dev_inferenceservices.yaml"
INSTALL = REPOSITORY / "manifests" / "install.yaml"
EVERYTHING_SET = Path(__file__).parent / "everything-set"
NAMESPACE = "penstock-system"
_INSTALL_HEADER = """\
# Generated from helm/penstock with its default values; change the chart and run `make generate`.
apiVersion: v1
kind: Namespace
metadata:
  name: penstock-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""


def helm(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Runs Helm; the caller looks at the exit status."""
    program = tools.ensure("helm")["helm"]
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)


def template(*flags: str | Path) -> "subprocess.CompletedProcess[str]":
    """`helm template` of the chart for the Kubernetes version that the tests run."""
    return helm(
        "template", "penstock", CHART, f"--namespace={NAMESPACE}", f"--kube-version={tools.KUBERNETES_VERSION}", *flags
    )


@cache
def rendered(*flags: str | Path) -> str:
    """What `helm template` prints. Raises AssertionError with Helm's own words when it fails."""
    done = template(*flags)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(*flags: str | Path) -> list[dict[str, Any]]:
    """The rendered objects, in Helm's order of installation."""
    return [document for document in yaml.safe_load_all(rendered(*flags)) if document]


def pods(*flags: str | Path) -> list[dict[str, Any]]:
    """The spec of every pod that the chart makes: the operator's, and the one of `helm test`."""
    spec = {"Pod": lambda o: o["spec"], "Deployment": lambda o: o["spec"]["template"]["spec"]}
    return [spec[o["kind"]](o) for o in objects(*flags) if o["kind"] in spec]


def generated() -> dict[Path, str]:
    """Every checked-in file that comes from the chart, and what it has to hold."""
    return {
        CHART_CRD: crd.render(),
        INSTALL: _INSTALL_HEADER + rendered("--skip-tests"),
        EVERYTHING_SET / "rendered.yaml": rendered(f"--values={EVERYTHING_SET / 'values.yaml'}"),
    }


if __name__ == "__main__":
    # The definition first: Helm reads it from the chart.
    CHART_CRD.write_text(crd.render())
    for path, text in generated().items():
        path.write_text(text)
