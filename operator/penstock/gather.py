"""Everything one pass needs to know of a service, read from the store (and from the loading pods themselves)."""

from dataclasses import dataclass

from penstock import names, observe
from penstock.api.v1alpha1 import InferenceService
from penstock.desired.children import Stored
from penstock.kinds import AUTOSCALER, CONTROLLER_REVISION, DEPLOYMENT, SERVICE, Manifest
from penstock.names import Slot
from penstock.observe import Progress, Seen
from penstock.probes import Probes
from penstock.rollout.capacity import Fit
from penstock.store import Child, Key, Store


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was seen, and the pod templates that are stored on the cluster, by revision."""

    seen: Seen
    stored: dict[str, Stored]
    live_template: Manifest | None  # of the active slot's Deployment, without the slot


async def gather(store: Store, key: Key, service: InferenceService, probes: Probes) -> Gathered:
    live = store.children(service.metadata.uid)
    slot = Slot((service.status.rollout.active_slot if service.status.rollout else None) or Slot.BLUE)
    deployment = _decoded(live, DEPLOYMENT.name, names.deployment(key.name, slot))
    autoscaler = _decoded(live, AUTOSCALER.name, key.name)
    active = _decoded(live, SERVICE.name, key.name)
    pods = tuple(pod for pod in store.pods(key) if pod.slot == slot)
    seen = Seen(
        service=service,
        deployment=observe.deployment(deployment) if deployment else None,
        pods=pods,
        endpoints=store.endpoints(key),
        autoscaler=observe.autoscaler(autoscaler) if autoscaler else None,
        annotations=active["metadata"].get("annotations", {}) if active else {},
        progress=await _progress(pods, service, deployment, probes),
        fit=_fit(store, key, pods, deployment),
    )
    return Gathered(seen, _stored(live, key.name), _template(deployment) if deployment else None)


def _decoded(live: dict[tuple[str, str], Child], kind: str, name: str) -> Manifest | None:
    child = live.get((kind, name))
    return child.manifest() if child else None


def _stored(live: dict[tuple[str, str], Child], service: str) -> dict[str, Stored]:
    """By revision, as the name tells it: a label can be edited, and what it says is then to be put back."""
    found = (child.manifest() for (kind, _), child in live.items() if kind == CONTROLLER_REVISION.name)
    return {
        revision["metadata"]["name"].removeprefix(names.controller_revision(service, "")): Stored(
            revision["revision"], revision["data"]["template"]
        )
        for revision in found
    }


def _template(deployment: Manifest) -> Manifest:
    template: Manifest = deployment["spec"]["template"]
    labels = {k: v for k, v in template["metadata"].get("labels", {}).items() if k != names.LABEL_SLOT}
    return {**template, "metadata": {**template["metadata"], "labels": labels}}


def _fit(store: Store, key: Key, pods: tuple[observe.SeenPod, ...], deployment: Manifest | None) -> Fit | None:
    """The arithmetic of free capacity, only while a pod waits for a node: it costs a look at every node."""
    if deployment is None or not any(pod.unschedulable is not None for pod in pods):
        store.waiting_for_room.discard(key)
        return None
    store.waiting_for_room.add(key)
    return store.capacity.fit(deployment["spec"]["template"]["spec"])


async def _progress(
    pods: tuple[observe.SeenPod, ...], service: InferenceService, deployment: Manifest | None, probes: Probes
) -> Progress:
    """How far our own server's pods of the Deployment's revision have come; foreign servers do not tell."""
    if service.spec.predictor.model is None or deployment is None:
        return Progress()
    revision = observe.deployment(deployment).revision
    loading = [pod for pod in pods if pod.is_loading and pod.revision == revision]
    return await probes.progress([pod.ip for pod in loading if pod.ip])
