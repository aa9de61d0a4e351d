"""All objects that a service owns, from one plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import autoscaler, deployment, disruption, gateway, history, service
from penstock.desired.gateway import Routes
from penstock.desired.history import Stored
from penstock.kinds import Manifest
from penstock.slot_plan import SlotPlan


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pass decided, in the terms of the objects to write."""

    active: names.Slot
    slots: Mapping[names.Slot, SlotPlan]  # the active one among them
    stored: Mapping[str, Stored]  # the revisions to keep, those of the slots among them
    preview: names.Slot | None = None  # what the preview Service selects
    annotations: Mapping[str, str] = field(default_factory=dict)  # of the active Service
    is_shared: bool = False  # the active Service selects both slots
    routes: Routes = field(default_factory=Routes)


def children(owner: InferenceService, plan: Plan) -> list[Manifest]:
    """Every child that is wanted; what the service owns beyond these is to be deleted."""
    template = plan.stored[plan.slots[plan.active].revision].template
    selected = None if plan.is_shared else plan.active
    wanted = [history.controller_revision(owner, key, old.number, old.template) for key, old in plan.stored.items()]
    wanted += [
        deployment.deployment(owner, slot, pods, template=plan.stored[pods.revision].template)
        for slot, pods in plan.slots.items()
    ]
    wanted.append(service.active(owner, selected, template=template, annotations=dict(plan.annotations)))
    if plan.preview is not None and plan.preview in plan.slots:
        shown = plan.stored[plan.slots[plan.preview].revision].template
        wanted.append(service.preview(owner, plan.preview, template=shown))
    wanted += _behind_a_gateway(owner, plan, template)
    if owner.spec.predictor.autoscales:
        wanted.append(autoscaler.autoscaler(owner))
    if disruption.is_wanted(sum(pods.replicas for slot, pods in plan.slots.items() if selected in (None, slot))):
        wanted.append(disruption.disruption_budget(owner, selected))
    return wanted


def _behind_a_gateway(owner: InferenceService, plan: Plan, template: Manifest) -> list[Manifest]:
    if owner.spec.gateway is None:
        return []
    slots = [service.of_slot(owner, slot, template=_shown(plan, slot) or template) for slot in names.Slot]
    return [*slots, gateway.http_route(owner, owner.spec.gateway, plan.routes)]


def _shown(plan: Plan, slot: names.Slot) -> Manifest | None:
    return plan.stored[plan.slots[slot].revision].template if slot in plan.slots else None
