"""Each folder is a sentence: spec.yaml in, objects.yaml out. `--update-golden` accepts what comes out now."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from penstock import names
from penstock.api.rollout import Way
from penstock.api.v1alpha1 import InferenceService, parse
from penstock.desired import pod, revision, validation
from penstock.desired.children import ServicePlan, children
from penstock.desired.history import Stored
from penstock.desired.router import Redirection
from penstock.desired.serving import serving_container
from penstock.kinds import Manifest
from penstock.names import Slot
from penstock.scaling import replicas, schedule
from penstock.slot_plan import SlotPlan

HERE = Path(__file__).parent
SERVER_IMAGE = "registry.example/penstock-server:test"
# One that may sleep is shown so: the first pass over it would not tell how.
ASLEEP = Redirection(20000, "IPv4", ["10.1.0.1", "10.1.0.2"], has_slice=True, is_alone=True)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)  # on a Thursday
FOLDERS = sorted(folder.parent.name for folder in HERE.glob("*/spec.yaml"))


class PlainDumper(yaml.SafeDumper):
    """YAML as people write it: no anchors for what stands in two places."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def service_in(folder: str) -> InferenceService:
    return parse(yaml.safe_load((HERE / folder / "spec.yaml").read_text()))


def objects_of(service: InferenceService) -> list[Manifest]:
    """What the first pass over the service writes."""
    current = revision.of(service)
    way: Way = "Recreate" if service.spec.strategy == "Recreate" else "RollingUpdate"
    least = schedule.least(service.spec, NOON, timedelta()).pods
    plan = ServicePlan(
        active=Slot.BLUE,
        slots={Slot.BLUE: SlotPlan(current, replicas.scale(service, serving=0, least=least).replicas, way)},
        stored={current: Stored(1, pod.template(service, current, server_image=SERVER_IMAGE))},
        redirection=ASLEEP if service.spec.scale_to_zero else None,
        least=least,
    )
    return children(service, plan)


def the(kind: str, folder: str) -> Manifest:
    return next(obj for obj in objects_of(service_in(folder)) if obj["kind"] == kind)


@pytest.fixture(params=FOLDERS)
def folder(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_objects_are_as_they_were_accepted(folder: str, *, is_updating_golden: bool) -> None:
    objects = objects_of(service_in(folder))
    for obj in objects:
        # A hash of everything else would only say a second time that something changed.
        obj["metadata"]["annotations"][names.ANNOTATION_APPLIED] = "(a hash)"
    text = yaml.dump_all(objects, Dumper=PlainDumper, sort_keys=False, width=120)
    golden = HERE / folder / "objects.yaml"
    if is_updating_golden:
        golden.write_text(text)
    assert text == golden.read_text()


def test_the_spec_can_be_carried_out(folder: str) -> None:
    assert validation.validate(service_in(folder)) == []


def test_no_null_is_left_anywhere(folder: str) -> None:
    def nulls(value: Any, path: str = "") -> Iterator[str]:
        if value is None:
            yield path
        children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in children:
            yield from nulls(inner, f"{path}.{key}")

    assert [path for obj in objects_of(service_in(folder)) for path in nulls(obj)] == []


def test_every_object_is_owned_labelled_and_named_after_the_service(folder: str) -> None:
    service = service_in(folder).metadata
    for obj in objects_of(service_in(folder)):
        metadata = obj["metadata"]
        assert metadata["name"].startswith(service.name)
        assert metadata["namespace"] == service.namespace
        assert metadata["labels"][names.LABEL_SERVICE] == service.name
        assert metadata["labels"][names.LABEL_MANAGED_BY] == names.PRODUCT
        (owner,) = metadata["ownerReferences"]
        assert (owner["uid"], owner["controller"], "blockOwnerDeletion" in owner) == (service.uid, True, False)


def test_every_selector_picks_the_pods_and_only_this_slots(folder: str) -> None:
    service = service_in(folder)
    # The first Service is the active one.
    objects = {obj["kind"]: obj for obj in reversed(objects_of(service))}
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [objects["Deployment"]["spec"]["selector"]["matchLabels"]]
    if service.spec.scale_to_zero is None:
        selectors.append(objects["Service"]["spec"]["selector"])
    else:
        assert not objects["Service"]["spec"]["selector"].items() <= labels.items()
    if "PodDisruptionBudget" in objects:
        selectors.append(objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"])
    for selector in selectors:
        assert selector == {key: labels[key] for key in (names.LABEL_SERVICE, names.LABEL_SLOT)}


def test_the_service_leads_to_a_port_of_the_container(folder: str) -> None:
    (port,) = the("Service", folder)["spec"]["ports"]
    ports = serving_container(the("Deployment", folder)["spec"]["template"])["ports"]
    assert port["targetPort"] in {value for each in ports for value in (each.get("name"), each["containerPort"])}


def test_extended_resources_are_requested_at_their_limit(folder: str) -> None:
    resources = serving_container(the("Deployment", folder)["spec"]["template"]).get("resources", {})
    extended = {name: amount for name, amount in resources.get("limits", {}).items() if "/" in name}
    assert {name: resources.get("requests", {}).get(name) for name in extended} == extended


def test_our_own_server_passes_the_restricted_pod_security_standard(folder: str) -> None:
    service = service_in(folder)
    spec = the("Deployment", folder)["spec"]["template"]["spec"]
    security = serving_container(the("Deployment", folder)["spec"]["template"])["securityContext"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["allowPrivilegeEscalation"] is False
    assert {source for volume in spec.get("volumes", []) for source in volume} <= {
        "name", "configMap", "csi", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
    }  # fmt: skip
    if service.spec.predictor.model is None:
        return
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["readOnlyRootFilesystem"] is True


def test_a_service_account_token_is_mounted_only_with_an_account_of_the_users_own(folder: str) -> None:
    spec = the("Deployment", folder)["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is ("serviceAccountName" in spec)


def test_every_mount_has_its_volume(folder: str) -> None:
    spec = the("Deployment", folder)["spec"]["template"]["spec"]
    mounted = {mount["name"] for mount in spec["containers"][0].get("volumeMounts", [])}
    assert mounted <= {volume["name"] for volume in spec.get("volumes", [])}
