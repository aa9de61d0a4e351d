"""`penstock run`: the watches, the queue, the lease and the workers, put together.

Watches run in every replica, so that a standby is warm; workers run only in the one that holds the lease. Whatever
ends unexpectedly ends the process: a restart is cheap, and half an operator is worse than none.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import kopf
import structlog

from penstock import clock, errors, health, names
from penstock.capacity.free import Capacity
from penstock.controller import handlers
from penstock.controller.apply import Vanished
from penstock.controller.events import EventRecorder
from penstock.controller.reconcile import Reconciler
from penstock.controller.settings import PodAccess, Settings
from penstock.kinds import (
    AUTOSCALER,
    CHILDREN,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    INFERENCE_SERVICE,
    NODE,
    POD,
    RESOURCE_QUOTA,
    ROUTER_SLICE,
    Kind,
)
from penstock.kube.api_server import ApiServer, KubernetesLeases, connect
from penstock.kube.leader import LeaderElection
from penstock.kube.pod_access import ThroughApiServer, direct
from penstock.kube.release import Release
from penstock.kube.throttle import TokenBucket
from penstock.kube.workqueue import WorkQueue
from penstock.metrics import Metrics, Snapshot
from penstock.pods.client import HttpPodClient, NoPodClient, PodClient
from penstock.watch.reflector import Reflector
from penstock.watch.store import Key, Store
from penstock.watch.watchdog import Watchdog, Watched

log = structlog.get_logger(__name__)

# A pod's start is a burst of events in several kinds: one pass after it is worth ten during it.
_SETTLE_SECONDS = 0.1


class NotInstalled(Exception):
    """The cluster does not serve InferenceServices."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the tasks of one process share."""

    settings: Settings
    store: Store
    queue: WorkQueue[Key]
    metrics: Metrics
    server: ApiServer

    def enqueue_now(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.queue.add(key)

    def enqueue_soon(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.queue.add_after(key, _SETTLE_SECONDS)


async def run(settings: Settings, *, kubeconfig: str | None = None) -> None:
    """Run until SIGTERM or SIGINT. Raises NotInstalled, LeaseLost, or whatever ended a part that must not end."""
    store = Store(Capacity(sees_all_pods=not settings.namespaces))

    def snapshot() -> Snapshot:
        return Snapshot(election.is_leader, queue.depth, _phases(store), store.numbers())

    metrics = Metrics(snapshot)
    queue: WorkQueue[Key] = WorkQueue(
        is_urgent=store.is_moving,
        most_others=_others(settings.workers),
        on_wait=metrics.queue_waited,
        on_error=_tell,
    )
    writes = TokenBucket(settings.api_qps, settings.api_burst)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(connect(metrics, writes, kubeconfig))
        await _check_installed(server, settings)
        pod_client = await stack.enter_async_context(_pod_client(settings.pod_access, server))
        parts = Parts(settings, store, queue, metrics, server)
        election = _election(settings, server)
        await _run_parts(parts, election, pod_client, kubeconfig)


def _election(settings: Settings, server: ApiServer) -> LeaderElection:
    recorder = EventRecorder(server, instance=settings.lease_identity)
    pod = {
        "apiVersion": POD.api_version,
        "kind": POD.name,
        "name": settings.pod_name,
        "namespace": settings.lease_namespace,
        **({"uid": settings.pod_uid} if settings.pod_uid else {}),
    }
    return LeaderElection(
        KubernetesLeases(server),
        release=Release(
            settings.lease_namespace, settings.lease_name, settings.service_account, frozenset(settings.namespaces)
        ),
        identity=settings.lease_identity,
        on_refused=lambda why: recorder.refused(pod, why, clock.now()),
        timing=settings.lease_timing,
    )


def _others(workers: int) -> int:
    """Workers that may be with services whose rollout is not under way.

    Beginning a thousand rollouts at once must not hold up those that wait for their traffic.
    """
    return max(workers // 4, min(workers - 1, 8), 1)


@asynccontextmanager
async def _pod_client(access: PodAccess, server: ApiServer) -> AsyncIterator[PodClient]:
    if access == "None":
        yield NoPodClient()
        return
    if access == "ApiServer":
        async with server.pod_proxy() as proxy:
            yield HttpPodClient(ThroughApiServer(proxy))
        return
    async with direct() as (pods, services):
        yield HttpPodClient(pods, services=services)


async def _run_parts(parts: Parts, election: LeaderElection, pod_client: PodClient, kubeconfig: str | None) -> None:
    settings = parts.settings
    reflectors = _reflectors(parts)
    watchdog = Watchdog(parts.server, parts.store, enqueue=parts.enqueue_now, interval=settings.resync_seconds)
    heartbeat = health.Heartbeat()

    def unready() -> str:
        is_synced = all(reflector.is_synced.is_set() for reflector in reflectors)
        return election.refusal or ("" if is_synced else "not synced yet")

    def is_alive() -> bool:
        return watchdog.is_healthy and heartbeat.is_regular

    async with health.serve(settings.metrics_port, parts.metrics, is_alive=is_alive, unready=unready):
        leading = asyncio.create_task(
            election.run(lambda: _lead(parts, election, reflectors, pod_client)), name="lease"
        )
        tasks = [
            leading,
            asyncio.create_task(heartbeat.run(), name="heartbeat"),
            *(asyncio.create_task(reflector.run(), name=f"reflect-{reflector.kind}") for reflector in reflectors),
            *(
                asyncio.create_task(watchdog.guard(watched), name="watchdog")
                for watched in _watched(reflectors, settings)
            ),
        ]
        await _until_the_first_ends(tasks, parts, kubeconfig)


async def _until_the_first_ends(tasks: list[asyncio.Task[None]], parts: Parts, kubeconfig: str | None) -> None:
    """Add kopf's watch of the services, wait for a signal or an end, and stop everything, the lease first."""
    stop, halt = asyncio.Event(), asyncio.Event()
    stopping = asyncio.create_task(stop.wait(), name="signal")
    before = set(asyncio.all_tasks())
    shell = await kopf.spawn_tasks(
        registry=handlers.registry(parts.store, parts.enqueue_now, parts.metrics, kubeconfig),
        settings=handlers.settings(),
        clusterwide=not parts.settings.namespaces,
        namespaces=parts.settings.namespaces,
        stop_flag=halt,
    )
    # kopf has set its own handlers by now; ours release the lease before anything else is taken down.
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    watching = asyncio.create_task(kopf.run_tasks(shell, ignored=before), name="kopf")
    everything: list[asyncio.Task[Any]] = [*tasks, *shell, watching, stopping]
    await asyncio.wait({*tasks, watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
    await _end(tasks)
    halt.set()
    # kopf closes its connections by itself when it is asked to stop; cancelled, it would leave them open.
    await asyncio.wait({watching}, timeout=3)
    await _end(everything)
    if not stop.is_set():
        _raise_first_failure(everything)


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await asyncio.wait({task}, timeout=5)


def _raise_first_failure(tasks: list[asyncio.Task[Any]]) -> None:
    """Raise what ended the operator. A task that was cancelled is no cause: kopf cancels ours when one of its fails."""
    for task in tasks:
        if task.done() and not task.cancelled() and task.exception():
            log.error("a part of the operator failed", part=task.get_name())
            task.result()
    raise RuntimeError("a part of the operator ended")


async def _lead(parts: Parts, election: LeaderElection, reflectors: list[Reflector], pod_client: PodClient) -> None:
    """Work off the queue, once the store knows everything."""
    for reflector in reflectors:
        await reflector.is_synced.wait()
    reconciler = Reconciler(
        parts.server,
        parts.store,
        pod_client=pod_client,
        wake=parts.queue.add,
        recorder=EventRecorder(parts.server, instance=parts.settings.lease_identity),
        clock=clock.now,
        installation=parts.settings.installation,
        on_internal_error=lambda: parts.metrics.failed(names.Reason.INTERNAL_ERROR),
    )
    parts.enqueue_now(parts.store.services())

    async def work(key: Key) -> None:
        if not election.is_leader:  # A process that was frozen must not write when it thaws.
            parts.queue.add_after(key, 1.0)
            return
        started = asyncio.get_running_loop().time()
        result = "error"
        try:
            again = await reconciler(key)
            result = "done"
        except (Vanished, errors.Conflict):
            result = "again"
            parts.queue.retry(key)
            return
        except errors.Throttled as error:
            result = "again"
            parts.queue.add_after(key, error.retry_after)
            return
        except (errors.ApiError, errors.Unreachable) as error:
            parts.metrics.failed(type(error).__name__)
            raise
        finally:
            parts.metrics.reconciled(asyncio.get_running_loop().time() - started, result=result)
        if again is not None:
            parts.queue.add_after(key, again.total_seconds())

    try:
        await parts.queue.run(work, parts.settings.workers)
    finally:
        await reconciler.close()


def _reflectors(parts: Parts) -> list[Reflector]:
    def reflector(kind: Kind, namespace: str | None, *, selector: str | None = None, soon: bool) -> Reflector:
        return Reflector(
            parts.server,
            parts.store,
            kind,
            enqueue=parts.enqueue_soon if soon else parts.enqueue_now,
            metrics=parts.metrics,
            namespace=namespace,
            selector=selector,
        )

    noisy, settings = (DEPLOYMENT, AUTOSCALER, ENDPOINT_SLICE), parts.settings
    namespaces = settings.namespaces or (None,)
    of_routers = f"kubernetes.io/service-name={settings.router_service}"
    return [
        *(
            reflector(kind, namespace, selector=names.MANAGED_SELECTOR, soon=kind in noisy)
            for namespace in namespaces
            for kind in CHILDREN
        ),
        # GPU arithmetic needs every node and every pod, whoever owns it; a node is in no namespace.
        *(reflector(POD, namespace, soon=True) for namespace in namespaces),
        *(reflector(RESOURCE_QUOTA, namespace, soon=True) for namespace in namespaces),
        reflector(NODE, None, soon=True),
        *(
            [reflector(ROUTER_SLICE, settings.router_namespace, selector=of_routers, soon=False)]
            if settings.router_service
            else []
        ),
    ]


def _watched(reflectors: list[Reflector], settings: Settings) -> list[Watched]:
    services = [Watched(INFERENCE_SERVICE, namespace) for namespace in settings.namespaces or (None,)]
    return [*services, *(Watched(each.kind, each.namespace, each.selector) for each in reflectors)]


async def _check_installed(server: ApiServer, settings: Settings) -> None:
    namespace = settings.namespaces[0] if settings.namespaces else None
    try:
        async for _ in server.pages(INFERENCE_SERVICE, namespace, metadata_only=True):
            return
    except errors.NotFound as error:
        raise NotInstalled(
            "this cluster has no InferenceServices: install the CRD (helm chart, or crds/) and start again"
        ) from error


def _phases(store: Store) -> dict[str, int]:
    phases: dict[str, int] = {}
    for key in store.services():
        phase = store.raw_status(key).get("phase") or "Unknown"
        phases[phase] = phases.get(phase, 0) + 1
    return phases


def _tell(key: Key, error: Exception) -> None:
    known = isinstance(error, errors.ApiError | errors.Unreachable)
    log.error("pass failed", service=str(key), error=str(error) or repr(error), exc_info=None if known else error)
