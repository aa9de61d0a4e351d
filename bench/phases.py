"""What is measured: N services without an operator, then with it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psutil
from penstock import names
from penstock.kinds import DEPLOYMENT, INFERENCE_SERVICE, POD, SERVICE, Manifest, kind_of
from penstock.kube.api_server import ApiServer

from bench import drift, workload
from bench.audit import AuditLog, Requests
from bench.process import Operator, Process
from bench.timing import spread, stopwatch
from bench.view import View
from tests.harness import local, requirements
from tests.harness.cluster import Cluster
from tests.harness.control_plane import HPA_SYNC_SECONDS
from tests.harness.processes import Processes
from tests.harness.progress import progress
from tests.harness.tools import cache_dir

_AT_ONCE: Final = 16  # requests that the one client has under way
_NEWCOMERS: Final = 30
_PAUSE_SECONDS: Final = 1  # in which the controllers make one newcomer's pod before the next newcomer is timed
_IDLE_SECONDS: Final = 60
_SETTLED_CORE: Final = 0.02  # an operator that uses less of a core over _SETTLED_SECONDS has nothing left to do
_SETTLED_SECONDS: Final = 5


@dataclass(frozen=True)
class Bench:
    """What the phases share."""

    cluster: Cluster
    server: ApiServer  # the one client's connection
    audit: AuditLog
    services: int

    def names(self) -> list[str]:
        return [f"s{number}" for number in range(self.services)]


async def baseline(bench: Bench) -> dict[str, Any]:
    """Create the children directly; time to all pods Ready, then to all of the next release."""
    async with own_namespace(bench, f"bench-{bench.services}-bare") as namespace:
        objects = [child for name in bench.names() for child in workload.without_operator(name, namespace)]
        async with (
            View.of(bench.server, POD, namespace) as pods,
            measured(bench, "created without an operator") as created,
        ):
            await at_once(bench.server.create(kind_of(obj), obj) for obj in objects)
            await pods.until_all(bench.services, is_ready)
        async with (
            View.of(bench.server, DEPLOYMENT, namespace) as deployments,
            measured(bench, "updated without an operator") as updated,
        ):
            changed = [_deployment(name, namespace) for name in bench.names()]
            await at_once(merge(bench, obj, {"spec": obj["spec"]}) for obj in changed)
            await deployments.until_all(bench.services, _is_rolled_out)
        newcomers = await _one_more(bench, namespace, _deployment)
    return {"create": created, "update": updated, "one more": newcomers}


async def with_operator(bench: Bench, operator: Operator) -> dict[str, Any]:
    """Every figure of the operator, in one life of N services."""
    async with (
        own_namespace(bench, f"bench-{bench.services}") as namespace,
        running(operator),
        View.of(bench.server, INFERENCE_SERVICE, namespace) as services,
    ):
        objects = [workload.inference_service(name, namespace) for name in bench.names()]
        async with measured(bench, "created", operator) as created:
            await at_once(bench.server.create(INFERENCE_SERVICE, obj) for obj in objects)
            await services.until_all(bench.services, serves)
        found = {"create": created, "settled after s": await settle(operator)}
        # The autoscalers look at new services for the first time, and what they find is told once.
        await settle(operator, over=HPA_SYNC_SECONDS + _SETTLED_SECONDS)
        progress(f"the operator is left alone for {_IDLE_SECONDS} s")
        found["idle"] = await _idle(operator)
        progress("one more service, drift and restarts")
        found["one more"] = await _one_more(bench, namespace, workload.inference_service)
        found["drift"] = await _drift(bench, namespace, services)
        for number in (signal.SIGTERM, signal.SIGKILL):
            found[f"restart after {number.name}"] = await _restart(bench, operator, namespace, number)
            await settle(operator)
        async with measured(bench, "updated", operator) as found["update"]:
            await at_once(merge(bench, obj, workload.release("2")) for obj in objects)
            await services.until_all(bench.services, _runs_release_2)
    return found


async def _one_more(bench: Bench, namespace: str, build: Callable[[str, str], Manifest]) -> dict[str, Any]:
    """From the create call of what `build` makes of a name to the event that shows its Deployment."""
    samples = []
    async with View.of(bench.server, DEPLOYMENT, namespace) as deployments:
        for number in range(_NEWCOMERS):
            obj = build(f"more-{number}", namespace)
            with stopwatch() as watch:
                await bench.server.create(kind_of(obj), obj)
                await deployments.until(names.deployment(f"more-{number}", names.Slot.BLUE), lambda _: True)
            samples.append(watch.seconds)
            await asyncio.sleep(_PAUSE_SECONDS)
    return {"samples": len(samples), **spread(samples)}


async def _drift(bench: Bench, namespace: str, services: View) -> dict[str, Any]:
    """On services of two pods, as only those have a budget."""
    pairs = [workload.inference_service(f"pair-{number}", namespace, pods=2) for number in range(drift.SAMPLES)]
    owners = {pair["metadata"]["name"] for pair in pairs}
    await at_once(bench.server.create(INFERENCE_SERVICE, pair) for pair in pairs)
    for name in owners:
        await services.until(name, serves)
    # Until the autoscalers have spoken, their first words would be measured too.
    await asyncio.sleep(2)
    return {kind.name: await drift.repairs(bench.server, kind, namespace, owners) for kind in drift.EDITS}


async def _restart(bench: Bench, operator: Operator, namespace: str, number: signal.Signals) -> dict[str, float]:
    """End it, delete a Service while it is down, start it again: seconds until the Service is back."""
    async with View.of(bench.server, SERVICE, namespace) as seen:
        victim = seen.objects[f"s{bench.services // 2}"]["metadata"]
        with stopwatch() as since_signal:
            await operator.stop(number)
            stopped = since_signal.seconds
            await bench.server.delete(SERVICE, namespace, victim["name"], uid=victim["uid"])
            with stopwatch() as since_start:
                operator.spawn()
                await seen.until(victim["name"], lambda now: bool(now["metadata"]["uid"] != victim["uid"]))
    return {
        "stopped after s": round(stopped, 2),
        "acts after start s": round(since_start.seconds, 2),
        "acts after signal s": round(since_signal.seconds, 2),
        "CPU s by then": round(operator.cpu_seconds(), 2),
    }


async def _idle(operator: Operator) -> dict[str, float]:
    before = operator.cpu_seconds()
    await asyncio.sleep(_IDLE_SECONDS)
    share = (operator.cpu_seconds() - before) / _IDLE_SECONDS
    return {"% of a core": round(100 * share, 2), "RSS MB": round(operator.rss() / 1e6, 1)}


async def settle(operator: Process, *, over: float = _SETTLED_SECONDS, seconds: float = 180) -> float:
    """Wait until the operator has had nothing to do for so long; after how many seconds that was."""
    with stopwatch() as watch:
        while watch.seconds < seconds:
            before = operator.cpu_seconds()
            await asyncio.sleep(over)
            if operator.cpu_seconds() - before < _SETTLED_CORE * over:
                break
    return round(watch.seconds, 1)


@asynccontextmanager
async def measured(bench: Bench, done: str, operator: Process | None = None) -> AsyncIterator[dict[str, Any]]:
    """Fills in time, requests and CPU of everybody when the block is left, and says that it is done."""
    found: dict[str, Any] = {}
    start, control_plane = bench.audit.here(), _component_seconds(bench.cluster)
    own = operator.cpu_seconds() if operator else 0.0
    with stopwatch() as watch:
        yield found
    found["seconds"] = round(watch.seconds, 2)
    if operator:
        found["operator CPU s"] = round(operator.cpu_seconds() - own, 2)
        found["operator peak RSS MB"] = round(operator.peak_rss() / 1e6, 1)
    after = _component_seconds(bench.cluster)
    found["control plane CPU s"] = {name: round(after[name] - before, 1) for name, before in control_plane.items()}
    found["requests per service"] = _per_service(bench.audit.since(start), bench.services, operator)
    progress(f"{bench.services} services {done} in {found['seconds']} s")


def _per_service(requests: Requests, services: int, operator: Process | None) -> dict[str, Any]:
    own = requests.of(operator.client) if operator else 0
    return {"operator": round(own / services, 2), **requests.per(services)}


def _component_seconds(cluster: Cluster) -> Mapping[str, float]:
    processes = Processes(cluster.state)
    times = {name: psutil.Process(processes.record(name).pid).cpu_times() for name in processes.names()}
    return {name: each.user + each.system for name, each in times.items()}


@asynccontextmanager
async def running(operator: Process) -> AsyncIterator[None]:
    await operator.start()
    try:
        yield
    finally:
        await operator.stop()


@contextmanager
def own_control_plane() -> Iterator[Cluster]:
    """A control plane that nothing else uses. Raises SystemExit that says what is missing for one."""
    reason = requirements.missing("local", "control-plane")
    if reason:
        raise SystemExit(f"error: {reason}")
    state = cache_dir() / "clusters" / "bench"
    try:
        yield local.up("control-plane", state, hpa_sync_seconds=HPA_SYNC_SECONDS)
    finally:
        local.down("control-plane", state)


@asynccontextmanager
async def own_namespace(bench: Bench, name: str, *, is_last: bool = False) -> AsyncIterator[str]:
    """A namespace of a phase's own; gone with all that is in it when the block is left, the last with the cluster."""
    kubectl: Callable[..., str] = bench.cluster.kubectl
    await asyncio.to_thread(kubectl, "create", "namespace", name)
    await asyncio.to_thread(kubectl, "wait", "--for=create", "serviceaccount/default", f"--namespace={name}")
    try:
        yield name
    finally:
        if not is_last:
            await asyncio.to_thread(kubectl, "delete", "namespace", name, "--timeout=15m")


async def at_once(calls: Iterable[Awaitable[Any]]) -> None:
    """Make all calls, a few at a time."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(call: Awaitable[Any]) -> None:
        async with gate:
            await call

    async with asyncio.TaskGroup() as group:
        for call in calls:
            group.create_task(one(call))


async def merge(bench: Bench, obj: Manifest, patch: Manifest) -> Manifest:
    metadata = obj["metadata"]
    return await bench.server.merge(
        kind_of(obj), metadata["namespace"], metadata["name"], patch, subresource="", manager="bench"
    )


def _deployment(name: str, namespace: str) -> Manifest:
    """The Deployment of the next release."""
    return next(o for o in workload.without_operator(name, namespace, value="2") if o["kind"] == DEPLOYMENT.name)


def is_ready(obj: Manifest) -> bool:
    conditions = obj.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def serves(service: Manifest) -> bool:
    """Ready, as observed for the object as it is now."""
    return is_ready(service) and service["status"].get("observedGeneration") == service["metadata"]["generation"]


def _runs_release_2(service: Manifest) -> bool:
    if not workload.has_release(service, "2") or not serves(service):
        return False
    rollout = service["status"]["rollout"]
    return bool(rollout["phase"] == "Stable" and rollout["stableRevision"] == rollout["currentRevision"])


def _is_rolled_out(deployment: Manifest) -> bool:
    spec, status = deployment["spec"], deployment.get("status", {})
    if {"name": workload.RELEASE, "value": "2"} not in spec["template"]["spec"]["containers"][0].get("env", []):
        return False
    if status.get("observedGeneration") != deployment["metadata"]["generation"]:
        return False
    return bool(status.get("updatedReplicas") == status.get("availableReplicas") == status.get("replicas") == 1)
