"""The way through Prometheus and prometheus-adapter, which bench.scaling compares with: two paces of it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.harness import peers
from tests.harness.cluster import Cluster, HarnessError, KubectlError

PROGRAMS = ("prometheus", "adapter")
_RULES = Path(__file__).parents[1] / "manifests" / "monitoring" / "prometheus-adapter-values.yaml"
_USUAL_WINDOW = "[1m]"


@dataclass(frozen=True)
class Pace:
    """How fast Prometheus and its adapter are set."""

    scrape_seconds: int
    window_seconds: int
    relist_seconds: int  # between two looks of the adapter at which series there are: over before the load begins


USUAL = Pace(scrape_seconds=15, window_seconds=60, relist_seconds=15)
FAST = Pace(scrape_seconds=2, window_seconds=15, relist_seconds=5)


@contextmanager
def serving(cluster: Cluster, programs: Path, pace: Pace, scratch: Path) -> Iterator[None]:
    """Both run, and the API server asks them for custom metrics, until the block is left."""
    with (
        peers.prometheus(cluster, programs, scratch, scrape_seconds=pace.scrape_seconds) as url,
        peers.prometheus_adapter(
            cluster, programs, scratch, url=url, rules=_rules(pace), relist_seconds=pace.relist_seconds
        ),
    ):
        yield


def wait_for_metric(cluster: Cluster, namespace: str, metric: str, within: float = 180) -> None:
    """Until the custom metrics API has a number for a pod of the namespace, whoever serves it. Raises HarnessError."""
    path = f"/apis/custom.metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/*/{metric}"
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with suppress(KubectlError):
            if json.loads(cluster.kubectl("get", "--raw", path))["items"]:
                return
        time.sleep(1)
    raise HarnessError(f"{metric} is not served after {within:.0f} s")


def _rules(pace: Pace) -> list[dict[str, Any]]:
    """Those that we recommend; only the window is another where the pace is."""
    text = _RULES.read_text().replace(_USUAL_WINDOW, f"[{pace.window_seconds}s]")
    rules: list[dict[str, Any]] = yaml.safe_load(text)["rules"]["custom"]
    return rules
