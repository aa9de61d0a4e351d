"""Everything one pass needs to know of a service, read from the store, and what its pods have told."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.capacity.room import Fit, Room
from penstock.desired import container, pod, revision, validation
from penstock.desired.history import Stored
from penstock.desired.serving import serving_container
from penstock.kinds import AUTOSCALER, CONTROLLER_REVISION, DEPLOYMENT, HTTP_ROUTE, SERVICE, Manifest
from penstock.names import Slot
from penstock.observed import http_route, parse
from penstock.observed.values import Progress, Seen, SeenPod
from penstock.pods.addresses import addresses
from penstock.pods.checks import Checks
from penstock.rollout import decide, smoke
from penstock.rollout.replicas import scale
from penstock.watch.store import Child, Key, Store


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was seen, and the pod templates by revision: those stored, and those that the Deployments run."""

    seen: Seen
    stored: Mapping[str, Stored]
    running: Mapping[str, Manifest]  # without the slot
    template: Manifest | None  # of the current revision; None if it cannot be rendered
    problems: list[validation.Problem]  # what is wrong with the spec
    smoke_test: smoke.SmokeRequest | None


def gather(
    store: Store, key: Key, service: InferenceService, checks: Checks, now: datetime, *, server_image: str
) -> Gathered:
    """Waits for nobody: what the pods are asked, they answer to a later pass."""
    live = store.children(service.metadata.uid)
    deployments = {slot: _decoded(live, DEPLOYMENT.name, names.deployment(key.name, slot)) for slot in Slot}
    autoscaler = _decoded(live, AUTOSCALER.name, key.name)
    active = _decoded(live, SERVICE.name, key.name)
    routed = _decoded(live, HTTP_ROUTE.name, key.name)
    stored, running = _stored(live, key.name), _running(deployments)
    current, pods = revision.of(service), store.pods(key)
    problems = validation.validate(service)
    template = _kept(current, stored, running)
    if template is None and not problems:
        template = pod.template(service, current, server_image=server_image)
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
    return Gathered(seen, stored, running, template, problems, smoke_test)


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


def _kept(current: str, stored: Mapping[str, Stored], running: Mapping[str, Manifest]) -> Manifest | None:
    """A template that is stored, or runs already, is the one to go by: a fresh rendering might restart its pods."""
    return stored[current].template if current in stored else running.get(current)


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
    return store.capacity.room(template["spec"], own, serving=serving)


def _progress(
    checks: Checks, key: Key, pods: tuple[SeenPod, ...], service: InferenceService, current: str
) -> Progress | None:
    """How far our own server's pods of the current revision have come; foreign servers do not tell."""
    is_ours = service.spec.predictor.model is not None
    loading = [pod for pod in pods if is_ours and pod.is_loading and pod.revision == current]
    return checks.progress(key, current, addresses(key.namespace, loading))
