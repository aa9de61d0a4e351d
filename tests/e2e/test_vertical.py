"""The Vertical Pod Autoscaler's recommender itself: it finds the pods by the service's /scale, and recommends.

Only where PENSTOCK_PEERS names a folder with the program vpa-recommender: nobody builds it here.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.control_plane.objects import Manifest
from tests.e2e import specs
from tests.e2e.service import Isvc, eventually
from tests.harness import autoscalers, peers, ports
from tests.harness.cluster import Cluster
from tests.harness.release import Penstock

_MISSING = peers.missing(peers.folder(), "vpa-recommender")
pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(bool(_MISSING), reason=f"PENSTOCK_PEERS has no {', '.join(_MISSING)}"),
]


@pytest.fixture
def recommender(
    cluster: Cluster, resource_metrics_api: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Its log."""
    del resource_metrics_api
    programs, (port,) = peers.folder(), ports.free(1)
    assert programs is not None
    autoscalers.install_vpa_crds(cluster)
    log = tmp_path_factory.mktemp("vpa") / "recommender.log"
    command = [str(programs / "vpa-recommender"), f"--kubeconfig={cluster.kubeconfig}", f"--address=127.0.0.1:{port}"]
    with peers.process([*command, "--recommender-interval=5s"], log):
        yield log


def test_a_recommender_finds_the_pods_and_recommends_for_the_serving_container_alone(
    service: Callable[[str], Isvc], penstock: Penstock, recommender: Path
) -> None:
    sized = service("sized")
    vertical = {"mode": "Off", "maxAllowed": {"cpu": "2", "memory": "1Gi"}}
    sized.apply({**specs.own_server(penstock.operator_image), "autoscaling": {"vertical": vertical}})
    eventually(sized.is_rolled_out, sized, within=60)

    def recommended() -> list[Manifest]:
        status = json.loads(sized.kubectl("get", "vpa", sized.name, "--output=json")).get("status", {})
        found: list[Manifest] = status.get("recommendation", {}).get("containerRecommendations", [])
        return found

    try:
        took = eventually(lambda: bool(recommended()), sized, within=240)
    except AssertionError as error:
        seen = sized.kubectl("get", "vpa", sized.name, "--output=yaml")
        raise AssertionError(f"{error}\n{seen}\n{recommender.read_text()[-3000:]}") from error
    (found,) = recommended()
    print(f"\nrecommended after {took:.0f} s: {found}")
    assert found["containerName"] == "web"
