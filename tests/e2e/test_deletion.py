"""Deletion needs nobody: owner references do it, with the operator down."""

from collections.abc import Callable

import pytest

from tests.e2e import specs
from tests.e2e.service import Isvc, eventually
from tests.harness import release
from tests.harness.cluster import Cluster
from tests.harness.release import Penstock

KINDS = "deployments,services,horizontalpodautoscalers,poddisruptionbudgets,controllerrevisions,pods,endpointslices"


@pytest.mark.alone
def test_deleting_with_the_operator_down_leaves_nothing(
    service: Callable[[str], Isvc], cluster: Cluster, penstock: Penstock
) -> None:
    web = service("leaving")
    web.apply(specs.own_server(penstock.operator_image, minReplicas=2, maxReplicas=3))
    eventually(web.is_ready, web, within=60)
    assert web.object()["metadata"].get("finalizers") is None
    selector = f"--selector=serving.penstock.dev/inferenceservice={web.name}"
    scale = ("scale", release.OPERATOR, f"--namespace={release.NAMESPACE}")
    try:
        cluster.kubectl(*scale, "--replicas=0")
        web.kubectl("delete", "isvc", web.name, "--timeout=10s")
        web.kubectl("wait", "--for=delete", KINDS, selector, "--timeout=60s")
        # The garbage collector works in rounds: what it made visible only then is waited for too.
        web.kubectl("wait", "--for=delete", KINDS, selector, "--timeout=60s")
        assert web.kubectl("get", KINDS, selector, "--output=name") == ""
    finally:
        cluster.kubectl(*scale, "--replicas=2")
        cluster.kubectl("rollout", "status", release.OPERATOR, f"--namespace={release.NAMESPACE}", "--timeout=120s")
