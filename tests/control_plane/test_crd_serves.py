"""The InferenceService as the API server offers it: defaults, columns, documentation, /scale and /status."""

import json
from typing import Any

import pytest
import yaml
from penstock.api import crd

from tests.harness.handle import Cluster, KubectlError

pytestmark = pytest.mark.usefixtures("inference_services")

MODEL = {"storageUri": "s3://models/smollm2"}
TIME = "2026-01-01T00:00:00Z"


class Services:
    """The InferenceServices of one namespace, by kubectl."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.namespace = namespace
        self._cluster = cluster

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        return self._cluster.kubectl(f"--namespace={self.namespace}", *arguments, input=input)

    def create(self, name: str = "smollm2", **spec: Any) -> dict[str, Any]:
        """Creates a service and returns it as it was stored."""
        document = {
            "apiVersion": "serving.penstock.dev/v1alpha1",
            "kind": "InferenceService",
            "metadata": {"name": name},
            "spec": {"predictor": {"model": MODEL}} | spec,
        }
        stored: dict[str, Any] = json.loads(self.kubectl("create", "-f-", "-ojson", input=json.dumps(document)))
        return stored

    def get(self, name: str = "smollm2") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "isvc", name, "-ojson"))
        return found

    def scale(self, name: str = "smollm2") -> dict[str, Any]:
        path = f"/apis/serving.penstock.dev/v1alpha1/namespaces/{self.namespace}/inferenceservices/{name}/scale"
        found: dict[str, Any] = json.loads(self.kubectl("get", "--raw", path))
        return found

    def set_status(self, status: dict[str, Any], name: str = "smollm2") -> None:
        patch = json.dumps({"status": status})
        self.kubectl("patch", "isvc", name, "--subresource=status", "--type=merge", f"--patch={patch}")


@pytest.fixture
def services(control_plane: Cluster, namespace: str) -> Services:
    return Services(control_plane, namespace)


def test_the_crd_is_established_and_its_names_are_accepted(services: Services) -> None:
    found = json.loads(services.kubectl("get", "crd", "inferenceservices.serving.penstock.dev", "-ojson"))
    conditions = {condition["type"]: condition["status"] for condition in found["status"]["conditions"]}
    assert conditions == {"Established": "True", "NamesAccepted": "True"}


def test_the_stored_schema_is_the_generated_one(services: Services) -> None:
    """Nothing was dropped: a keyword that the API server does not know would be."""
    found = json.loads(services.kubectl("get", "crd", "inferenceservices.serving.penstock.dev", "-ojson"))
    assert found["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == crd.schema()


def test_a_minimal_service_is_given_its_defaults(services: Services) -> None:
    assert services.create()["spec"] == {
        "predictor": {
            "model": {"storageUri": "s3://models/smollm2", "task": "auto", "dtype": "auto"},
            "minReplicas": 1,
            "scaleMetric": "rps",
            "containerConcurrency": 0,
            "timeout": 300,
            "minReadySeconds": 0,
        },
        "suspend": False,
    }


def test_defaults_of_an_object_come_with_the_object(services: Services) -> None:
    predictor = {"model": MODEL, "deploymentStrategy": {"rollingUpdate": {"maxSurge": 1}}}
    spec = services.create(predictor=predictor, rollout={}, disruption={})["spec"]
    assert spec["rollout"] == {"progressDeadlineSeconds": 1800, "revisionHistoryLimit": 5, "onFailure": "Rollback"}
    assert spec["disruption"] == {"maxUnavailable": 1}
    assert spec["predictor"]["deploymentStrategy"] == {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}}


def test_kubernetes_fragments_are_kept_as_they_are(services: Services) -> None:
    fragments = {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}],
        "securityContext": {"runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
    }
    model = MODEL | {"env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}]}
    stored = services.create(predictor={"model": model} | fragments)["spec"]["predictor"]
    assert {name: stored[name] for name in fragments} == fragments
    assert stored["model"]["env"] == model["env"]


KSERVE_CUSTOM = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: bring-your-own
  labels: {team: search}
  annotations: {example.com/owner: search}
spec:
  predictor:
    minReplicas: 2
    maxReplicas: 6
    scaleMetric: concurrency
    scaleTarget: 8
    containerConcurrency: 16
    timeout: 60
    serviceAccountName: reader
    nodeSelector: {disk: ssd}
    containers:
    - name: kserve-container
      image: registry.example.com/ranker:1.2
      args: [--port=9000]
      env:
      - {name: LOG_LEVEL, value: info}
      ports:
      - {containerPort: 9000, protocol: TCP}
      readinessProbe: {httpGet: {path: /ready, port: 9000}}
      resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {cpu: "1", memory: 1Gi}}
"""

KSERVE_MODEL = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: embedder
spec:
  predictor:
    deploymentStrategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
    model:
      modelFormat: {name: huggingface}
      storageUri: pvc://models/embedder
      env:
      - {name: OMP_NUM_THREADS, value: "2"}
      resources: {limits: {cpu: "1", memory: 2Gi}}
"""


@pytest.mark.parametrize("manifest", [KSERVE_CUSTOM, KSERVE_MODEL], ids=["a custom container", "a hugging face model"])
def test_a_kserve_manifest_works_after_changing_only_its_api_version(services: Services, manifest: str) -> None:
    ours = manifest.replace("serving.kserve.io/v1beta1", "serving.penstock.dev/v1alpha1")
    stored = json.loads(services.kubectl("create", "-f-", "-ojson", input=ours))
    _assert_contains(stored["spec"], yaml.safe_load(manifest)["spec"])


def _assert_contains(stored: Any, written: Any) -> None:
    if not isinstance(written, dict):
        assert stored == written
        return
    for key, value in written.items():
        _assert_contains(stored[key], value)


def test_the_columns_are_what_a_person_looks_for(services: Services) -> None:
    services.create()
    services.set_status(
        {
            "phase": "Ready",
            "url": "http://smollm2.chat.svc",
            "replicas": 2,
            "rollout": {"currentRevision": "5d4c8b", "phase": "Stable", "strategy": "RollingUpdate"},
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "Answering",
                    "message": "the model answers",
                    "lastTransitionTime": TIME,
                }
            ],
        }
    )
    head, row = services.kubectl("get", "isvc").splitlines()
    assert head.split() == ["NAME", "READY", "PHASE", "URL", "REPLICAS", "REVISION", "ROLLOUT", "AGE"]
    assert row.split()[:-1] == ["smollm2", "True", "Ready", "http://smollm2.chat.svc", "2", "5d4c8b", "Stable"]
    head, row = services.kubectl("get", "isvc", "-owide").splitlines()
    assert head.split()[8:] == ["STRATEGY", "REASON", "MODEL"]
    assert row.split()[8:] == ["RollingUpdate", "Answering", "s3://models/smollm2"]


def test_the_category_lists_the_services(services: Services) -> None:
    services.create()
    assert services.kubectl("get", "penstock", "-oname").split() == ["inferenceservice.serving.penstock.dev/smollm2"]


def test_kubectl_wait_sees_the_ready_condition(services: Services) -> None:
    services.create()
    ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": TIME}
    services.set_status({"conditions": [ready]})
    services.kubectl("wait", "--for=condition=Ready", "isvc/smollm2", "--timeout=10s")


@pytest.mark.parametrize("path", ["spec", "spec.predictor", "spec.predictor.model", "spec.rollout", "status.rollout"])
def test_kubectl_explain_tells_every_field_in_words(services: Services, path: str) -> None:
    told = " ".join(services.kubectl("explain", f"isvc.{path}").split())
    schema = crd.schema()
    for name in path.split("."):
        schema = schema["properties"][name]
    for name, field in schema["properties"].items():
        assert f"{name} <" in told
        assert " ".join(field["description"].split()) in told


def test_kubectl_scale_writes_the_replicas(services: Services) -> None:
    services.create()
    services.kubectl("scale", "isvc/smollm2", "--replicas=3")
    assert services.get()["spec"]["replicas"] == 3


def test_scale_reports_the_pods_and_their_selector_to_autoscalers(services: Services) -> None:
    services.create(replicas=2)
    services.set_status({"replicas": 1, "selector": "serving.penstock.dev/inferenceservice=smollm2"})
    scale = services.scale()
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 1, "selector": "serving.penstock.dev/inferenceservice=smollm2"}


def test_scale_cannot_be_read_before_the_replicas_are_set(services: Services) -> None:
    """Why the operator seeds them before the first autoscaler exists."""
    services.create()
    with pytest.raises(KubectlError, match="replicas"):
        services.scale()


def test_the_status_is_written_only_through_its_subresource(services: Services) -> None:
    services.create()
    services.kubectl("patch", "isvc", "smollm2", "--type=merge", '--patch={"status":{"phase":"Ready"}}')
    assert "status" not in services.get()


def test_a_status_write_leaves_spec_and_generation_alone(services: Services) -> None:
    services.create()
    patch = json.dumps({"spec": {"suspend": True}, "status": {"phase": "Pending", "replicas": 0}})
    services.kubectl("patch", "isvc", "smollm2", "--subresource=status", "--type=merge", f"--patch={patch}")
    stored = services.get()
    assert (stored["metadata"]["generation"], stored["spec"]["suspend"]) == (1, False)
    assert stored["status"] == {"phase": "Pending", "replicas": 0}


def test_a_download_beyond_two_gigabytes_is_reported(services: Services) -> None:
    services.create()
    download = {"bytes": 3 * 2**30, "totalBytes": 140 * 2**30, "bytesPerSecond": 5 * 2**30}
    services.set_status({"download": download})
    assert services.get()["status"]["download"] == download


def test_two_conditions_of_one_type_are_refused(services: Services) -> None:
    services.create()
    ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": TIME}
    with pytest.raises(KubectlError, match=r"status\.conditions\[1\].*Duplicate"):
        services.set_status({"conditions": [ready, ready | {"status": "False"}]})
