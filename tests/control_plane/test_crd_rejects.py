"""The API server refuses what cannot be carried out, and names the field."""

import json
from typing import Any

import pytest

from tests.harness.handle import Cluster, KubectlError

pytestmark = pytest.mark.usefixtures("inference_services")

STORAGE_URI = "spec.predictor.model.storageUri"
ROLLING = "spec.predictor.deploymentStrategy.rollingUpdate"


def a_service(name: str = "smollm2", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.penstock.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"model": {"storageUri": "s3://models/smollm2"}}, **spec},
    }


def a_model(**model: Any) -> dict[str, Any]:
    return a_service(predictor={"model": {"storageUri": "s3://models/smollm2", **model}})


def a_predictor(**fields: Any) -> dict[str, Any]:
    return a_service(predictor={"model": {"storageUri": "s3://models/smollm2"}, **fields})


def custom(*containers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return a_service(predictor={"containers": list(containers), **fields})


A_COOKIE = {"cookie": {"name": "arm", "value": "b"}}


def an_ab_test(**fields: Any) -> dict[str, Any]:
    return a_service(rollout={"strategy": "BlueGreen", "abTest": fields})


def scaled_on(**metric: Any) -> dict[str, Any]:
    return a_service(autoscaling={"metrics": [metric]})


def scheduled(*schedules: dict[str, Any], **predictor: Any) -> dict[str, Any]:
    """Of at most three pods; each schedule can be carried out, but for what it says itself."""
    usual = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "minReplicas": 1}
    model = {"storageUri": "s3://models/smollm2"}
    return a_service(
        predictor={"model": model, "maxReplicas": 3, **predictor},
        autoscaling={"schedules": [usual | each for each in schedules]},
    )


METRIC = "spec.autoscaling.metrics[0]"
SCHEDULE = "spec.autoscaling.schedules"

REJECTED = {
    "a name that a Service cannot have": (a_service("1st"), "metadata.name: ", "must begin with a letter"),
    "a name with dots": (a_service("smol.lm2"), "metadata.name: ", "must begin with a letter"),
    "a name too long for its children": (a_service("a" * 51), "metadata.name: ", "at most 50 characters"),
    "the name of a slot": (a_service("smollm2-blue"), "metadata.name: ", "may not end in -blue"),
    "the name of the other slot": (a_service("smollm2-green"), "metadata.name: ", "may not end in -blue, -green"),
    "the name of a preview": (a_service("smollm2-preview"), "metadata.name: ", "or -preview"),
    "no predictor": ({**a_service(), "spec": {}}, "spec.predictor: ", "Required value"),
    "neither model nor containers": (a_service(predictor={}), "spec.predictor.model: ", "one of model and containers"),
    "model and containers": (
        a_predictor(containers=[{"image": "vllm"}]),
        "spec.predictor.containers: ",
        "may not be set together with model",
    ),
    "a metric of two kinds": (
        scaled_on(series="depth", kind="Value", resource="cpu", target=1),
        f"{METRIC}.series: ",
        "exactly one of series, resource and object",
    ),
    "a metric of no kind": (scaled_on(target=1), f"{METRIC}.series: ", "exactly one of series, resource and object"),
    "a series that is neither a rate nor a value": (scaled_on(series="depth", target=1), f"{METRIC}.kind: ", "Rate"),
    "a series without an aim": (scaled_on(series="depth", kind="Value"), f"{METRIC}.target: ", "need a target"),
    "a series that Prometheus could not have": (
        scaled_on(series="a b", kind="Value", target=1),
        f"{METRIC}.series: ",
        "should match",
    ),
    "a schedule with more pods than there may be": (
        scheduled({}, {"minReplicas": 4}),
        f"{SCHEDULE}: ",
        "at most predictor.maxReplicas; raise maxReplicas",
    ),
    "a schedule above a fixed size": (
        scheduled({"minReplicas": 2}, maxReplicas=None),
        f"{SCHEDULE}: ",
        "raise maxReplicas",
    ),
    "a schedule of fewer than no pods": (
        scheduled({"minReplicas": -1}),
        f"{SCHEDULE}[0].minReplicas: ",
        "greater than or equal to 0",
    ),
    "a schedule without an end": (
        a_service(autoscaling={"schedules": [{"start": "0 8 * * *", "minReplicas": 1}]}),
        f"{SCHEDULE}[0].end: ",
        "Required value",
    ),
    "a schedule in a zone of two lines": (
        scheduled({"timezone": "Europe/Berlin\n"}),
        f"{SCHEDULE}[0].timezone: ",
        "should match",
    ),
    "an expression too long": (scheduled({"start": "*," * 70}), f"{SCHEDULE}[0].start: ", "more than 128"),
    "too many schedules": (scheduled(*[{}] * 17), f"{SCHEDULE}: ", "at most 16 items"),
    "an unknown preset": (a_predictor(metrics={"preset": "vllm"}), "spec.predictor.metrics.preset: ", "vLLM"),
    "a behavior that is no object": (
        a_service(autoscaling={"behavior": []}),
        "spec.autoscaling.behavior: ",
        "must be of type object",
    ),
    "no container in the list": (custom(), "spec.predictor.containers: ", "at least 1 item"),
    "two containers": (custom({"image": "a"}, {"image": "b"}), "spec.predictor.containers: ", "at most 1 item"),
    "a container without an image": (custom({"name": "a"}), "spec.predictor.containers[0].image: ", "Required value"),
    "a model without a place": (a_service(predictor={"model": {}}), f"{STORAGE_URI}: ", "Required value"),
    "a hub that is not supported": (
        a_model(storageUri="hf://org/repo"),
        STORAGE_URI,
        "must begin with file://, pvc://",
    ),
    "a path without a scheme": (a_model(storageUri="/models/a"), STORAGE_URI, "must begin with file://, pvc://"),
    "a bucket without a name": (a_model(storageUri="s3:///prefix"), STORAGE_URI, "must be file:///path, pvc://claim"),
    "a bucket with capital letters": (a_model(storageUri="s3://Models/a"), STORAGE_URI, "s3://bucket/prefix"),
    "a relative file": (a_model(storageUri="file://models/a"), STORAGE_URI, "must be file:///path"),
    "a path that leaves the claim": (a_model(storageUri="pvc://models/a/../.."), STORAGE_URI, "may not contain '..'"),
    "an endless URI": (a_model(storageUri="s3://models/" + "a" * 2048), STORAGE_URI, "may not be more than 2048"),
    "a format we cannot read": (
        a_model(modelFormat={"name": "onnx"}),
        "spec.predictor.model.modelFormat.name: ",
        'supported values: "huggingface"',
    ),
    "an unknown task": (a_model(task="divination"), "spec.predictor.model.task: ", '"text-generation"'),
    "an unknown number format": (a_model(dtype="int8"), "spec.predictor.model.dtype: ", '"bfloat16"'),
    "an argument too long": (a_model(args=["a" * 4097]), "spec.predictor.model.args[0]: ", "more than 4096"),
    "too many arguments": (a_model(args=["a"] * 257), "spec.predictor.model.args: ", "at most 256 items"),
    "a variable without a name": (a_model(env=[{"value": "1"}]), "spec.predictor.model.env[0].name: ", "Required"),
    "a secret without a name": (a_model(storage={}), "spec.predictor.model.storage.secretName: ", "Required value"),
    "a malformed quantity": (
        a_model(resources={"requests": {"cpu": "lots"}}),
        "spec.predictor.model.resources.requests.cpu: ",
        'Invalid value: "lots"',
    ),
    "fewer than no pods at least": (
        a_predictor(minReplicas=-1),
        "spec.predictor.minReplicas: ",
        "greater than or equal to 0",
    ),
    "no pods, and no word of sleep": (
        a_predictor(minReplicas=0),
        "spec.predictor.minReplicas: ",
        "needs autoscaling.scaleToZero",
    ),
    "sleep with a pod": (
        a_service(autoscaling={"scaleToZero": {}}),
        "spec.autoscaling.scaleToZero: ",
        "needs predictor.minReplicas: 0",
    ),
    "sleep at once": (
        a_service(autoscaling={"scaleToZero": {"afterSeconds": 0}}),
        "spec.autoscaling.scaleToZero.afterSeconds: ",
        "greater than or equal to 1",
    ),
    "a maximum under the minimum": (
        a_predictor(minReplicas=3, maxReplicas=2),
        "spec.predictor.maxReplicas: ",
        "must be at least minReplicas",
    ),
    "an unknown metric": (a_predictor(scaleMetric="mood"), "spec.predictor.scaleMetric: ", '"queueDepth"'),
    "a target of nothing": (a_predictor(scaleTarget=0), "spec.predictor.scaleTarget: ", "greater than or equal to 1"),
    "cpu use without a cpu request": (
        a_predictor(maxReplicas=2, scaleMetric="cpu"),
        "spec.predictor.scaleMetric: ",
        "needs model.resources.requests.cpu",
    ),
    "memory use with only a cpu request": (
        a_service(
            predictor={
                "model": {"storageUri": "s3://models/a", "resources": {"requests": {"cpu": 1}}},
                "maxReplicas": 2,
                "scaleMetric": "memory",
            }
        ),
        "spec.predictor.scaleMetric: ",
        "needs model.resources.requests.memory",
    ),
    "a negative time-out": (a_predictor(timeout=-1), "spec.predictor.timeout: ", "greater than or equal to 1"),
    "labels that select pods": (
        a_predictor(labels={"serving.penstock.dev/slot": "blue"}),
        "spec.predictor.labels: ",
        "which select the pods",
    ),
    "the label that the watch relies on": (
        a_predictor(labels={"app.kubernetes.io/managed-by": "me"}),
        "spec.predictor.labels: ",
        "which select the pods",
    ),
    "a mount without a path": (
        a_predictor(volumeMounts=[{"name": "models"}]),
        "spec.predictor.volumeMounts[0].mountPath: ",
        "Required value",
    ),
    "an update that can replace no pod": (
        a_predictor(deploymentStrategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}),
        f"{ROLLING}.maxUnavailable: ",
        "may not be 0 when maxSurge is 0",
    ),
    "a negative surge": (
        a_predictor(deploymentStrategy={"rollingUpdate": {"maxSurge": -1}}),
        f"{ROLLING}.maxSurge: ",
        "greater than or equal to 0",
    ),
    "more than all pods": (
        a_predictor(deploymentStrategy={"rollingUpdate": {"maxUnavailable": "101%"}}),
        f"{ROLLING}.maxUnavailable: ",
        'Invalid value: "101%"',
    ),
    "the pace of an update that is none": (
        a_predictor(deploymentStrategy={"type": "Recreate", "rollingUpdate": {}}),
        f"{ROLLING}: ",
        "may not be set when type is Recreate",
    ),
    "two strategies at once": (
        a_service(
            predictor={"containers": [{"image": "vllm"}], "deploymentStrategy": {"type": "Recreate"}},
            rollout={"strategy": "RollingUpdate"},
        ),
        "spec.rollout.strategy: ",
        "must agree with predictor.deploymentStrategy.type",
    ),
    "an analysis that is over before its first look": (
        a_service(rollout={"analysis": {"intervalSeconds": 61}}),
        "spec.rollout.analysis.intervalSeconds: ",
        "may not be above durationSeconds",
    ),
    "a preview of no pods": (
        a_service(rollout={"blueGreen": {"previewReplicas": 0}}),
        "spec.rollout.blueGreen.previewReplicas: ",
        "greater than or equal to 1",
    ),
    "a smoke test without a path to send it to": (
        a_service(rollout={"smokeTest": {"path": "health"}}),
        "spec.rollout.smokeTest.path: ",
        "^/",
    ),
    "a canary that goes back": (
        a_service(rollout={"canary": {"steps": [{"weight": 50}, {"weight": 10}]}}),
        "spec.rollout.canary.steps: ",
        "the weights of the steps must rise",
    ),
    "a canary step twice": (
        a_service(rollout={"canary": {"steps": [{"weight": 50}, {"weight": 50}]}}),
        "spec.rollout.canary.steps: ",
        "the weights of the steps must rise",
    ),
    "a canary without steps": (a_service(rollout={"canary": {"steps": []}}), "spec.rollout.canary.steps: ", "at least"),
    "a canary step of everything": (
        a_service(rollout={"canary": {"steps": [{"weight": 100}]}}),
        "spec.rollout.canary.steps[0].weight: ",
        "less than or equal to 99",
    ),
    "a canary step that waits for a person and for a time": (
        a_service(rollout={"canary": {"steps": [{"weight": 50, "pause": True, "pauseSeconds": 5}]}}),
        "spec.rollout.canary.steps[0].pauseSeconds: ",
        "may not be set when pause is true",
    ),
    "an A/B test of nobody": (
        an_ab_test(),
        "spec.rollout.abTest.header: ",
        "one of header and cookie is required",
    ),
    "an A/B test by header and cookie": (
        an_ab_test(header={"name": "x-arm", "value": "b"}, cookie={"name": "arm", "value": "b"}),
        "spec.rollout.abTest.cookie: ",
        "may not be set together with header",
    ),
    "an A/B test without a second set of pods": (
        a_service(rollout={"strategy": "Canary", "abTest": A_COOKIE}),
        "spec.rollout.abTest: ",
        "needs strategy: BlueGreen",
    ),
    "an A/B test by whatever Auto takes": (
        a_service(rollout={"abTest": A_COOKIE}),
        "spec.rollout.abTest: ",
        "needs strategy: BlueGreen",
    ),
    "an A/B test by a cookie that ends in its name": (
        an_ab_test(cookie={"name": "arm;", "value": "b"}),
        "spec.rollout.abTest.cookie.name: ",
        'Invalid value: "arm;"',
    ),
    "an A/B test by a cookie of two words": (
        an_ab_test(cookie={"name": "arm", "value": "b or not"}),
        "spec.rollout.abTest.cookie.value: ",
        'Invalid value: "b or not"',
    ),
    "an A/B test by a header that is none": (
        an_ab_test(header={"name": "x arm", "value": "b"}),
        "spec.rollout.abTest.header.name: ",
        'Invalid value: "x arm"',
    ),
    "an A/B test by a header of two lines": (
        an_ab_test(header={"name": "x-arm", "value": "b\nc"}),
        "spec.rollout.abTest.header.value: ",
        "Invalid value",
    ),
    "an A/B test by an empty header": (
        an_ab_test(header={"name": "x-arm", "value": ""}),
        "spec.rollout.abTest.header.value: ",
        "at least 1 chars long",
    ),
    "an A/B test of a mood": (an_ab_test(**A_COOKIE, metric="Mood"), "spec.rollout.abTest.metric: ", '"Latency"'),
    "an A/B test of no time": (
        an_ab_test(**A_COOKIE, durationSeconds=0),
        "spec.rollout.abTest.durationSeconds: ",
        "greater than or equal to 1",
    ),
    "an A/B test of a handful of requests": (
        an_ab_test(**A_COOKIE, minSamplesPerArm=9),
        "spec.rollout.abTest.minSamplesPerArm: ",
        "greater than or equal to 10",
    ),
    "an unknown strategy": (a_service(rollout={"strategy": "Hope"}), "spec.rollout.strategy: ", '"Recreate"'),
    "no time for progress": (
        a_service(rollout={"progressDeadlineSeconds": 0}),
        "spec.rollout.progressDeadlineSeconds: ",
        "greater than or equal to 1",
    ),
    "no history to go back to": (
        a_service(rollout={"revisionHistoryLimit": 0}),
        "spec.rollout.revisionHistoryLimit: ",
        "greater than or equal to 1",
    ),
    "fewer than no pods": (a_service(replicas=-1), "spec.replicas: ", "greater than or equal to 0"),
    "a share of disruption without the sign": (
        a_service(disruption={"maxUnavailable": "25"}),
        "spec.disruption.maxUnavailable: ",
        'Invalid value: "25"',
    ),
    "a misspelt field": (a_predictor(minReplica=2), 'unknown field "spec.predictor.minReplica"', "strict decoding"),
    "a field of a model that KServe has and we have not": (
        a_model(protocolVersion="v2"),
        'unknown field "spec.predictor.model.protocolVersion"',
        "strict decoding",
    ),
}


@pytest.mark.parametrize(("service", "field", "reason"), REJECTED.values(), ids=REJECTED)
def test_the_api_server_refuses(
    control_plane: Cluster, namespace: str, service: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(KubectlError) as refusal:
        control_plane.kubectl(f"--namespace={namespace}", "create", "--filename=-", input=json.dumps(service))
    assert field in str(refusal.value)
    assert reason in str(refusal.value)
