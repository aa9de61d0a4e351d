"""Whatever stands in a fragment of the core API: what already runs is reported, repaired and scaled all the same."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock import errors
from penstock.desired import pod
from penstock.kinds import DEPLOYMENT, ENDPOINT_SLICE, INFERENCE_SERVICE, NODE, Manifest
from penstock.observed import parse
from penstock.watch.store import Store

from tests.fake_cluster import the_service
from tests.place import CHAT, Place

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
TERMS = f"spec.predictor.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms"
VLLM: dict[str, Any] = {"image": "vllm:1"}
BLUE = "chat-blue"

# What the builders, the checks and the arithmetic of room look for, and so may trip over.
WORDS = st.sampled_from(
    [
        *("ports", "containerPort", "name", "protocol", "env", "envFrom", "volumeMounts", "mountPath", "resources"),
        *("requests", "limits", "nvidia.com/gpu", "cpu", "lifecycle", "preStop", "securityContext", "readinessProbe"),
        *("nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms", "matchExpressions"),
        *("matchFields", "matchLabels", "key", "operator", "values", "effect", "value", "topologyKey", "terms"),
    ]
)
SCALARS = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "x", "http", "In", "Gt", "1e999", "1e-999", "Exists"])
)  # fmt: skip
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
AN_OBJECT = st.dictionaries(WORDS | st.text(max_size=3), ANYTHING, max_size=5)
SOME_OBJECTS = st.lists(AN_OBJECT, min_size=1, max_size=3)


def in_predictor(name: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return value.map(lambda found: {name: found})


def in_container(name: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return value.map(lambda found: {"containers": [{**VLLM, name: found}]})


OBJECTS = ("affinity", "securityContext")
LISTS = ("tolerations", "topologySpreadConstraints", "imagePullSecrets", "volumes", "volumeMounts")
PLACES = st.one_of(
    *(in_predictor(name, AN_OBJECT) for name in OBJECTS),
    *(in_predictor(name, SOME_OBJECTS) for name in LISTS),
    # Typed by the CRD now, but an object that was stored before may say anything.
    *(in_container(name, ANYTHING) for name in ("ports", "env", "envFrom", "volumeMounts", "resources", "lifecycle")),
    *(in_container(name, ANYTHING) for name in ("securityContext", "readinessProbe")),
    AN_OBJECT.map(lambda found: {"containers": [{**found, **VLLM}]}),
)


async def a_ready_place(*, has_room: bool = False, **predictor: Any) -> Place:
    place = Place(**{"minReplicas": 2, "model": None, "containers": [VLLM], **predictor})
    if has_room:
        status = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"cpu": "64", "pods": "110"}}
        place.cluster.put(NODE, {"metadata": {"name": "node"}, "status": status})
    await place.look()
    place.roll_out(2)
    await place.settle()
    assert place.condition("Ready") == ("True", "Ready")
    return place


def accept_no_other_template(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the API server does, whose schema the fragments do not meet."""
    apply, accepted = place.cluster.apply, place.child("Deployment", BLUE)["spec"]["template"]["spec"]

    async def picky(manifest: Manifest) -> Manifest:
        if manifest["kind"] == DEPLOYMENT.name and manifest["spec"]["template"]["spec"] != accepted:
            raise errors.Rejected(422, "Invalid", "spec.template: no such field")
        return await apply(manifest)

    monkeypatch.setattr(place.cluster, "apply", picky)


def scale_by_hand(place: Place, replicas: int) -> None:
    place.cluster.edit(DEPLOYMENT, BLUE, spec={**place.child("Deployment", BLUE)["spec"], "replicas": replicas})


async def assert_it_goes_on(place: Place) -> None:
    """Drift is repaired, another number is followed, and Ready tells what is so."""
    template = place.child("Deployment", BLUE)["spec"]["template"]
    scale_by_hand(place, 0)
    await place.look()
    assert place.child("Deployment", BLUE)["spec"]["replicas"] == 2
    assert place.condition("Ready")[0] == "True"
    place.edit(minReplicas=3)
    await place.look()
    assert place.child("Deployment", BLUE)["spec"]["replicas"] == 3
    assert place.child("Deployment", BLUE)["spec"]["template"] == template
    place.cluster.edit(ENDPOINT_SLICE, "chat-abc", endpoints=[])
    await place.look()
    assert place.condition("Ready")[0] == "False"
    assert place.status["observedGeneration"] == the_service(place.cluster)["metadata"]["generation"]


# Each example is a dozen passes.
@settings(max_examples=30)
@given(PLACES, st.booleans())
def test_no_fragment_stops_the_report_the_repair_and_the_scaling_of_what_runs(
    fragment: dict[str, Any], has_room: bool
) -> None:
    async def told() -> None:
        place = await a_ready_place(has_room=has_room)
        template = place.child("Deployment", BLUE)["spec"]["template"]["spec"]
        with pytest.MonkeyPatch.context() as monkeypatch:
            accept_no_other_template(place, monkeypatch)
            place.edit(**fragment)
            await place.look()
            await assert_it_goes_on(place)
        assert place.child("Deployment", BLUE)["spec"]["template"]["spec"] == template
        assert place.condition("Stalled") in [("True", "InvalidSpec"), ("False", "Reconciled")]

    asyncio.run(told())


@pytest.mark.parametrize(
    ("fragment", "message"),
    [
        ({"containers": [{**VLLM, "ports": [8080]}]}, "spec.predictor.containers[0].ports[0]: must be an object"),
        ({"containers": [{**VLLM, "ports": {"http": 8080}}]}, "spec.predictor.containers[0].ports: must be a list"),
        (
            {"containers": [{**VLLM, "ports": [{"name": "http"}]}]},
            "spec.predictor.containers[0].ports[0].containerPort: is required",
        ),
        (
            {"containers": [{**VLLM, "ports": [{"containerPort": True}]}]},
            "spec.predictor.containers[0].ports[0].containerPort: must be a whole number",
        ),
        ({"containers": [{**VLLM, "lifecycle": "x"}]}, "spec.predictor.containers[0].lifecycle: must be an object"),
        ({"containers": [{**VLLM, "resources": []}]}, "spec.predictor.containers[0].resources: must be an object"),
        ({"volumeMounts": [{"name": "data"}]}, "spec.predictor.volumeMounts[0].mountPath: is required"),
        ({"affinity": {"nodeAffinity": "x"}}, "spec.predictor.affinity.nodeAffinity: must be an object"),
        (
            {
                "affinity": {
                    "nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone"}]}]}}
                }
            },
            f"{TERMS}[0].matchExpressions[0].operator: is required",
        ),
    ],
    ids=lambda value: None if isinstance(value, dict) else value.removeprefix("spec.predictor."),
)
@pytest.mark.parametrize("has_room", [True, False])
async def test_what_has_the_wrong_shape_is_told_with_its_path_and_changes_nothing(
    fragment: dict[str, Any], message: str, *, has_room: bool
) -> None:
    place = await a_ready_place(has_room=has_room)
    children = {identity for identity in place.cluster.objects if identity.kind != "InferenceService"}
    place.edit(**fragment)
    await place.look()
    assert place.condition("Stalled") == ("True", "InvalidSpec")
    assert place.message("Stalled") == message
    assert [each.message for each in place.told] == [message]
    assert {identity for identity in place.cluster.objects if identity.kind != "InferenceService"} == children
    await assert_it_goes_on(place)


async def test_a_first_deployment_that_makes_no_pods_says_why() -> None:
    place = Place(model=None, containers=[{**VLLM, "ports": [8080]}])
    await place.look()
    assert place.condition("Ready") == ("False", "InvalidSpec")
    assert place.cluster.writes == [("merge status", "InferenceService", "chat")]


async def test_once_it_is_mended_the_rollout_goes_on() -> None:
    place = await a_ready_place()
    place.edit(containers=[{**VLLM, "ports": [8080]}])
    await place.settle()
    place.edit(containers=[{**VLLM, "ports": [{"containerPort": 8080}]}])
    await place.look()
    assert place.condition("Stalled")[0] == "False"
    assert place.condition("Progressing") == ("True", "RolloutInProgress")


async def test_a_deployment_that_was_deleted_meanwhile_comes_back() -> None:
    place = await a_ready_place()
    revision = place.template_revision
    place.edit(containers=[{**VLLM, "ports": [8080]}])
    await place.settle()
    place.cluster.remove(DEPLOYMENT, BLUE)
    await place.look()
    assert place.template_revision == revision


async def test_a_rollout_under_way_stands_still_while_the_next_spec_makes_no_pods() -> None:
    place = await a_ready_place(has_room=True)
    place.edit(containers=[{"image": "vllm:2"}])
    await place.look()
    on_its_way = place.status["rollout"]["currentRevision"]
    place.edit(containers=[{"image": "vllm:2", "ports": [8080]}])
    await place.settle()
    assert place.status["rollout"]["currentRevision"] == on_its_way
    assert place.child("Deployment", "chat-green")["spec"]["replicas"] == 2
    assert place.status["rollout"]["pausedAt"]


async def test_an_autoscaler_that_is_there_stays_while_the_next_one_would_have_no_metric() -> None:
    place = await a_ready_place(maxReplicas=4)
    place.edit(scaleMetric="cpu")
    await place.look()
    assert place.condition("Stalled") == ("True", "InvalidSpec")
    scaler = place.child("HorizontalPodAutoscaler")["spec"]
    assert [metric["type"] for metric in scaler["metrics"]] == ["Pods"]


class TestTheOperatorsOwnFailures:
    async def test_a_template_that_fails_for_a_reason_that_no_check_knows_is_told(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = await a_ready_place()
        monkeypatch.setattr(pod, "template", broken)
        place.edit(containers=[{"image": "vllm:2"}])
        await place.look()
        assert place.condition("Stalled") == ("True", "InternalError")
        assert place.message("Stalled") == "spec.predictor: the pod template cannot be rendered: KeyError: 'surprise'"
        assert [each.reason for each in place.told] == ["InternalError"]
        assert place.internal_errors == 1
        await assert_it_goes_on(place)

    async def test_a_pass_that_fails_anywhere_else_is_told_and_ready_stays_honest(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = await a_ready_place()
        monkeypatch.setattr(parse, "deployment", broken)
        place.edit(minReplicas=3)
        with pytest.raises(KeyError):
            await place.look()
        assert place.condition("Stalled") == ("True", "InternalError")
        assert place.message("Stalled") == "the operator failed on this service: KeyError: 'surprise'"
        assert place.condition("Ready") == ("True", "Ready")
        assert place.status["observedGeneration"] == the_service(place.cluster)["metadata"]["generation"]
        assert place.internal_errors == 1
        place.cluster.edit(ENDPOINT_SLICE, "chat-abc", endpoints=[])
        with pytest.raises(KeyError):
            await place.look()
        assert place.condition("Ready") == ("False", "InternalError")
        assert [each.reason for each in place.told] == ["InternalError"]

    async def test_a_pass_that_comes_to_the_same_end_again_writes_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = await a_ready_place()
        monkeypatch.setattr(parse, "deployment", broken)
        for _ in range(2):
            with pytest.raises(KeyError):
                await place.look()
        assert place.cluster.writes == []


class TestUnreadable:
    """A spec that this version's types do not know, as a newer or an older one may have stored it."""

    async def test_ready_is_honest_all_the_same(self) -> None:
        place = await a_ready_place()
        place.edit(minReplicas="many")
        await place.look()
        assert place.condition("Ready") == ("True", "Ready")
        assert place.condition("Stalled") == ("True", "InvalidSpec")
        assert place.message("Stalled").startswith("spec.predictor.minReplicas: ")
        place.cluster.edit(ENDPOINT_SLICE, "chat-abc", endpoints=[])
        await place.look()
        assert place.condition("Ready") == ("False", "InvalidSpec")
        assert [each.reason for each in place.told] == ["InvalidSpec"]

    async def test_a_spec_that_is_nested_without_an_end_is_told_too(self) -> None:
        place = await a_ready_place()
        deep: Any = {}
        for _ in range(400):
            deep = {"a": deep}
        place.edit(affinity=deep)
        await place.look()
        assert place.condition("Stalled") == ("True", "InternalError")
        await assert_it_goes_on(place)


def broken(*_: Any, **__: Any) -> Any:
    raise KeyError("surprise")


def test_the_store_keeps_a_service_whatever_its_spec_says() -> None:
    place, store = Place(), Store()
    place.cluster.edit(INFERENCE_SERVICE, "chat", spec={"predictor": {"affinity": [1]}})
    place.cluster.deliver(store)
    known = store.metadata(CHAT)
    assert known is not None
    assert known.name == "chat"
