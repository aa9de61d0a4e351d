"""All objects that a service owns, from one plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import autoscaler, deployment, disruption, history, service
from penstock.kinds import Manifest


@dataclass(frozen=True, slots=True)
class Stored:
    """A revision's template as its ControllerRevision holds it; `number` counts revisions from 1."""

    number: int
    template: Manifest


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pass decided, in the terms of the objects to write."""

    slot: names.Slot
    strategy: str
    replicas: int
    revision: str  # what the active slot runs
    stored: Mapping[str, Stored]  # the revisions to keep, this one among them
    annotations: Mapping[str, str] = field(default_factory=dict)  # of the active Service


def children(owner: InferenceService, plan: Plan) -> list[Manifest]:
    """Every child that is wanted; what the service owns beyond these is to be deleted."""
    template = plan.stored[plan.revision].template
    wanted = [history.controller_revision(owner, key, old.number, old.template) for key, old in plan.stored.items()]
    wanted.append(
        deployment.deployment(
            owner,
            plan.slot,
            strategy=plan.strategy,
            replicas=plan.replicas,
            revision=plan.revision,
            template=template,
        )
    )
    wanted.append(service.service(owner, plan.slot, template=template, annotations=dict(plan.annotations)))
    if owner.spec.predictor.autoscales:
        wanted.append(autoscaler.autoscaler(owner))
    if disruption.is_wanted(plan.replicas):
        wanted.append(disruption.disruption_budget(owner, plan.slot))
    return wanted
