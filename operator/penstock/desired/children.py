"""All objects that a service owns, from one plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import (
    autoscaler,
    container,
    deployment,
    disruption,
    gateway,
    history,
    router,
    scaled_object,
    service,
    vertical,
)
from penstock.desired.gateway import Routes
from penstock.desired.history import Stored
from penstock.desired.router import Redirection
from penstock.desired.serving import serving_container
from penstock.kinds import Manifest
from penstock.slot_plan import SlotPlan


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What a pass decided, in the terms of the objects to write."""

    active: names.Slot
    slots: Mapping[names.Slot, SlotPlan]  # the active one among them
    stored: Mapping[str, Stored]  # the revisions to keep, those of the slots among them
    preview: names.Slot | None = None  # what the preview Service selects
    annotations: Mapping[str, str] = field(default_factory=dict)  # of the active Service
    is_shared: bool = False  # the active Service selects both slots
    routes: Routes = field(default_factory=Routes)
    least: int | None = None  # pods, where schedules ask for another number than the spec's minReplicas
    ports: Mapping[names.Slot, str] = field(default_factory=dict)  # where the pods answer, if not as planned
    redirection: Redirection | None = None  # of a service that may sleep
    prometheus: str = ""  # that KEDA asks where the spec names none


def children(owner: InferenceService, plan: ServicePlan) -> list[Manifest]:
    """Every child that is wanted; what the service owns beyond these is to be deleted."""
    selected = None if plan.is_shared else plan.active
    wanted = [history.controller_revision(owner, key, old.number, old.template) for key, old in plan.stored.items()]
    wanted += [
        deployment.deployment(owner, slot, pods, template=plan.stored[pods.revision].template)
        for slot, pods in plan.slots.items()
    ]
    wanted += _active(owner, plan, selected)
    if plan.preview is not None and plan.preview in plan.slots:
        wanted.append(service.preview(owner, plan.preview, port=_port(plan, plan.preview)))
    wanted += _behind_a_gateway(owner, plan)
    wanted += _autoscalers(owner, plan)
    if disruption.is_wanted(sum(pods.replicas for slot, pods in plan.slots.items() if selected in (None, slot))):
        wanted.append(disruption.disruption_budget(owner, selected))
    return wanted


def _active(owner: InferenceService, plan: ServicePlan, selected: names.Slot | None) -> list[Manifest]:
    """The Service that clients talk to, and the slice that leads it to the routers where that is wanted."""
    to, annotations = plan.redirection, dict(plan.annotations)
    if to is not None:
        annotations[names.ANNOTATION_ROUTER_PORT] = str(to.port)
    is_alone = to is not None and to.is_alone
    found = service.active(
        owner, selected, port=_port(plan, plan.active), annotations=annotations, is_redirected=is_alone
    )
    return [found, router.endpoint_slice(owner, to)] if to is not None and to.has_slice else [found]


def _autoscalers(owner: InferenceService, plan: ServicePlan) -> list[Manifest]:
    found, asked = [], owner.spec.autoscaling
    if owner.spec.predictor.autoscales and asked.provider == "Auto":
        found.append(autoscaler.autoscaler(owner, least=least(owner, plan)))
    if owner.spec.predictor.autoscales and asked.provider == "KEDA":
        found.append(scaled_object.scaled_object(owner, plan.prometheus, least=least(owner, plan)))
    if asked.vertical is not None:
        serving = serving_container(plan.stored[plan.slots[plan.active].revision].template)
        found.append(vertical.vertical_autoscaler(owner, asked.vertical, serving["name"]))
    return found


def least(owner: InferenceService, plan: ServicePlan) -> int:
    """The least number of pods in force."""
    return owner.spec.predictor.min_replicas if plan.least is None else plan.least


def _behind_a_gateway(owner: InferenceService, plan: ServicePlan) -> list[Manifest]:
    if owner.spec.gateway is None:
        return []
    slots = [
        service.of_slot(owner, slot, port=_port(plan, slot if slot in plan.slots else plan.active))
        for slot in names.Slot
    ]
    return [*slots, gateway.http_route(owner, owner.spec.gateway, plan.routes)]


def _port(plan: ServicePlan, slot: names.Slot) -> str:
    """Where a Service of the slot leads to: not to the new template's port before its pods answer there."""
    return plan.ports.get(slot) or serving_port(plan.stored[plan.slots[slot].revision].template)


def serving_port(template: Manifest) -> str:
    """The name of the port to which the pods of a template get their requests."""
    return container.target_port(serving_container(template))
