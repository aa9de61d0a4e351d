"""Updates of a running service, under real traffic."""

import time
from collections.abc import Callable

import pytest

from tests.e2e import sharing, specs
from tests.e2e.service import Isvc, eventually
from tests.e2e.traffic import Traffic
from tests.harness import release
from tests.harness.cluster import Cluster
from tests.harness.release import Penstock


@sharing.models
def test_a_new_image_replaces_the_old_one_without_a_failed_request(
    service: Callable[[str], Isvc], model_secret: str, penstock: Penstock
) -> None:
    classifier = service("rolling")
    spec = {**specs.model("s3://models/sentiment", model_secret), "rollout": {"strategy": "RollingUpdate"}}
    classifier.apply(spec)
    eventually(classifier.is_rolled_out, classifier, within=180)
    (pod,) = classifier.pods()
    # The same image by its digest: for Kubernetes another image.
    digest = pod["status"]["containerStatuses"][0]["imageID"].partition("@")[2]
    before = classifier.status()["rollout"]["stableRevision"]
    with Traffic(f"{classifier.url()}/predict", {"text": "I love it"}) as traffic:
        spec["predictor"]["model"]["image"] = f"{penstock.server_image.rpartition(':')[0]}@{digest}"
        classifier.apply(spec)
        eventually(
            lambda: classifier.is_rolled_out() and classifier.status()["rollout"]["stableRevision"] != before,
            classifier,
            within=180,
        )
        # The old pod drains while the new one serves: the load goes on until it is gone.
        eventually(lambda: _pod_is_gone(classifier, pod["metadata"]["name"]), classifier, within=60)
    assert traffic.failures == []
    assert traffic.answered > 50


def test_a_crash_looping_update_leaves_the_old_pods_serving_and_is_mended_by_the_next(
    service: Callable[[str], Isvc], penstock: Penstock
) -> None:
    web = service("crashing")
    rollout = {"strategy": "RollingUpdate", "progressDeadlineSeconds": 15}
    web.apply({**specs.own_server(penstock.operator_image), "rollout": rollout})
    eventually(web.is_rolled_out, web, within=60)
    with Traffic(web.url(), {}) as traffic:
        started = time.monotonic()
        web.apply({**specs.own_server(penstock.operator_image, version="exit"), "rollout": rollout})
        eventually(lambda: "CrashLooping" in web.blockers(), web, within=15)
        assert "refusing to start" in web.blockers()["CrashLooping"]
        assert web.is_ready()
        eventually(lambda: web.condition("Stalled") == ("True", "ProgressDeadlineExceeded"), web, within=25)
        # The operator counts in whole seconds, as the API's times do.
        assert time.monotonic() - started > 14
        assert web.is_ready()
        assert web.status()["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad"
        web.apply({**specs.own_server(penstock.operator_image, version="3"), "rollout": rollout})
        eventually(lambda: web.is_rolled_out() and web.condition("Stalled")[0] == "False", web, within=60)
    assert traffic.failures == []
    assert traffic.answered > 50


@pytest.mark.alone
def test_a_restart_or_upgrade_of_the_operator_restarts_no_model(
    service: Callable[[str], Isvc], cluster: Cluster, penstock: Penstock
) -> None:
    web = service("kept")
    web.apply(specs.own_server(penstock.operator_image))
    eventually(web.is_rolled_out, web, within=60)
    before = [pod["metadata"]["uid"] for pod in web.pods()]
    template = _template(web)
    try:
        # Another default image for new revisions is what an upgrade of the chart brings.
        release.install(cluster, penstock.operator_image, f"{penstock.server_image}-next")
        web.kubectl("annotate", "isvc", web.name, "example.com/poked=1")
        cluster.kubectl("rollout", "restart", release.OPERATOR, f"--namespace={release.NAMESPACE}")
        cluster.kubectl("rollout", "status", release.OPERATOR, f"--namespace={release.NAMESPACE}", "--timeout=120s")
        # That the new operator acts is shown by a change of scale, which leaves the pods that are there alone.
        web.kubectl("scale", "isvc", web.name, "--replicas=2")
        eventually(lambda: web.status().get("readyReplicas") == 2, web, within=60)
        assert set(before) <= {pod["metadata"]["uid"] for pod in web.pods()}
        assert _template(web) == template
    finally:
        release.install(cluster, penstock.operator_image, penstock.server_image)


def _template(web: Isvc) -> str:
    return web.kubectl("get", "deployment", f"{web.name}-blue", "--output=jsonpath={.spec.template}")


def _pod_is_gone(service: Isvc, name: str) -> bool:
    return service.kubectl("get", "pod", name, "--ignore-not-found", "--output=name") == ""
