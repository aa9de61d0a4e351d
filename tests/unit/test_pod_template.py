"""Which container of a template, or of a pod made from it, is the one that serves."""

from typing import Any

import pytest
from penstock import names
from penstock.desired.pod import template
from penstock.desired.serving import serving_container
from penstock.kinds import Manifest

from tests.builders import a_service

PROXY = {"name": "istio-proxy", "ports": [{"name": "http-envoy-prom", "containerPort": 15090}]}


def a_template(**predictor: Any) -> Manifest:
    return template(a_service(**predictor), "v1", server_image="penstock-server:1")


def injected(found: Manifest, *, annotations: dict[str, str] | None = None) -> Manifest:
    """As a webhook leaves it whose container is to be up first."""
    kept = found["metadata"]["annotations"] if annotations is None else annotations
    spec = {**found["spec"], "containers": [PROXY, *found["spec"]["containers"]]}
    return {"metadata": {**found["metadata"], "annotations": kept}, "spec": spec}


@pytest.mark.parametrize(
    ("predictor", "name"),
    [
        pytest.param({}, "model", id="our server"),
        pytest.param({"containers": [{"image": "vllm"}]}, "model", id="a custom container without a name"),
        pytest.param({"containers": [{"name": "vllm", "image": "vllm"}]}, "vllm", id="one with a name"),
        pytest.param(
            {"containers": [{"name": "vllm", "image": "v", "ports": [{"name": "api", "containerPort": 8000}]}]},
            "vllm",
            id="one whose port has another name",
        ),
        pytest.param(
            {"annotations": {names.ANNOTATION_DEFAULT_CONTAINER: "istio-proxy"}}, "model", id="whatever the user names"
        ),
    ],
)
def test_the_template_names_it_so_that_it_is_found_wherever_it_stands(predictor: dict[str, Any], name: str) -> None:
    found = a_template(**predictor)
    assert found["metadata"]["annotations"][names.ANNOTATION_DEFAULT_CONTAINER] == name
    assert serving_container(found)["name"] == serving_container(injected(found))["name"] == name


@pytest.mark.parametrize("name", ["model", "vllm"])
def test_in_a_template_of_an_older_version_it_has_our_servers_name_or_port(name: str) -> None:
    older = injected(a_template(containers=[{"name": name, "image": "vllm"}]), annotations={})
    assert serving_container(older)["name"] == name
