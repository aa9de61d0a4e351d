"""The samples, applied as they are: what a newcomer does after the demo."""

import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import models
from tests.e2e import sharing
from tests.e2e.service import Isvc, eventually
from tests.harness.cluster import Cluster
from tests.harness.gateway import Gateway

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"


@pytest.fixture
def claim(cluster: Cluster, namespace: str) -> Iterator[None]:
    """The claim `models` of minilm.yaml, on a folder of this machine."""
    folder = cluster.state / "volumes" / namespace
    shutil.copytree(models.minilm(), folder / "all-minilm-l6-v2")
    common = {"accessModes": ["ReadOnlyMany"], "storageClassName": "", "volumeName": namespace}
    requests = {"resources": {"requests": {"storage": "1Gi"}}}
    volume: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": namespace},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadOnlyMany"],
            "hostPath": {"path": str(folder)},
            "claimRef": {"namespace": namespace, "name": "models"},
        },
    }
    made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"}}
    cluster.kubectl("apply", "--filename=-", input=json.dumps(volume))
    cluster.kubectl(
        f"--namespace={namespace}", "apply", "--filename=-", input=json.dumps({**made, "spec": {**common, **requests}})
    )
    yield
    cluster.kubectl("delete", "persistentvolume", namespace, "--wait=false")
    shutil.rmtree(folder)


def apply(service: Callable[[str], Isvc], sample: str) -> Isvc:
    """The sample under a name of this test's own; everything else is as in the file."""
    manifest = yaml.safe_load((SAMPLES / sample).read_text())
    made = service(manifest["metadata"]["name"])
    made.apply(manifest["spec"])
    return made


def answers(gateway: Gateway, host: str) -> bool:
    """The Gateway leads requests for this host to a classifier."""
    headers = {"Host": host, "Content-Type": "application/json"}
    asked = urllib.request.Request(f"{gateway.url}/predict", b'{"text": "I would buy this again"}', headers)
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.parametrize(
    "sample",
    [
        *(
            pytest.param(sample, marks=sharing.models)
            for sample in ("smollm2.yaml", "classifier.yaml", "blue-green.yaml", "canary.yaml")
        ),
        *(pytest.param(sample, marks=sharing.gpus) for sample in ("gpu.yaml", "auto-gpu.yaml")),
    ],
)
def test_a_sample_that_fetches_its_model_becomes_ready(
    service: Callable[[str], Isvc], model_secret: str, sample: str
) -> None:
    del model_secret
    made = apply(service, sample)
    # Some of its pods may have to wait for those of the sample before to leave.
    eventually(lambda: made.is_rolled_out() and made.blockers() == {}, made, within=240)


@sharing.models
@pytest.mark.parametrize("sample", ["canary-gateway.yaml", "ab-test.yaml"])
def test_a_sample_behind_a_gateway_answers_through_it(
    service: Callable[[str], Isvc], model_secret: str, gateway: Gateway, sample: str
) -> None:
    del model_secret
    made = apply(service, sample)
    eventually(made.is_rolled_out, made, within=240)
    (host,) = made.object()["spec"]["networking"]["gateway"]["hostnames"]
    eventually(lambda: answers(gateway, host), made, within=30)
    eventually(lambda: made.blockers() == {}, made, within=30)


@sharing.models
def test_a_sample_on_a_claim_becomes_ready_with_two_pods(service: Callable[[str], Isvc], claim: None) -> None:
    del claim
    made = apply(service, "minilm.yaml")
    eventually(lambda: made.is_rolled_out() and made.status()["readyReplicas"] == 2, made, within=240)
    assert made.kubectl("get", "poddisruptionbudget", made.name, "--output=jsonpath={.spec.maxUnavailable}") == "1"


@sharing.gpus
def test_the_sample_with_a_public_image_says_that_no_registry_has_it_here(service: Callable[[str], Isvc]) -> None:
    made = apply(service, "custom-container.yaml")
    eventually(lambda: "ImagePullFailed" in made.blockers(), made, within=60)
    assert "vllm/vllm-openai" in made.blockers()["ImagePullFailed"]
