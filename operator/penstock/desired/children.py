"""All objects that a service owns, from one plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import autoscaler, container, deployment, disruption, gateway, history, service
from penstock.desired.gateway import Routes
from penstock.desired.history import Stored
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
    ports: Mapping[names.Slot, str] = field(default_factory=dict)  # where the pods answer, if not as planned


def children(owner: InferenceService, plan: ServicePlan) -> list[Manifest]:
    """Every child that is wanted; what the service owns beyond these is to be deleted."""
    selected = None if plan.is_shared else plan.active
    wanted = [history.controller_revision(owner, key, old.number, old.template) for key, old in plan.stored.items()]
    wanted += [
        deployment.deployment(owner, slot, pods, template=plan.stored[pods.revision].template)
        for slot, pods in plan.slots.items()
    ]
    wanted.append(service.active(owner, selected, port=_port(plan, plan.active), annotations=dict(plan.annotations)))
    if plan.preview is not None and plan.preview in plan.slots:
        wanted.append(service.preview(owner, plan.preview, port=_port(plan, plan.preview)))
    wanted += _behind_a_gateway(owner, plan)
    if owner.spec.predictor.autoscales:
        wanted.append(autoscaler.autoscaler(owner))
    if disruption.is_wanted(sum(pods.replicas for slot, pods in plan.slots.items() if selected in (None, slot))):
        wanted.append(disruption.disruption_budget(owner, selected))
    return wanted


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
