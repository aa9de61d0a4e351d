"""The API server as the commands see it: one service's objects, and every failure as one sentence for a person."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

from penstock import errors, names
from penstock.cli import kubeconfig, objects
from penstock.cli.connection import Connection
from penstock.cli.objects import Service, SlotPods
from penstock.kinds import (
    CONTROLLER_REVISION,
    DEPLOYMENT,
    INFERENCE_SERVICE,
    VERTICAL_AUTOSCALER,
    Kind,
    Manifest,
)
from penstock.names import Slot

# What a user wrote is told apart from what the operator did.
_FIELD_MANAGER: Final = f"{names.PRODUCT}-cli"
_MERGE: Final = "application/merge-patch+json"


class Failure(Exception):
    """The command cannot do what it was asked to; the message says why in one line."""


class Client:
    """The objects of one namespace."""

    def __init__(self, config: str | None, context: str | None, namespace: str | None) -> None:
        """Raises kubeconfig.Unusable."""
        self._config, self._context = config, context
        self._is_accepted = False  # whether the API server has taken these credentials
        self._connect()
        self.namespace = namespace or self._access.namespace

    @property
    def server(self) -> str:
        return self._access.server

    def close(self) -> None:
        self._connection.close()

    def service(self, name: str) -> Service:
        try:
            return objects.service(self._call("GET", INFERENCE_SERVICE, name))
        except errors.NotFound as error:
            self._check_installed()
            raise Failure(f"there is no InferenceService {name} in namespace {self.namespace}") from error
        except objects.Unreadable as error:
            raise Failure(f"this version of penstock cannot read {name}: {error}") from error

    def annotate(self, name: str, annotation: str, value: str) -> None:
        patch = {"metadata": {"annotations": {annotation: value}}}
        query = {"fieldManager": _FIELD_MANAGER}
        self._call("PATCH", INFERENCE_SERVICE, name, query=query, body=patch, content_type=_MERGE)

    def slots(self, name: str) -> Mapping[Slot, SlotPods]:
        """What runs in each slot that has a Deployment, blue first."""
        found = {each["metadata"]["labels"].get(names.LABEL_SLOT): each for each in self._children(DEPLOYMENT, name)}
        return {slot: objects.slot_pods(found[slot]) for slot in Slot if slot in found}

    def revisions(self, name: str) -> list[Manifest]:
        """The service's ControllerRevisions."""
        return self._children(CONTROLLER_REVISION, name)

    def vertical_autoscaler(self, name: str) -> Manifest | None:
        """None where there is none, or where the user may not read it."""
        try:
            return self._call("GET", VERTICAL_AUTOSCALER, name)
        except (errors.NotFound, errors.Rejected):
            return None

    def _children(self, kind: Kind, name: str) -> list[Manifest]:
        items: list[Manifest] = self._call("GET", kind, query={"labelSelector": f"{names.LABEL_SERVICE}={name}"})[
            "items"
        ]
        return items

    def _check_installed(self) -> None:
        """A kind that is not there answers like an object that is not there."""
        try:
            self._call("GET", INFERENCE_SERVICE, query={"limit": "1"})
        except errors.NotFound as error:
            raise Failure("this cluster has no InferenceServices: install the CRD (helm chart, or crds/)") from error
        except errors.Rejected:
            return  # No right to list: then we cannot know, and the object's absence is all there is to tell.

    def _call(self, method: str, kind: Kind, name: str | None = None, **rest: Any) -> Manifest:
        path = kind.path(quote(self.namespace, safe=""), quote(name or "", safe=""))
        try:
            found = self._connection.call(method, path, **rest)
        except errors.ApiError as error:
            if error.status != 401 or not self._is_accepted:
                raise
            # They were good before: a token or certificate has run out, and the kubeconfig may have a new one.
            self._connection.close()
            self._connect()
            found = self._connection.call(method, path, **rest)
        self._is_accepted = True
        return found

    def _connect(self) -> None:
        self._access = kubeconfig.load(self._config, self._context)
        self._connection = Connection(self._access)
        self._is_accepted = False


@contextmanager
def connect(config: str | None, context: str | None, namespace: str | None) -> Iterator[Client]:
    """A client as the kubeconfig says, as the pod's ServiceAccount where there is none. Raises Failure."""
    try:
        client = Client(config, context, namespace)
    except kubeconfig.Unusable as error:
        raise Failure(_line(error)) from error
    try:
        yield client
    except errors.Unreachable as error:
        raise Failure(f"the cluster at {client.server} does not answer: {_line(error.__cause__)}") from error
    except errors.ApiError as error:
        raise Failure(_refusal(error)) from error
    except kubeconfig.Unusable as error:
        raise Failure(_line(error)) from error
    finally:
        client.close()


def _refusal(error: errors.ApiError) -> str:
    if error.status == 401:
        return "the cluster does not accept the kubeconfig's credentials (401 Unauthorized)"
    message = _line(error.message) or error.reason
    return f"no right to do this: {message}" if error.status == 403 else f"the cluster refused: {message}"


def _line(error: object) -> str:
    return " ".join((str(error) or repr(error)).split())
