"""Everything one pass needs to know of a service, read from the store, and what its pods have answered."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from penstock import names
from penstock.api.status import RolloutStatus
from penstock.api.v1alpha1 import InferenceService
from penstock.capacity.room import Fit, Room
from penstock.desired import container, pod, revision, scraping, validation
from penstock.desired.history import Stored
from penstock.desired.installation import Installation, missing_prometheus
from penstock.desired.serving import serving_container
from penstock.kinds import (
    AUTOSCALER,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    HTTP_ROUTE,
    SCALED_OBJECT,
    SERVICE,
    Manifest,
)
from penstock.names import Reason, Slot
from penstock.observed import http_route, parse
from penstock.observed.values import Activity, Progress, Seen, SeenAutoscaler, SeenPod
from penstock.pods.addresses import addresses
from penstock.pods.checks import Checks
from penstock.pods.idleness import Idleness, Question, every
from penstock.rollout import decide, smoke
from penstock.scaling import schedule
from penstock.scaling.replicas import scale
from penstock.scaling.schedule import Least
from penstock.status.conditions import Problem
from penstock.watch.store import Child, Key, Store

log = structlog.get_logger(__name__)

# A model that took longer was waiting for a node.
_LONGEST_LEAD: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was seen, and the pod templates by revision: those stored, and those that the Deployments run."""

    seen: Seen
    stored: Mapping[str, Stored]
    running: Mapping[str, Manifest]  # without the slot
    template: Manifest | None  # of the revision that the pass goes by; None if there is none
    problem: Problem | None  # why that is not the one that the spec asks for, if it is not
    smoke_test: smoke.SmokeRequest | None
    least: Least  # pods


def gather(
    store: Store,
    key: Key,
    service: InferenceService,
    checks: Checks,
    now: datetime,
    *,
    idleness: Idleness,
    installation: Installation,
) -> Gathered:
    """Waits for nobody: what the pods are asked, they answer to a later pass."""
    live = store.children(service.metadata.uid)
    deployments = {slot: _decoded(live, DEPLOYMENT.name, names.deployment(key.name, slot)) for slot in Slot}
    active = _decoded(live, SERVICE.name, key.name)
    routed = _decoded(live, HTTP_ROUTE.name, key.name)
    to_routers = _decoded(live, ENDPOINT_SLICE.name, names.router_slice(key.name)) or {}
    stored, running = _stored(live, key.name), _running(deployments)
    template, problem = _template(service, stored, running, installation)
    current = revision.of(service) if problem is None else _kept(service, stored, running)
    if problem is not None:
        template = _known(current, stored, running)
    pods = store.pods(key)
    smoke_test = _smoke_test(service, template) if template and checks.can_reach_pods else None
    annotations = active["metadata"].get("annotations", {}) if active else {}
    least = schedule.least(service.spec, now, _load_time(service))
    seen = Seen(
        service=service,
        current=current,
        slots={slot: parse.deployment(found) for slot, found in deployments.items() if found},
        selected=parse.selected_slot(annotations),
        pods=pods,
        endpoints=store.endpoints(key),
        autoscaler=_autoscaler(store, live, key.name),
        annotations=annotations,
        templates=frozenset(stored) | frozenset(running),
        progress=_progress(checks, key, pods, service, current),
        is_smoke_tested=smoke_test is not None,
        routers=store.routers,
        has_router_slice=bool(to_routers.get("endpoints")),
        ip_family=next(iter((active or {}).get("spec", {}).get("ipFamilies", ())), None),
        activity=_activity(idleness, key, service, pods, active),
        route=http_route.parse(routed, {names.slot_service(key.name, slot): slot for slot in Slot}) if routed else None,
    )
    seen = replace(seen, answers=checks.answers(key, seen, smoke_test))
    seen = replace(seen, fit=_fit(seen, store, key, running), room=_room(seen, store, template, now, least.pods))
    return Gathered(seen, stored, running, template, problem, smoke_test, least)


def _activity(
    idleness: Idleness, key: Key, service: InferenceService, pods: tuple[SeenPod, ...], active: Manifest | None
) -> Activity | None:
    """Whether requests come, where that decides on sleep."""
    spec, sleep = service.spec, service.status.autoscaling and service.status.autoscaling.sleep
    asked = addresses(key.namespace, [pod for pod in pods if pod.is_started and not pod.is_leaving])
    state = sleep.state if sleep else "Awake"
    if spec.scale_to_zero is None or not asked or state in ("Asleep", "Waking"):
        return idleness.activity(key, None)
    is_close = state != "Awake"
    is_redirected = active is not None and names.ANNOTATION_REDIRECTED in active["metadata"].get("annotations", {})
    address = active["spec"].get("clusterIP", "") if active is not None and is_redirected else ""
    question = Question(
        pods=asked,
        metrics=scraping.of_predictor(spec.predictor),
        every=every(spec.scale_to_zero.after_seconds, is_close=is_close),
        is_close=is_close,
        service_ip=address,
    )
    return idleness.activity(key, question)


def _decoded(live: dict[tuple[str, str], Child], kind: str, name: str) -> Manifest | None:
    child = live.get((kind, name))
    return child.manifest() if child else None


def _autoscaler(store: Store, live: dict[tuple[str, str], Child], name: str) -> SeenAutoscaler | None:
    """Our own, or the ScaledObject with the one that KEDA made of it."""
    own, scaled = _decoded(live, AUTOSCALER.name, name), live.get((SCALED_OBJECT.name, name))
    if own is not None or scaled is None:
        return parse.autoscaler(own) if own else None
    made = _decoded(store.children(scaled.uid), AUTOSCALER.name, names.keda_autoscaler(name))
    return parse.scaled_object(scaled.manifest(), made)


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
    problems = [*validation.validate(service), *missing_prometheus(service, installation)]
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


def _room(seen: Seen, store: Store, template: Manifest | None, now: datetime, least: int) -> Room | None:
    """Room for pods of the current revision, where a plan is to be made."""
    serving = len(seen.ready(seen.active))
    wanted = scale(seen.service, serving, least=least).replicas
    if template is None or not decide.needs_room(seen, now, wanted=wanted):
        return None
    namespace = seen.service.metadata.namespace
    own = [(namespace, pod.name) for pod in seen.pods if pod.slot == seen.active]
    return store.capacity.room(namespace, template["spec"], own, serving=serving)


def _load_time(service: InferenceService) -> timedelta:
    """How long its pods took to load when that was last measured."""
    sleep = service.status.autoscaling and service.status.autoscaling.sleep
    measured = timedelta(seconds=sleep.wake_seconds or 0) if sleep else timedelta()
    return min(measured, _LONGEST_LEAD)


def _progress(
    checks: Checks, key: Key, pods: tuple[SeenPod, ...], service: InferenceService, current: str
) -> Progress | None:
    """How far our own server's pods of the current revision have come; foreign servers do not tell."""
    is_ours = service.spec.predictor.model is not None
    loading = [pod for pod in pods if is_ours and pod.is_loading and pod.revision == current]
    return checks.progress(key, current, addresses(key.namespace, loading))
