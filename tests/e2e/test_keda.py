"""KEDA itself, with a real Prometheus: scaled up and back, and handed over in both directions under load.

Only where PENSTOCK_PEERS names a folder with the programs prometheus, keda and keda-adapter: nobody builds them here.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e import specs
from tests.e2e.service import Isvc, eventually
from tests.e2e.test_request_rate import QUICK_DOWN, wanted
from tests.e2e.traffic import Traffic
from tests.harness import peers
from tests.harness.cluster import Cluster
from tests.harness.release import Penstock

_MISSING = peers.missing(peers.folder(), "prometheus", "keda", "keda-adapter")
pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(bool(_MISSING), reason=f"PENSTOCK_PEERS has no {', '.join(_MISSING)}"),
]

SERIES = "inference_requests_total"


@pytest.fixture(scope="module")
def prometheus(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    programs = peers.folder()
    assert programs is not None
    scratch: Path = tmp_path_factory.mktemp("keda")
    with (
        peers.prometheus(cluster, programs, scratch, scrape_seconds=2) as url,
        peers.keda(cluster, programs, scratch),
    ):
        yield url


def scalers(service: Isvc) -> frozenset[str]:
    """What scales the service now; asked twice, for what goes between two questions was no pair."""
    return _listed(service) & _listed(service)


def _listed(service: Isvc) -> frozenset[str]:
    found = json.loads(service.kubectl("get", "hpa,scaledobject", "--output=json"))["items"]
    return frozenset(f"{each['kind']}/{each['metadata']['name']}" for each in found)


@contextmanager
def watched(service: Isvc) -> Iterator[list[frozenset[str]]]:
    """Every set of scalers that was seen meanwhile, in order."""
    seen: list[frozenset[str]] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            now = scalers(service)
            if not seen or seen[-1] != now:
                seen.append(now)

    thread = threading.Thread(target=watch, name="scalers")
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def test_keda_scales_a_service_up_and_back_and_is_handed_over_both_ways(
    service: Callable[[str], Isvc], penstock: Penstock, prometheus: str
) -> None:
    busy = service("keda")
    spec = specs.own_server(penstock.operator_image, maxReplicas=4, scaleMetric="rps", scaleTarget=5)
    spec["predictor"]["containers"][0]["command"] = ["python", "-c", specs.SERVER.replace("hits_total", SERIES)]
    by_keda = {"provider": "KEDA", "keda": {"serverAddress": prometheus}, "behavior": QUICK_DOWN}
    busy.apply({**spec, "autoscaling": by_keda})
    eventually(busy.is_ready, busy, within=90)
    eventually(lambda: busy.condition("AutoscalingActive")[0] == "True", busy, within=90)
    with Traffic(busy.url(), {}, clients=0, fresh=6, pause_seconds=0.2) as load:
        up = eventually(lambda: wanted(busy) == 4, busy, within=120)
        print(f"\nKEDA: 4 pods wanted after {up:.1f} s")
        eventually(lambda: busy.status().get("readyReplicas") == 4, busy, within=90)
        with watched(busy) as seen:
            for provider, own in (
                ("Auto", f"HorizontalPodAutoscaler/{busy.name}"),
                ("KEDA", "ScaledObject/" + busy.name),
            ):
                busy.apply({**spec, "autoscaling": by_keda if provider == "KEDA" else {"behavior": QUICK_DOWN}})
                took = eventually(lambda own=own: own in scalers(busy), busy, within=60)  # type: ignore[misc]
                print(f"handed over to {provider} in {took:.1f} s; spec.replicas {wanted(busy)}")
                eventually(lambda: busy.condition("AutoscalingActive")[0] == "True", busy, within=90)
        print(" -> ".join("+".join(sorted(each)) or "none" for each in seen))
        assert wanted(busy) == 4
    down = eventually(lambda: wanted(busy) == 1, busy, within=180)
    print(f"KEDA: 1 pod wanted {down:.1f} s after the load")
    ours = f"HorizontalPodAutoscaler/{busy.name}"
    assert [each for each in seen if ours in each and each != {ours}] == []
    assert load.failures == []
