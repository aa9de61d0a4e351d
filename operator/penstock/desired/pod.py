"""The pod template of a revision, the same in either slot; the Deployment adds the slot's label."""

from typing import Any, Final

from penstock import names
from penstock.api.predictor import Predictor
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import container, gpu, metadata, storage
from penstock.kinds import Manifest

_SERVER_UID: Final = 10001
_ANY_SERVER: Final = {"seccompProfile": {"type": "RuntimeDefault"}}
_OUR_SERVER: Final = {
    **_ANY_SERVER,
    "runAsNonRoot": True,
    "runAsUser": _SERVER_UID,
    "runAsGroup": _SERVER_UID,
    "fsGroup": _SERVER_UID,
    # A claim with a million files would be relabelled at every start otherwise.
    "fsGroupChangePolicy": "OnRootMismatch",
}
_ITS_USER: Final = frozenset({"runAsUser", "runAsGroup", "fsGroup"})


def template(service: InferenceService, revision: str, *, server_image: str, has_fixed_user: bool = True) -> Manifest:
    """The pod template that the spec asks for, rendered by this version of the operator."""
    predictor = service.spec.predictor
    serving = _serving_container(service, server_image)
    # Identity wins over the user's labels: the selectors rest on it.
    labels = {**predictor.labels, **metadata.labels(service.metadata.name), names.LABEL_REVISION: revision}
    # `kubectl logs` goes by it too. A webhook may put a container of its own before ours.
    annotations = {**predictor.annotations, names.ANNOTATION_DEFAULT_CONTAINER: serving["name"]}
    spec = _spec(service, serving, has_fixed_user=has_fixed_user)
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": spec}


def _serving_container(service: InferenceService, server_image: str) -> dict[str, Any]:
    predictor = service.spec.predictor
    if predictor.model is not None:
        return container.model_server(service, predictor.model, server_image=server_image)
    if not predictor.containers:
        raise ValueError("spec.predictor: one of model and containers is required")
    return container.foreign(predictor, predictor.containers[0])


def _spec(service: InferenceService, serving: dict[str, Any], *, has_fixed_user: bool) -> dict[str, Any]:
    predictor = service.spec.predictor
    model = predictor.model
    spec = {
        "containers": [serving],
        "volumes": metadata.merged(storage.volumes(model.storage_uri) if model else [], predictor.volumes, key="name"),
        "securityContext": _security_context(predictor, has_fixed_user=has_fixed_user),
        "tolerations": gpu.tolerations(gpu.requested(serving), predictor.tolerations),
        "terminationGracePeriodSeconds": container.grace_seconds(predictor),
        # Variables of every Service of the namespace would be noise, and now and then an error, in a model server.
        "enableServiceLinks": False,
        "automountServiceAccountToken": predictor.service_account_name is not None,
        "nodeSelector": predictor.node_selector,
        "affinity": predictor.affinity,
        "topologySpreadConstraints": predictor.topology_spread_constraints,
        "serviceAccountName": predictor.service_account_name,
        "imagePullSecrets": predictor.image_pull_secrets,
        "priorityClassName": predictor.priority_class_name,
        "runtimeClassName": predictor.runtime_class_name,
        "schedulerName": predictor.scheduler_name,
    }
    return {key: value for key, value in spec.items() if value not in (None, {}, [])}


def _security_context(predictor: Predictor, *, has_fixed_user: bool) -> dict[str, Any]:
    """The user's settings over ours, key by key; one that the user sets to null is left to the cluster."""
    ours = _ANY_SERVER if predictor.model is None else _OUR_SERVER
    kept = {key: value for key, value in ours.items() if has_fixed_user or key not in _ITS_USER}
    merged = {**kept, **(predictor.security_context or {})}
    return {key: value for key, value in merged.items() if value is not None}
