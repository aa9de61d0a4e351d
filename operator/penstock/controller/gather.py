"""Everything one pass needs to know of a service, read from the store, and what its pods have answered."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from penstock import names
from penstock.api.status import RolloutStatus
from penstock.api.v1alpha1 import InferenceService
from penstock.capacity.room import Fit, Room
from penstock.desired import container, pod, revision, validation
from penstock.desired.history import Stored
from penstock.desired.installation import Installation
from penstock.desired.serving import serving_container
from penstock.kinds import AUTOSCALER, CONTROLLER_REVISION, DEPLOYMENT, HTTP_ROUTE, SERVICE, Manifest
from penstock.names import Reason, Slot
from penstock.observed import http_route, parse
from penstock.observed.values import Progress, Seen, SeenPod
from penstock.pods.addresses import addresses
from penstock.pods.checks import Checks
from penstock.rollout import decide, smoke
from penstock.rollout.replicas import scale
from penstock.status.conditions import Problem
from penstock.watch.store import Child, Key, Store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was seen, and the pod templates by revision: those stored, and those that the Deployments run."""

    seen: Seen
    stored: Mapping[str, Stored]
    running: Mapping[str, Manifest]  # without the slot
    template: Manifest | None  # of the revision that the pass goes by; None if there is none
    problem: Problem | None  # why that is not the one that the spec asks for, if it is not
    smoke_test: smoke.SmokeRequest | None


def gather(
    store: Store, key: Key, service: InferenceService, checks: Checks, now: datetime, *, installation: Installation
) -> Gathered:
    """Waits for nobody: what the pods are asked, they answer to a later pass."""
    live = store.children(service.metadata.uid)
    deployments = {slot: _decoded(live, DEPLOYMENT.name, names.deployment(key.name, slot)) for slot in Slot}
    autoscaler = _decoded(live, AUTOSCALER.name, key.name)
    active = _decoded(live, SERVICE.name, key.name)
    routed = _decoded(live, HTTP_ROUTE.name, key.name)
    stored, running = _stored(live, key.name), _running(deployments)
    template, problem = _template(service, stored, running, installation)
    current = revision.of(service) if problem is None else _kept(service, stored, running)
    if problem is not None:
        template = _known(current, stored, running)
    pods = store.pods(key)
    smoke_test = _smoke_test(service, template) if template and checks.can_reach_pods else None
    annotations = active["metadata"].get("annotations", {}) if active else {}
    seen = Seen(
        service=service,
        current=current,
        slots={slot: parse.deployment(found) for slot, found in deployments.items() if found},
        selected=parse.selected_slot(annotations),
        pods=pods,
        endpoints=store.endpoints(key),
        autoscaler=parse.autoscaler(autoscaler) if autoscaler else None,
        annotations=annotations,
        templates=frozenset(stored) | frozenset(running),
        progress=_progress(checks, key, pods, service, current),
        is_smoke_tested=smoke_test is not None,
        route=http_route.parse(routed, {names.slot_service(key.name, slot): slot for slot in Slot}) if routed else None,
    )
    seen = replace(seen, answers=checks.answers(key, seen, smoke_test))
    seen = replace(seen, fit=_fit(seen, store, key, running), room=_room(seen, store, template, now))
    return Gathered(seen, stored, running, template, problem, smoke_test)


def _decoded(live: dict[tuple[str, str], Child], kind: str, name: str) -> Manifest | None:
    child = live.get((kind, name))
    return child.manifest() if child else None


def _stored(live: dict[tuple[str, str], Child], service: str) -> dict[str, Stored]:
    """By revision, as the name tells it: a label can be edited, and what it says is then to be put back."""
    found = (child.manifest() for (kind, _), child in live.items() if kind == CONTROLLER_REVISION.name)
    return {
        each["metadata"]["name"].removeprefix(names.controller_revision(service, "")): Stored(
            each["revision"], each["data"]["template"]
        )
        for each in found
    }


def _running(deployments: Mapping[Slot, Manifest | None]) -> dict[str, Manifest]:
    """What the Deployments run, by revision: a stored template that was deleted is made again from it."""
    templates = (found["spec"]["template"] for found in deployments.values() if found)
    found = {template["metadata"].get("labels", {}).get(names.LABEL_REVISION, ""): template for template in templates}
    return {revision: _without_slot(template) for revision, template in found.items() if revision}


def _without_slot(template: Manifest) -> Manifest:
    labels = {k: v for k, v in template["metadata"].get("labels", {}).items() if k != names.LABEL_SLOT}
    return {**template, "metadata": {**template["metadata"], "labels": labels}}


def _template(
    service: InferenceService, stored: Mapping[str, Stored], running: Mapping[str, Manifest], installation: Installation
) -> tuple[Manifest | None, Problem | None]:
    """The template of the revision that the spec asks for, or why there is none."""
    problems = validation.validate(service)
    if problems:
        return None, Problem(Reason.INVALID_SPEC, "; ".join(f"{each.field}: {each.message}" for each in problems))
    try:
        asked = revision.of(service)
        template = _known(asked, stored, running) or pod.template(
            service, asked, server_image=installation.server_image, has_fixed_user=installation.fixed_users
        )
    except Exception as error:  # The checks have missed something: what runs goes on all the same.
        log.exception("a pod template cannot be rendered", service=service.metadata.name)
        why = f"spec.predictor: the pod template cannot be rendered: {type(error).__name__}: {error}"
        return None, Problem(Reason.INTERNAL_ERROR, why)
    return template, None


def _known(asked: str, stored: Mapping[str, Stored], running: Mapping[str, Manifest]) -> Manifest | None:
    """A template that is stored, or runs already, is the one to go by: a fresh rendering might restart its pods."""
    return stored[asked].template if asked in stored else running.get(asked)


def _kept(service: InferenceService, stored: Mapping[str, Stored], running: Mapping[str, Manifest]) -> str:
    """The revision to go by while the spec makes none: the one before it, which nothing that the spec says can break.

    One that runs comes first. The stored one of the spec itself may never have been accepted.
    """
    asked, recorded = _asked(service), service.status.rollout or RolloutStatus()
    candidates = [each for each in (recorded.current_revision, recorded.stable_revision) if each]
    runs = [each for each in (asked, *candidates, *running) if each in running]
    return next(iter([*runs, *(each for each in candidates if each in stored and each != asked)]), asked)


def _asked(service: InferenceService) -> str:
    """The revision that the spec asks for; empty if it is nested too deeply to have one."""
    try:
        return revision.of(service)
    except ValueError:
        return ""


def _smoke_test(service: InferenceService, template: Manifest) -> smoke.SmokeRequest | None:
    serving = serving_container(template)
    return smoke.request(service, port=container.port_number(serving))


def _fit(seen: Seen, store: Store, key: Key, running: Mapping[str, Manifest]) -> Fit | None:
    """Room for one more of a pod that waits for a node; asked only then, for it costs a look at every node."""
    waiting = next((pod for pod in seen.pods if pod.unschedulable is not None and not pod.is_leaving), None)
    if waiting is None:
        store.waiting_for_room.discard(key)
        return None
    template = running.get(waiting.revision)
    fit = store.capacity.fit(template["spec"]) if template else None
    store.waiting_for_room.put(key, fit.rests_on if fit else frozenset())
    return fit


def _room(seen: Seen, store: Store, template: Manifest | None, now: datetime) -> Room | None:
    """Room for pods of the current revision, where a plan is to be made."""
    serving = len(seen.ready(seen.active))
    wanted = scale(seen.service, serving).replicas
    if template is None or not decide.needs_room(seen, now, wanted=wanted):
        return None
    namespace = seen.service.metadata.namespace
    own = [(namespace, pod.name) for pod in seen.pods if pod.slot == seen.active]
    return store.capacity.room(namespace, template["spec"], own, serving=serving)


def _progress(
    checks: Checks, key: Key, pods: tuple[SeenPod, ...], service: InferenceService, current: str
) -> Progress | None:
    """How far our own server's pods of the current revision have come; foreign servers do not tell."""
    is_ours = service.spec.predictor.model is not None
    loading = [pod for pod in pods if is_ours and pod.is_loading and pod.revision == current]
    return checks.progress(key, current, addresses(key.namespace, loading))
