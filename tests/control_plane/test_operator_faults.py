"""An API server that fails in every way it can: all of it passes, and nothing is lost."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from penstock.kinds import DEPLOYMENT, INFERENCE_SERVICE, SERVICE

from tests.control_plane import fault_proxy
from tests.control_plane.fault_proxy import Fault, FaultProxy, is_watch, is_write
from tests.control_plane.objects import Manifest, Objects, assert_condition, image
from tests.control_plane.operator_process import Installation, Operator
from tests.control_plane.waiting import eventually
from tests.harness.cluster import Cluster

SOON = 6.0  # Reconnecting takes up to a few of the reflector's short pauses.


@pytest.fixture(scope="module")
def module_proxy(control_plane: Cluster) -> Iterator[FaultProxy]:
    found = FaultProxy(control_plane)
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def module_operator(
    installation: Installation, module_proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    """The module's operator reaches the API server through the proxy only."""
    found = Operator(installation.through(module_proxy.url), tmp_path_factory.mktemp("log"))
    yield found.start().wait_until_leading()
    assert found.stop() == 0


@pytest.fixture
def proxy(module_proxy: FaultProxy, operator: Operator) -> Iterator[FaultProxy]:
    yield module_proxy
    module_proxy.put()
    operator.wait_until_leading()


def stable(objects: Objects, name: str) -> Manifest:
    found = objects.service(name)
    assert_condition(found, "Ready", "True")
    assert_condition(found, "Progressing", "False", "Stable")
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    return found


def uid(objects: Objects, name: str) -> str:
    return str(objects.get(DEPLOYMENT, f"{name}-blue")["metadata"]["uid"])


def assert_replaced(objects: Objects, name: str, old: str) -> None:
    assert uid(objects, name) != old


def first(count: int, answer: Fault) -> Fault:
    """That fault for so many requests, and none afterwards."""
    left = count

    async def fault(request: web.Request) -> web.StreamResponse | None:
        nonlocal left
        if left == 0:
            return None
        found = await answer(request)
        left -= found is not None
        return found

    return fault


def to_writes(code: int, reason: str, *, retry_after: int | None = None) -> Fault:
    async def fault(request: web.Request) -> web.StreamResponse | None:
        return fault_proxy.status(code, reason, retry_after=retry_after) if is_write(request) else None

    return fault


def test_watches_that_are_cut_are_taken_up_again(objects: Objects, proxy: FaultProxy, name: str) -> None:
    objects.serve(name)
    eventually(lambda: stable(objects, name))
    old = uid(objects, name)
    assert proxy.cut() >= 9
    objects.delete(DEPLOYMENT, f"{name}-blue")
    eventually(lambda: assert_replaced(objects, name, old), within=SOON)
    objects.edit(name, predictor=image("2"))
    eventually(lambda: stable(objects, name))


def test_a_child_that_went_while_the_watch_was_too_old_is_missed(
    objects: Objects, proxy: FaultProxy, name: str
) -> None:
    objects.serve(name)
    eventually(lambda: stable(objects, name))
    old = uid(objects, name)
    held, gone = threading.Event(), threading.Event()

    async def expired(request: web.Request) -> web.StreamResponse | None:
        if not is_watch(request, "deployments"):
            return None
        held.set()
        await asyncio.to_thread(gone.wait, 20)
        return fault_proxy.status(410, "Expired")

    proxy.put(first(1, expired))
    assert proxy.cut("deployments") == 1
    assert held.wait(timeout=10)
    objects.delete(DEPLOYMENT, f"{name}-blue")
    eventually(lambda: assert_no_deployment(objects, name))
    gone.set()
    eventually(lambda: assert_replaced(objects, name, old), within=SOON)


def assert_no_deployment(objects: Objects, name: str) -> None:
    assert f"{name}-blue" not in [found["metadata"]["name"] for found in objects.all(DEPLOYMENT)]


def test_a_service_that_went_while_nobody_heard_is_not_brought_back(
    objects: Objects, operator: Operator, proxy: FaultProxy, name: str
) -> None:
    """kopf tells of no deletion that it missed; the children's ends wake the operator for a service that is gone."""
    objects.serve(name)
    eventually(lambda: stable(objects, name))

    healed = threading.Event()

    async def never(request: web.Request) -> web.StreamResponse | None:
        if is_watch(request, "inferenceservices"):
            await asyncio.to_thread(healed.wait, 60)
        return None

    proxy.put(never)
    assert proxy.cut("inferenceservices") == 1
    objects.delete(INFERENCE_SERVICE, name)
    eventually(lambda: assert_no_children(objects, name))
    operator.settle()
    assert_no_children(objects, name)
    healed.set()


def assert_no_children(objects: Objects, name: str) -> None:
    selector = f"serving.penstock.dev/inferenceservice={name}"
    assert [*objects.all(DEPLOYMENT, selector), *objects.all(SERVICE, selector)] == []


@pytest.mark.parametrize(
    "fault",
    [to_writes(429, "TooManyRequests", retry_after=1), to_writes(500, "InternalError"), to_writes(503, "Unavailable")],
    ids=["429", "500", "503"],
)
def test_refused_writes_are_made_again(objects: Objects, proxy: FaultProxy, name: str, fault: Fault) -> None:
    proxy.put(first(8, fault))
    objects.serve(name, minReplicas=2, maxReplicas=3)
    eventually(lambda: stable(objects, name))


def test_reads_that_fail_are_made_again(objects: Objects, proxy: FaultProxy, name: str) -> None:
    async def broken(request: web.Request) -> web.StreamResponse | None:
        # kopf's own watch is another matter: see below.
        if request.method != "GET" or "inferenceservices" in request.path:
            return None
        return fault_proxy.status(500, "InternalError")

    proxy.put(first(6, broken))
    for kind in ("deployments", "services", "pods"):
        proxy.cut(kind)
    objects.serve(name)
    eventually(lambda: stable(objects, name))


def test_a_write_whose_answer_is_lost_is_not_made_twice(objects: Objects, proxy: FaultProxy, name: str) -> None:
    """The API server has done it; the operator only hears that the connection broke."""
    seen: Counter[str] = Counter()

    async def lost(request: web.Request) -> web.StreamResponse | None:
        if not is_write(request):
            return None
        seen[request.path] += 1
        if seen[request.path] > 1:
            return None
        await proxy.forward(request)
        assert request.transport
        request.transport.abort()
        return web.Response()

    proxy.put(lost)
    objects.serve(name, minReplicas=2, maxReplicas=3)
    eventually(lambda: stable(objects, name))
    names = [found["metadata"]["name"] for found in objects.all(DEPLOYMENT) if name in found["metadata"]["name"]]
    assert names == [f"{name}-blue"]
    assert objects.get(DEPLOYMENT, f"{name}-blue")["metadata"]["generation"] == 1


def test_a_slow_api_server_only_takes_longer(objects: Objects, proxy: FaultProxy, name: str) -> None:
    async def slow(request: web.Request) -> web.StreamResponse | None:
        if not is_watch(request) and "/leases" not in request.path:
            await asyncio.sleep(0.5)
        return None

    proxy.put(slow)
    objects.serve(name, minReplicas=2, maxReplicas=3)
    eventually(lambda: stable(objects, name))


def test_an_error_in_kopfs_watch_ends_the_process_and_the_next_one_goes_on(
    own_objects: Objects, own_installation: Installation, module_proxy: FaultProxy, tmp_path: Path, name: str
) -> None:
    installation = own_installation.through(module_proxy.url)
    operator = Operator(installation, tmp_path).start().wait_until_leading()
    own_objects.serve(name)
    eventually(lambda: stable(own_objects, name))
    # The module's own operator watches through the same proxy: only this namespace's watch is to fail.
    failed = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "message": "etcd is on fire"}
    module_proxy.say(f"namespaces/{own_objects.namespace}/inferenceservices", {"type": "ERROR", "object": failed})
    assert operator.wait(within=15) == 1
    assert "etcd is on fire" in operator.told()

    own_objects.edit(name, predictor=image("2"))
    again = Operator(installation, tmp_path).start().wait_until_leading(within=10)
    eventually(lambda: stable(own_objects, name))
    assert again.stop() == 0


def test_a_restarted_api_server_is_found_again(
    cluster: Cluster, own_objects: Objects, own_installation: Installation, tmp_path: Path, name: str
) -> None:
    operator = Operator(own_installation, tmp_path).start().wait_until_leading()
    own_objects.serve(name, rollout={"strategy": "RollingUpdate"})
    eventually(lambda: stable(own_objects, name))
    cluster.restart("apiserver")
    old = uid(own_objects, name)
    own_objects.edit(name, predictor=image("2"))
    own_objects.delete(DEPLOYMENT, f"{name}-blue")
    eventually(lambda: assert_replaced(own_objects, name, old), within=30)
    eventually(lambda: stable(own_objects, name))
    operator.end()
