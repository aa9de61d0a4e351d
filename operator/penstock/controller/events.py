"""Kubernetes Events: what a person sees under `kubectl describe`. Few, and never worth failing a pass for."""

from datetime import datetime
from typing import Protocol

import structlog

from penstock import errors, names
from penstock.api.meta import ObjectMeta
from penstock.kinds import EVENT, Manifest
from penstock.kube.api_server import Cluster
from penstock.names import Reason
from penstock.status.status import Transition

log = structlog.get_logger(__name__)

_LONGEST_NOTE = 1024  # The API's limit.


class Recorder(Protocol):
    async def record(self, service: ObjectMeta, transition: Transition, now: datetime) -> None: ...


class EventRecorder:
    """Writes events.k8s.io/v1 Events, one per transition."""

    def __init__(self, cluster: Cluster, *, instance: str) -> None:
        self._cluster = cluster
        self._instance = instance[:128]

    async def record(self, service: ObjectMeta, transition: Transition, now: datetime) -> None:
        log.info(
            "event", service=service.name, namespace=service.namespace, reason=transition.reason,
            message=transition.message,
        )  # fmt: skip
        about = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": service.name,
            "namespace": service.namespace,
            "uid": service.uid,
        }
        await self._create(_event(about, transition, now, action="Reconcile"))

    async def refused(self, pod: Manifest, message: str, now: datetime) -> None:
        """Say on the operator's own pod why it does not act."""
        transition = Transition(reason=Reason.SCOPE_CONFLICT, message=message, is_warning=True)
        await self._create(_event(pod, transition, now, action="Lead"))

    async def _create(self, event: Manifest) -> None:
        try:
            await self._cluster.create(EVENT, {**event, "reportingInstance": self._instance})
        except (errors.ApiError, errors.Unreachable) as error:
            log.warning("event not recorded", about=event["regarding"]["name"], error=str(error))


def _event(about: Manifest, transition: Transition, now: datetime, *, action: str) -> Manifest:
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.name,
        "metadata": {"generateName": f"{about['name']}-", "namespace": about["namespace"]},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": "Warning" if transition.is_warning else "Normal",
        "reason": transition.reason,
        "note": transition.message[:_LONGEST_NOTE],
        "action": action,
        "reportingController": names.GROUP,
        "regarding": about,
    }
