"""The port of the metrics API, with the certificates and the aggregation layer's authority of the moment."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final

import structlog
from aiohttp import web

from penstock import errors
from penstock.adapter import tls
from penstock.adapter.certificate import Certificates
from penstock.adapter.front_proxy import FrontProxy, NotConfigured
from penstock.adapter.upkeep import Upkeep

log = structlog.get_logger(__name__)

_UPKEEP_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 5.0
_SHUTDOWN_SECONDS: Final = 5.0


class Port:
    """Opens once the cluster has told who may ask; `missing` says what is waited for until then."""

    def __init__(
        self,
        number: int,
        upkeep: Upkeep,
        *,
        can_answer: Callable[[], bool] = lambda: True,
        pause: float = _UPKEEP_SECONDS,
    ) -> None:
        self._number = number
        self._upkeep = upkeep
        self._can_answer = can_answer
        self._pause = pause
        self._certificates: Certificates | None = None
        self._front_proxy: FrontProxy | None = None
        self._context: ssl.SSLContext | None = None
        self._site: web.TCPSite | None = None
        self.missing = "the certificates have not been read yet"

    @property
    def front_proxy(self) -> FrontProxy:
        assert self._front_proxy is not None  # The port is not open before.
        return self._front_proxy

    async def run(self, app: web.Application) -> None:
        """Serve until cancelled. What goes wrong meanwhile is tried again; what is served goes on."""
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            while True:
                is_done = False
                try:
                    is_done = await self._refresh(runner)
                except (errors.ApiError, errors.Unreachable, NotConfigured, ssl.SSLError, ValueError) as error:
                    log.warning("upkeep failed", error=str(error))
                    self.missing = str(error) if self._site is None else ""
                await asyncio.sleep(self._pause if is_done else min(_RETRY_SECONDS, self._pause))
        finally:
            await runner.cleanup()

    async def _refresh(self, runner: web.AppRunner) -> bool:
        """Bring everything up to date; False if it is too early to register."""
        certificates, front_proxy = await self._upkeep.certificates(), await self._upkeep.front_proxy()
        if self._context is None or self._front_proxy is None or front_proxy.client_ca != self._front_proxy.client_ca:
            await self._open(runner, tls.context(certificates, front_proxy.client_ca))
        elif certificates != self._certificates:
            tls.load(self._context, certificates)
        self._certificates, self._front_proxy, self.missing = certificates, front_proxy, ""
        # An API that is registered and not answered holds up discovery, and with it the deletion of namespaces.
        if not self._can_answer():
            return False
        await self._upkeep.register(certificates.bundle)
        return True

    async def _open(self, runner: web.AppRunner, context: ssl.SSLContext) -> None:
        """Listen with that context; only then with the one before no longer, so that nobody is refused meanwhile."""
        site = web.TCPSite(runner, port=self._number, ssl_context=context, reuse_port=True)
        await site.start()
        old, self._site, self._context = self._site, site, context
        if old is not None:
            await old.stop()
