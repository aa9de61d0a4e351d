"""Keeps the adapter's certificates, what it knows of the aggregation layer, and its registration up to date.

Both replicas do this, without a lease: every write is a create or carries the resourceVersion that it rests on, and a
second writer's Conflict only means that the first has done it.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

import structlog

from penstock import errors
from penstock.adapter import certificate, registration
from penstock.adapter.answers import VERSIONS
from penstock.adapter.certificate import Certificates
from penstock.adapter.front_proxy import CONFIG_NAME, CONFIG_NAMESPACE, FrontProxy
from penstock.adapter.metrics import AdapterMetrics
from penstock.adapter.registration import Installation
from penstock.kinds import API_SERVICE, CLUSTER_ROLE, CONFIG_MAP, SECRET, Manifest
from penstock.kube.api_server import ApiServer

log = structlog.get_logger(__name__)

_ATTEMPTS: Final = 5


class Upkeep:
    """What the API server holds for the adapter."""

    def __init__(
        self,
        server: ApiServer,
        installation: Installation,
        metrics: AdapterMetrics,
        now: Callable[[], datetime],
    ) -> None:
        self._server = server
        self._installation = installation
        self._metrics = metrics
        self._now = now
        self._known: Certificates | None = None
        self._foreign = ""  # the APIService of somebody else that was last seen

    async def certificates(self) -> Certificates:
        """Those of the Secret, renewed and written there if that is due. Raises errors.ApiError, errors.Unreachable."""
        for _ in range(_ATTEMPTS):
            live = await self._server.get(SECRET, self._installation.namespace, self._installation.secret)
            stored = Certificates.of_secret(live.get("data") or {}) if live else None
            # One that somebody has deleted is written back: the API server trusts it still.
            new = certificate.renewed(stored or self._known, self._installation.host, self._now())
            try:
                if new != stored:
                    await self._write(live, new)
                    log.info("certificates renewed", secret=self._installation.secret, expires=new.expires.isoformat())
            except errors.Conflict:
                continue  # Another replica was faster: its certificates are the ones.
            self._known = new
            self._metrics.certificate_expires(new.expires.timestamp())
            return new
        raise errors.Unreachable(f"the Secret {self._installation.secret} changes all the time")

    async def front_proxy(self) -> FrontProxy:
        """Raises NotConfigured, errors.ApiError, errors.Unreachable."""
        found = await self._server.get(CONFIG_MAP, CONFIG_NAMESPACE, CONFIG_NAME)
        return FrontProxy.of_config_map((found or {}).get("data") or {})

    async def register(self, ca_bundle: bytes) -> None:
        """Route the API group to us, unless somebody else serves it. Raises errors.ApiError, errors.Unreachable."""
        owners = await self._owners()
        wanted = {
            version: registration.api_service(version, self._installation, ca_bundle, owners) for version in VERSIONS
        }
        live = {
            version: await self._server.get(API_SERVICE, "", each["metadata"]["name"])
            for version, each in wanted.items()
        }
        foreign = [each for each in live.values() if each and not registration.is_ours(each, self._installation)]
        self._note(foreign[0] if foreign else None)
        if foreign:
            await self._withdraw([each for each in live.values() if each and each not in foreign])
            return
        for version in VERSIONS:
            # On a Conflict another replica, or another adapter, was faster; the next round looks again.
            with suppress(errors.Conflict):
                await self._put(live[version], wanted[version])

    async def _owners(self) -> list[Manifest]:
        name = self._installation.owner_name
        role = await self._server.get(CLUSTER_ROLE, "", name) if name else None
        return [registration.owner(role)] if role else []

    async def _withdraw(self, ours: list[Manifest]) -> None:
        """Of two adapters with a version each, every autoscaler would ask the one with the newer version."""
        for each in ours:
            metadata = each["metadata"]
            await self._server.delete(API_SERVICE, "", metadata["name"], uid=metadata["uid"])
            log.info("registration withdrawn", api_service=metadata["name"])

    async def _put(self, live: Manifest | None, wanted: Manifest) -> None:
        if live is None:
            await self._server.create(API_SERVICE, wanted)
            log.info("registered", api_service=wanted["metadata"]["name"])
            return
        new = registration.changed(live, wanted)
        if new is not None:
            await self._server.replace(API_SERVICE, new)
            log.info("registration updated", api_service=wanted["metadata"]["name"])

    def _note(self, foreign: Manifest | None) -> None:
        self._metrics.registered(is_ours=foreign is None)
        name = foreign["metadata"]["name"] if foreign else ""
        if foreign and self._foreign != name:
            log.warning(
                "another adapter serves custom metrics and is left alone; give it the rules of manifests/monitoring, "
                "or delete its APIServices to use this one",
                api_service=name,
                service=foreign["spec"].get("service"),
            )
        self._foreign = name

    async def _write(self, live: Manifest | None, new: Certificates) -> None:
        data = new.secret_data()
        if live is not None:
            await self._server.replace(SECRET, {**live, "data": {**(live.get("data") or {}), **data}})
            return
        metadata = {"name": self._installation.secret, "namespace": self._installation.namespace}
        await self._server.create(
            SECRET, {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data}
        )
