"""From one autoscaler to another: the old one goes, and only when nothing of it is left does the new one come.

Two that write one `/scale` would undo each other's work. KEDA has an autoscaler of its own behind the ScaledObject,
which lives until KEDA, or the garbage collector, has taken it away.
"""

from typing import Final

from penstock.api.v1alpha1 import InferenceService
from penstock.controller.apply import not_served
from penstock.desired import autoscaler, metadata
from penstock.kinds import AUTOSCALER, BY_NAME, SCALED_OBJECT, Kind, Manifest
from penstock.kube.api_server import Cluster
from penstock.names import Reason, keda_autoscaler
from penstock.status.conditions import Problem
from penstock.watch.store import Store

# At most one of them is there at a time.
SCALERS: Final = frozenset({AUTOSCALER.name, SCALED_OBJECT.name})


async def one_at_a_time(
    cluster: Cluster, store: Store, service: InferenceService, wanted: list[Manifest], *, least: int
) -> tuple[list[Manifest], Problem | None]:
    """What of it may be written now, and why not all. What is left out lets the pass delete the one that has to go.

    `least` is the least number of pods in force.

    Raises errors.ApiError, errors.Unreachable.
    """
    new = next((each for each in wanted if each["kind"] in SCALERS), None)
    live, name = store.children(service.metadata.uid), service.metadata.name
    if new is None or (new["kind"], name) in live:
        return wanted, None
    others = [each for each in wanted if each is not new]
    (rival,) = SCALERS - {new["kind"]}
    has_rival = (rival, name) in live
    if has_rival and rival == AUTOSCALER.name and not await _is_served(cluster, service, new["kind"]):
        # Better the autoscaler that there is than none.
        return [*others, autoscaler.autoscaler(service, least=least)], not_served(SCALED_OBJECT)
    # What the store knows may be old, and what we have deleted it has forgotten. A service that no pass has reported on
    # has had no autoscaler.
    is_new = not service.status.observed_generation
    in_the_way = (
        f"{rival} {name}" if has_rival else None if is_new else await _left_of(cluster, service, BY_NAME[rival])
    )
    if in_the_way is None:
        return wanted, None
    return others, Problem(Reason.AUTOSCALER_CHANGING, f"the {new['kind']} waits until {in_the_way} is gone")


async def _is_served(cluster: Cluster, service: InferenceService, kind: str) -> bool:
    return await cluster.serves(BY_NAME[kind], service.metadata.namespace)


async def _left_of(cluster: Cluster, service: InferenceService, old: Kind) -> str | None:
    """What is still there of the autoscaler of that kind, as the API server has it."""
    namespace, name = service.metadata.namespace, service.metadata.name
    found = await cluster.get(old, namespace, name)
    if found is not None and metadata.is_owned_by(found, name):
        return f"{old} {name}"
    if old is not SCALED_OBJECT:
        return None
    made = await cluster.get(AUTOSCALER, namespace, keda_autoscaler(name))
    if made is not None and made["spec"]["scaleTargetRef"] == metadata.target(service):
        return f"{AUTOSCALER} {keda_autoscaler(name)}, which KEDA made,"
    return None
