"""Two replicas over one store of objects, which refuses a stale write as the API server does."""

import asyncio
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from penstock import clock, errors
from penstock.adapter.certificate import SERVING_LIFE
from penstock.adapter.front_proxy import NotConfigured
from penstock.adapter.metrics import AdapterMetrics
from penstock.adapter.registration import Installation
from penstock.adapter.upkeep import Upkeep
from penstock.kinds import API_SERVICE, CLUSTER_ROLE, CONFIG_MAP, SECRET, Kind, Manifest

NAMES = ["v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"]
OWNER = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": "penstock", "uid": "u1"}
INSTALLATION = Installation("penstock-system", "penstock-metrics-adapter", "tls", "penstock")
FOREIGN = {
    "metadata": {"name": NAMES[0]},
    "spec": {
        "group": "custom.metrics.k8s.io",
        "version": "v1beta1",
        "insecureSkipTLSVerify": True,
        "service": {"namespace": "monitoring", "name": "prometheus-adapter"},
    },
}


class Objects:
    """The API server's part that upkeep uses. Each call lets the others run before it answers."""

    def __init__(self) -> None:
        self.live: dict[tuple[str, str], Manifest] = {}
        self._version = 0
        self.put(CLUSTER_ROLE, {"metadata": {"name": "penstock", "uid": "u1"}})
        self.writes: list[str] = []
        self.is_down, self.refused = False, 0

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        await asyncio.sleep(0)
        del namespace
        if self.is_down:
            self.refused += 1
            raise errors.Unreachable("it is down")
        return deepcopy(self.live.get((kind.name, name)))

    async def create(self, kind: Kind, manifest: Manifest) -> Manifest:
        await asyncio.sleep(0)
        key = kind.name, manifest["metadata"]["name"]
        if key in self.live:
            raise errors.Conflict(409, "AlreadyExists", "exists")
        return self.put(kind, manifest)

    async def replace(self, kind: Kind, manifest: Manifest) -> Manifest:
        await asyncio.sleep(0)
        live = self.live[kind.name, manifest["metadata"]["name"]]
        if live["metadata"]["resourceVersion"] != manifest["metadata"]["resourceVersion"]:
            raise errors.Conflict(409, "Conflict", "changed")
        return self.put(kind, manifest)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        del namespace
        assert self.live[kind.name, name]["metadata"]["uid"] == uid
        del self.live[kind.name, name]

    def put(self, kind: Kind, manifest: Manifest) -> Manifest:
        self._version += 1
        name = manifest["metadata"]["name"]
        if kind is not CLUSTER_ROLE:
            self.writes.append(f"{kind.name} {name}")
        new = deepcopy(manifest)
        new["metadata"]["resourceVersion"] = str(self._version)
        new["metadata"].setdefault("uid", f"u-{self._version}")
        self.live[kind.name, name] = new
        return deepcopy(new)

    def bundle(self, name: str) -> str:
        return str(self.live[API_SERVICE.name, name]["spec"]["caBundle"])


def upkeep(objects: Objects, *, later: timedelta = timedelta()) -> Upkeep:
    made: Any = objects
    return Upkeep(made, INSTALLATION, AdapterMetrics(), lambda: clock.now() + later)


async def test_a_first_start_makes_the_secret_and_both_registrations() -> None:
    objects = Objects()
    keeper = upkeep(objects)
    certificates = await keeper.certificates()
    await keeper.register(certificates.bundle)
    assert sorted(objects.writes) == [f"APIService {NAMES[0]}", f"APIService {NAMES[1]}", "Secret tls"]
    service = objects.live[API_SERVICE.name, NAMES[0]]
    assert service["metadata"]["ownerReferences"] == [OWNER]
    assert service["spec"]["service"] == {
        "namespace": "penstock-system",
        "name": "penstock-metrics-adapter",
        "port": 443,
    }


async def test_a_second_round_writes_nothing() -> None:
    objects = Objects()
    keeper = upkeep(objects)
    await keeper.register((await keeper.certificates()).bundle)
    objects.writes.clear()
    await keeper.register((await keeper.certificates()).bundle)
    assert objects.writes == []


async def test_replicas_that_start_together_end_with_the_same_certificates() -> None:
    objects = Objects()
    one, other = await asyncio.gather(*(upkeep(objects).certificates() for _ in range(2)))
    assert one == other
    assert objects.writes == ["Secret tls"]


async def test_replicas_that_renew_together_end_with_the_same_certificates() -> None:
    objects = Objects()
    old = await upkeep(objects).certificates()
    later = SERVING_LIFE * 0.8
    one, other = await asyncio.gather(*(upkeep(objects, later=later).certificates() for _ in range(2)))
    assert one == other != old
    assert objects.writes == ["Secret tls"] * 2


async def test_a_deleted_secret_is_written_back_as_it_was_because_the_api_server_trusts_it() -> None:
    objects = Objects()
    keeper = upkeep(objects)
    old = await keeper.certificates()
    del objects.live[SECRET.name, "tls"]
    assert await keeper.certificates() == old
    assert await upkeep(objects).certificates() == old


async def test_a_damaged_secret_is_mended_and_keeps_what_others_wrote_in_it() -> None:
    objects = Objects()
    await upkeep(objects).certificates()
    secret = objects.live[SECRET.name, "tls"]
    secret["metadata"]["labels"] = {"team": "a"}
    secret["data"]["tls.key"] = "bm9uc2Vuc2U="
    await upkeep(objects).certificates()
    assert objects.live[SECRET.name, "tls"]["metadata"]["labels"] == {"team": "a"}
    objects.writes.clear()
    await upkeep(objects).certificates()
    assert objects.writes == []


async def test_beside_somebody_else_s_registration_of_one_version_neither_is_ours() -> None:
    """Autoscalers would ask us for the other adapter's metrics, because ours is the newer version."""
    objects = Objects()
    objects.put(API_SERVICE, FOREIGN)
    objects.writes.clear()
    await upkeep(objects).register(b"bundle")
    assert objects.writes == []


async def test_a_registration_is_ours_by_where_it_routes_not_by_its_labels() -> None:
    objects = Objects()
    labels = {"app.kubernetes.io/managed-by": "penstock", "app.kubernetes.io/component": "metrics-adapter"}
    objects.put(API_SERVICE, {**FOREIGN, "metadata": {"name": NAMES[0], "labels": labels}})
    objects.writes.clear()
    await upkeep(objects).register(b"bundle")
    assert objects.writes == []


async def test_ours_are_withdrawn_when_somebody_else_takes_one_over() -> None:
    """Left alone, the newer of the two versions would take all questions away from the other adapter."""
    objects = Objects()
    keeper = upkeep(objects)
    await keeper.register(b"bundle")
    objects.put(API_SERVICE, FOREIGN)
    await keeper.register(b"bundle")
    assert [name for kind, name in objects.live if kind == API_SERVICE.name] == [NAMES[0]]


async def test_a_cluster_role_that_was_made_anew_owns_the_registration_again() -> None:
    objects = Objects()
    keeper = upkeep(objects)
    await keeper.register(b"bundle")
    objects.put(CLUSTER_ROLE, {"metadata": {"name": "penstock", "uid": "u2"}})
    await keeper.register(b"bundle")
    assert objects.live[API_SERVICE.name, NAMES[0]]["metadata"]["ownerReferences"] == [{**OWNER, "uid": "u2"}]


async def test_it_is_taken_when_the_other_adapter_is_gone() -> None:
    objects = Objects()
    objects.put(API_SERVICE, FOREIGN)
    keeper = upkeep(objects)
    await keeper.register(b"bundle")
    del objects.live[API_SERVICE.name, NAMES[0]]
    await keeper.register(b"bundle")
    assert sorted(name for kind, name in objects.live if kind == API_SERVICE.name) == NAMES


async def test_a_bundle_that_somebody_has_changed_is_put_right() -> None:
    objects = Objects()
    keeper = upkeep(objects)
    await keeper.register(b"bundle")
    right = objects.bundle(NAMES[0])
    live = objects.live[API_SERVICE.name, NAMES[0]]
    live["spec"]["caBundle"] = "d3Jvbmc="
    live["metadata"]["annotations"] = {"theirs": "kept"}
    await keeper.register(b"bundle")
    assert objects.bundle(NAMES[0]) == right
    assert objects.live[API_SERVICE.name, NAMES[0]]["metadata"]["annotations"] == {"theirs": "kept"}


async def test_a_cluster_without_an_aggregation_layer_is_an_error_that_says_so() -> None:
    objects = Objects()
    with pytest.raises(NotConfigured, match="requestheader-client-ca-file"):
        await upkeep(objects).front_proxy()
    objects.put(CONFIG_MAP, {"metadata": {"name": "extension-apiserver-authentication"}, "data": {}})
    with pytest.raises(NotConfigured, match="requestheader-client-ca-file"):
        await upkeep(objects).front_proxy()
