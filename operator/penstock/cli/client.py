"""The API server as the commands see it: one service's objects, and every failure as one sentence for a person."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import yaml
from kubernetes.aio import client, config
from pydantic import ValidationError

from penstock import errors, names
from penstock.api import v1alpha1
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import metadata
from penstock.kinds import CONTROLLER_REVISION, DEPLOYMENT, INFERENCE_SERVICE, Kind, Manifest
from penstock.kube import api_server
from penstock.kube.throttle import TokenBucket
from penstock.metrics import Metrics, Snapshot
from penstock.names import Slot
from penstock.observed import parse
from penstock.observed.values import SeenDeployment

# What a user wrote is told apart from what the operator did.
_FIELD_MANAGER: Final = f"{names.PRODUCT}-cli"
_DEFAULT_NAMESPACE: Final = "default"


class Failure(Exception):
    """The command cannot do what it was asked to; the message says why in one line."""


class Client:
    """The objects of one namespace."""

    def __init__(self, server: api_server.ApiServer, namespace: str) -> None:
        self._server = server
        self.namespace = namespace

    async def service(self, name: str) -> InferenceService:
        found = await self._server.get(INFERENCE_SERVICE, self.namespace, name)
        if found is None:
            await self._check_installed()
            raise Failure(f"there is no InferenceService {name} in namespace {self.namespace}")
        try:
            return v1alpha1.parse(found)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise Failure(f"this version of penstock cannot read {name}: {where}: {first['msg']}") from error

    async def annotate(self, name: str, annotation: str, value: str) -> None:
        patch = {"metadata": {"annotations": {annotation: value}}}
        await self._server.merge(INFERENCE_SERVICE, self.namespace, name, patch, manager=_FIELD_MANAGER)

    async def deployments(self, name: str) -> dict[Slot, SeenDeployment]:
        found = await self._children(DEPLOYMENT, name)
        labelled = {each["metadata"]["labels"].get(names.LABEL_SLOT): each for each in found}
        return {slot: parse.deployment(labelled[slot]) for slot in Slot if slot in labelled}

    async def revisions(self, name: str) -> list[Manifest]:
        """The service's ControllerRevisions."""
        return await self._children(CONTROLLER_REVISION, name)

    async def _children(self, kind: Kind, name: str) -> list[Manifest]:
        pages = self._server.pages(kind, self.namespace, selector=f"{names.LABEL_SERVICE}={name}")
        found = [item async for page in pages for item in page["items"]]
        return [item for item in found if metadata.is_owned_by(item, name)]

    async def _check_installed(self) -> None:
        """A kind that is not there answers like an object that is not there."""
        try:
            await anext(self._server.pages(INFERENCE_SERVICE, self.namespace, metadata_only=True))
        except errors.NotFound as error:
            raise Failure("this cluster has no InferenceServices: install the CRD (helm chart, or crds/)") from error
        except errors.Rejected:
            return  # No right to list: then we cannot know, and the object's absence is all there is to tell.


@asynccontextmanager
async def connect(kubeconfig: str | None, context: str | None, namespace: str | None) -> AsyncIterator[Client]:
    """A connection as the kubeconfig says, as the pod's ServiceAccount where there is none. Raises Failure."""
    configuration, default = await _credentials(kubeconfig, context)
    # aiohttp would read ~/.netrc in a thread before every single request.
    configuration.client_session_kwargs = {"trust_env": False}
    try:
        async with client.ApiClient(configuration) as api:
            yield Client(api_server.ApiServer(api, _no_metrics(), TokenBucket(10, 10)), namespace or default)
    except errors.Unreachable as error:
        raise Failure(f"the cluster at {configuration.host} does not answer: {_line(error.__cause__)}") from error
    except errors.ApiError as error:
        raise Failure(_refusal(error)) from error


async def _credentials(kubeconfig: str | None, context: str | None) -> tuple[client.Configuration, str]:
    """How to reach the cluster, and the namespace that is meant where none is named."""
    configuration = client.Configuration()
    paths = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    there = _existing(paths)
    if not there and (kubeconfig or context):
        raise Failure(f"there is no kubeconfig at {paths}")
    try:
        if there:
            return configuration, await _load(configuration, there, context)
        # The client has no types.
        config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        raise Failure(_line(error) if there else f"there is no kubeconfig at {paths}, and this is no pod") from error
    # What is no kubeconfig at all fails anywhere in the loader.
    except (yaml.YAMLError, OSError, TypeError, ValueError, AttributeError) as error:
        raise Failure(f"the kubeconfig at {there} cannot be used: {_line(error)}") from error
    return configuration, _DEFAULT_NAMESPACE


def _existing(paths: str) -> str:
    """Those of the paths where there is a file; the loader would log the others."""
    return os.pathsep.join(path for path in paths.split(os.pathsep) if Path(path).expanduser().is_file())


async def _load(configuration: client.Configuration, kubeconfig: str, context: str | None) -> str:
    """Fill in the configuration; return the context's namespace."""
    # The client has no types.
    loader = await config.load_kube_config(  # type: ignore[no-untyped-call]
        config_file=kubeconfig, context=context, client_configuration=configuration
    )
    return str(loader.current_context["context"].get("namespace") or _DEFAULT_NAMESPACE)


def _refusal(error: errors.ApiError) -> str:
    if error.status == 401:
        return "the cluster does not accept the kubeconfig's credentials (401 Unauthorized)"
    told = _line(error.message) or error.reason
    return f"no right to do this: {told}" if error.status == 403 else f"the cluster refused: {told}"


def _line(error: object) -> str:
    return " ".join((str(error) or repr(error)).split())


def _no_metrics() -> Metrics:
    """Nobody scrapes a command."""
    return Metrics(lambda: Snapshot(is_leader=False, queue_depth=0, services_by_phase={}, objects_by_kind={}))
