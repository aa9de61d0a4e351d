"""What counts as drift: a field of ours that says something else, and nothing besides."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock import quantity
from penstock.desired import pod, revision
from penstock.desired.children import ServicePlan, children
from penstock.desired.drift import differs
from penstock.desired.history import Stored
from penstock.kinds import Manifest
from penstock.names import Slot
from penstock.slot_plan import SlotPlan

from tests.builders import a_service

RESOURCES = {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": 2, "nvidia.com/gpu": "1"}}
ENV = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
SERVICES = {
    "a model": a_service(maxReplicas=3, scaleMetric="concurrency", minReadySeconds=0),
    "a model on a GPU": a_service(model={"resources": RESOURCES, "env": ENV}, nodeSelector={"zone": "a"}, replicas=2),
    "a foreign server": a_service(
        containers=[{"image": "vllm", "ports": [{"containerPort": 8000}], "env": ENV, "resources": RESOURCES}],
        volumes=[{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2048Mi"}}],
        imagePullSecrets=[{"name": "registry"}],
    ),
}
KEYED = {
    "containers": "name",
    "volumes": "name",
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
}


def wanted(name: str) -> list[Manifest]:
    service = SERVICES[name]
    current = revision.of(service)
    stored = {current: Stored(1, pod.template(service, current, server_image="penstock-server:test"))}
    return children(service, ServicePlan(Slot.BLUE, {Slot.BLUE: SlotPlan(current, 2, "RollingUpdate")}, stored))


MANIFESTS = [manifest for name in SERVICES for manifest in wanted(name)]
IDS = [f"{manifest['kind']} of {name}" for name in SERVICES for manifest in wanted(name)]


def in_base_unit(value: quantity.Quantity) -> str:
    """1Gi is 1073741824."""
    return f"{quantity.parse(value):f}"


def as_served(value: Any, draw: st.DrawFn | None, key: str = "") -> Any:
    """The value as an API server hands it back: other spellings, no zeros, other people's fields and items."""
    if isinstance(value, dict):
        kept = {
            k: as_served(v, draw, k)
            for k, v in value.items()
            if (k, v) not in (("minReadySeconds", 0), ("annotations", {}))
        }
        if key in ("limits", "requests"):
            kept = {k: in_base_unit(v) for k, v in kept.items()}
        if "sizeLimit" in kept:
            kept["sizeLimit"] = in_base_unit(kept["sizeLimit"])
        is_ours_alone = key in ("selector", "matchLabels", "nodeSelector")
        return kept | (
            {"zzzForeign": draw(st.integers())} if draw and not is_ours_alone and draw(st.booleans()) else {}
        )
    if isinstance(value, list):
        items = [as_served(item, draw) for item in value]
        if key in KEYED and draw and draw(st.booleans()):
            items.insert(draw(st.integers(0, len(items))), {KEYED[key]: "of somebody else", "name": "foreign"})
        return items
    return value


@pytest.mark.parametrize("manifest", MANIFESTS, ids=IDS)
def test_a_manifest_never_differs_from_what_the_api_server_makes_of_it(manifest: Manifest) -> None:
    assert differs(manifest, manifest) is None
    assert differs(manifest, as_served(manifest, None)) is None


@st.composite
def manifests_and_what_is_served(draw: st.DrawFn) -> tuple[Manifest, Manifest]:
    manifest = draw(st.sampled_from(MANIFESTS))
    return manifest, as_served(manifest, draw)


@given(manifests_and_what_is_served())
def test_what_others_add_never_differs(pair: tuple[Manifest, Manifest]) -> None:
    assert differs(*pair) is None


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        for key in value:
            yield from leaves(value[key], (*path, key))
    elif isinstance(value, list) and value:
        for index in range(len(value)):
            yield from leaves(value[index], (*path, index))
    else:
        yield path


@st.composite
def manifests_and_one_edit(draw: st.DrawFn) -> tuple[Manifest, Manifest, tuple[Any, ...], bool]:
    manifest = draw(st.sampled_from(MANIFESTS))
    path = draw(st.sampled_from([path for path in leaves(manifest) if path[0] not in ("apiVersion", "kind")]))
    live = deepcopy(manifest)
    *way, last = path
    inner = live
    for step in way:
        inner = inner[step]
    is_removed = draw(st.booleans()) and isinstance(last, str) and inner[last] not in (0, "", {}, [], None)
    if is_removed:
        del inner[last]
    else:
        inner[last] = {"edited": True} if isinstance(inner[last], dict | list) else f"{inner[last]}9"
    return manifest, live, path, is_removed


@given(manifests_and_one_edit())
def test_every_edit_and_every_removal_of_a_field_of_ours_is_found(
    edited: tuple[Manifest, Manifest, tuple[Any, ...], bool],
) -> None:
    manifest, live, path, is_removed = edited
    # {} says "anything": an edit inside it is an addition of others.
    value = manifest
    for step in path:
        value = value[step]
    assert (differs(manifest, live) is not None) or (value == {} and not is_removed)


@pytest.mark.parametrize(
    ("ours", "theirs", "path"),
    [
        pytest.param({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b", id="a number"),
        pytest.param({"a": 1}, {}, "a", id="a field that is gone"),
        pytest.param({"args": ["x"]}, {"args": ["x", "y"]}, "args", id="a longer list of arguments"),
        pytest.param(
            {"selector": {"a": "1"}}, {"selector": {"a": "1", "b": "2"}}, "selector", id="a narrower selector"
        ),
        pytest.param({"args": ["x", "y"]}, {"args": ["x", "z"]}, "args[1]", id="an argument"),
        pytest.param({"env": ENV}, {"env": ENV[:1]}, "env[B]", id="a variable that is gone"),
        pytest.param(
            {"env": ENV}, {"env": [ENV[0], {"name": "B", "value": "3"}]}, "env[B].value", id="a variable's value"
        ),
        pytest.param(
            {"env": [{"name": "A", "value": "1000"}]},
            {"env": [{"name": "A", "value": "1k"}]},
            "env[A].value",
            id="a variable that looks like a quantity",
        ),
        pytest.param({"limits": {"cpu": "1"}}, {"limits": {"cpu": "1001m"}}, "limits.cpu", id="a hair more"),
        pytest.param({"limits": {"cpu": "1"}}, {"limits": {}}, "limits.cpu", id="a limit that is gone"),
        pytest.param(
            {"spec": {"automountServiceAccountToken": False}},
            {"spec": {}},
            "spec.automountServiceAccountToken",
            id="a false whose absence means true",
        ),
        pytest.param(
            {"ports": [{"port": 80, "protocol": "TCP"}]},
            {"ports": [{"port": 81, "protocol": "TCP"}]},
            "ports[80/None/TCP]",
            id="another port",
        ),
    ],
)
def test_the_first_difference_is_named_by_its_path(ours: Manifest, theirs: Manifest, path: str) -> None:
    assert differs(ours, theirs) == path


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param({"limits": {"cpu": 1}}, {"limits": {"cpu": "1000m"}}, id="units"),
        pytest.param({"env": ENV}, {"env": [{"name": "Z"}, *reversed(ENV)]}, id="more variables in another order"),
        pytest.param({"minReadySeconds": 0}, {}, id="a zero that is left out"),
        pytest.param({"annotations": {}}, {}, id="an empty map that is left out"),
        pytest.param({"affinity": None}, {}, id="nothing for nothing"),
        pytest.param(
            {"ports": [{"port": 80, "protocol": "TCP"}]},
            {"ports": [{"port": 80, "protocol": "TCP", "nodePort": 3}, {"port": 9, "protocol": "TCP"}]},
            id="a port that somebody added",
        ),
        pytest.param({"apiVersion": "v1", "kind": "X"}, {}, id="the kind, which lists leave out"),
    ],
)  # fmt: skip
def test_a_difference_in_spelling_is_none(ours: Manifest, theirs: Manifest) -> None:
    assert differs(ours, theirs) is None


A_ROUTE: dict[str, Any] = {
    "kind": "HTTPRoute",
    "spec": {
        "parentRefs": [{"name": "public"}],
        "hostnames": [],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [{"name": "chat", "port": 80, "weight": 1}],
                "timeouts": {"request": "300s"},
            }
        ],
    },
}


def as_the_api_server_has_it() -> dict[str, Any]:
    live = deepcopy(A_ROUTE)
    del live["spec"]["hostnames"]
    live["spec"]["parentRefs"][0] |= {"group": "gateway.networking.k8s.io", "kind": "Gateway"}
    live["spec"]["rules"][0]["backendRefs"][0] |= {"group": "", "kind": "Service"}
    return live


def test_a_route_with_the_api_servers_defaults_is_ours() -> None:
    assert differs(A_ROUTE, as_the_api_server_has_it()) is None


@pytest.mark.parametrize(
    ("added", "path"),
    [
        pytest.param(lambda spec: spec.update(hostnames=["x"]), "spec.hostnames", id="a host name"),
        pytest.param(lambda spec: spec["parentRefs"].append({"name": "x"}), "spec.parentRefs", id="another gateway"),
        pytest.param(lambda spec: spec["rules"].append({}), "spec.rules", id="a rule"),
        pytest.param(
            lambda spec: spec["rules"][0]["matches"][0].update(headers=[{"name": "x", "value": "y"}]),
            "spec.rules[0].matches[0].headers",
            id="a header that requests must have",
        ),
        pytest.param(
            lambda spec: spec["rules"][0].update(filters=[{"type": "RequestRedirect"}]),
            "spec.rules[0].filters",
            id="a redirect",
        ),
        pytest.param(
            lambda spec: spec["rules"][0]["timeouts"].update(backendRequest="1s"),
            "spec.rules[0].timeouts.backendRequest",
            id="a shorter timeout",
        ),
        pytest.param(
            lambda spec: spec["rules"][0]["backendRefs"][0].update(namespace="other"),
            "spec.rules[0].backendRefs[0].namespace",
            id="another namespace's Service",
        ),
    ],
)
def test_what_leads_a_routes_requests_astray_is_drift(added: Callable[[dict[str, Any]], object], path: str) -> None:
    live = as_the_api_server_has_it()
    added(live["spec"])
    assert differs(A_ROUTE, live) == path
