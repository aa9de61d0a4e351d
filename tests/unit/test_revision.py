"""A revision is the hash of what pods are made of. The golden hashes may only grow: a changed one restarts models."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock import names
from penstock.api.v1alpha1 import InferenceService, parse
from penstock.desired import revision

from tests.builders import a_service

GOLDEN = Path(__file__).parents[1] / "golden" / "revisions.json"
VLLM = {"image": "vllm:1", "ports": [{"containerPort": 8000}], "env": [{"name": "A", "value": "1"}]}
GPU = {"limits": {"nvidia.com/gpu": 1, "memory": "16Gi"}, "requests": {"cpu": "2"}}

# Each name is what the spec says. Names are never reused for another spec, and none is ever removed.
SPECS: dict[str, InferenceService] = {
    "a model on s3": a_service(model={"storageUri": "s3://models/smollm2"}),
    "a model on a claim": a_service(model={"storageUri": "pvc://models/smollm2"}),
    "a model in the image": a_service(model={"storageUri": "file:///models/smollm2"}),
    "a model with credentials": a_service(model={"storage": {"secretName": "s3"}}),
    "a model on a GPU": a_service(model={"resources": GPU}),
    "a model as bfloat16": a_service(model={"dtype": "bfloat16"}),
    "a model with arguments and variables": a_service(
        model={"args": ["--max-queue=4"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
    ),
    "a model for embeddings by another name": a_service(model={"task": "embeddings", "name": "minilm"}),
    "a model with its own image": a_service(model={"image": "registry.example/server:1"}),
    "limits on time and concurrency": a_service(timeout=60, containerConcurrency=8),
    "placement": a_service(
        nodeSelector={"zone": "a"},
        tolerations=[{"key": "spot", "operator": "Exists"}],
        affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        priorityClassName="high",
    ),
    "a pod's own settings": a_service(
        labels={"team": "search"},
        annotations={"note": "x"},
        securityContext={"runAsUser": 1000},
        volumes=[{"name": "scratch", "emptyDir": {}}],
        volumeMounts=[{"name": "scratch", "mountPath": "/scratch"}],
        serviceAccountName="reader",
    ),
    "a custom container": a_service(containers=[VLLM]),
    "a restarted model": a_service(annotations={names.ANNOTATION_RESTARTED_AT: "2026-01-01T00:00:00Z"}),
}
PLAIN = revision.of(a_service())


def test_no_released_hash_ever_changes(*, is_updating_golden: bool) -> None:
    hashes = {name: revision.of(service) for name, service in SPECS.items()}
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if is_updating_golden:
        # Only ever adds: to change a hash is to restart every model of that kind.
        GOLDEN.write_text(json.dumps(hashes | golden, indent=2) + "\n")
        return
    assert hashes == golden


def test_different_pods_have_different_revisions() -> None:
    assert len({revision.of(service) for service in SPECS.values()}) == len(SPECS)


@pytest.mark.parametrize(
    "same",
    [
        pytest.param(a_service(minReplicas=2, maxReplicas=9), id="replica bounds"),
        pytest.param(a_service(replicas=4), id="replicas"),
        pytest.param(a_service(maxReplicas=3, scaleMetric="concurrency", scaleTarget=7), id="autoscaling"),
        pytest.param(a_service(rollout={"strategy": "Recreate", "progressDeadlineSeconds": 9}), id="the rollout"),
        pytest.param(a_service(deploymentStrategy={"rollingUpdate": {"maxSurge": 1}}), id="the pace"),
        pytest.param(a_service(minReadySeconds=5), id="minReadySeconds"),
        pytest.param(a_service(metrics={"preset": "vLLM", "port": 9000}), id="what its metrics are called"),
        pytest.param(a_service(suspend=True), id="suspension"),
        pytest.param(a_service(annotations={names.ANNOTATION_PAUSED: "x", "other": "y"}), id="annotations"),
        pytest.param(a_service(affinity=None, tolerations=[], nodeSelector={}), id="nulls and empties"),
        pytest.param(a_service(timeout=300, containerConcurrency=0), id="defaults written out"),
        pytest.param(
            a_service(model={"task": "auto", "dtype": "auto", "modelFormat": {"name": "huggingface"}, "resources": {}}),
            id="the model's defaults written out",
        ),
    ],
)
def test_what_does_not_enter_a_pod_does_not_change_the_revision(same: InferenceService) -> None:
    assert revision.of(same) == PLAIN


def test_a_null_inside_a_fragment_is_as_good_as_absent() -> None:
    env = [{"name": "A", "value": "1", "valueFrom": None}]
    assert revision.of(a_service(containers=[VLLM | {"env": env, "command": None}])) == revision.of(
        a_service(containers=[VLLM])
    )


def test_the_order_of_variables_changes_it_for_one_may_refer_to_another() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}]
    one, other = (a_service(model={"env": each}) for each in (env, env[::-1]))
    assert revision.of(one) != revision.of(other)


def test_an_empty_source_of_a_volume_says_something() -> None:
    sources: list[dict[str, Any]] = [{"name": "a"}, {"name": "a", "emptyDir": {}}]
    one, other = (a_service(volumes=[source]) for source in sources)
    assert revision.of(one) != revision.of(other)


def test_another_restart_token_is_another_revision() -> None:
    tokens = [{names.ANNOTATION_RESTARTED_AT: time} for time in ("1", "2")]
    assert len({PLAIN, *(revision.of(a_service(annotations=token)) for token in tokens)}) == 3


def test_it_fits_into_names_and_labels() -> None:
    assert len(PLAIN) == 10
    assert PLAIN.isalnum()
    assert PLAIN.lower() == PLAIN


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4))
def test_the_order_in_which_keys_are_written_never_matters(fragment: dict[str, Any]) -> None:
    def reversed_keys(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: reversed_keys(value[key]) for key in reversed(value)}
        return [reversed_keys(item) for item in value] if isinstance(value, list) else value

    one, other = (a_service(affinity=each) for each in (fragment, reversed_keys(fragment)))
    assert revision.of(one) == revision.of(other)


def test_a_round_trip_through_the_api_server_changes_nothing() -> None:
    for service in SPECS.values():
        stored = service.model_dump(mode="json", by_alias=True)  # With every default filled in.
        assert revision.of(parse(stored)) == revision.of(service)
