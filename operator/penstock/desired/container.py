"""The serving container: our model server, or the one the user brings."""

import math
from typing import Any, Final

from penstock import names
from penstock.api.model import ModelSpec
from penstock.api.predictor import Predictor
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import gpu, metadata, storage

# Seconds that a pod goes on accepting after SIGTERM, while the endpoints of its Service are updated everywhere.
_DRAIN_DELAY_SECONDS: Final = 10
# What our server may need after its last request: connections that do not close, and a step that does not end.
_EXIT_SECONDS: Final = 20
_STARTUP_PERIOD_SECONDS: Final = 2
# A model may load for longer than the rollout's deadline, which counts from its last progress and may be raised for
# pods that are there already. One that hangs outside of a rollout is restarted after this.
_LONGEST_START_SECONDS: Final = 4 * 60 * 60
_LOCKED_DOWN: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def model_server(service: InferenceService, model: ModelSpec, *, server_image: str) -> dict[str, Any]:
    """Our own server: hardened, probed on its three health routes, told everything by arguments."""
    predictor = service.spec.predictor
    container = {
        "name": names.CONTAINER,
        "image": model.image or server_image,
        "args": [*_arguments(service, model), *model.args],
        "ports": [{"name": names.PORT, "containerPort": names.CONTAINER_PORT, "protocol": "TCP"}],
        "resources": gpu.resources(model.resources.to_dict()),
        "volumeMounts": metadata.merged(storage.mounts(model.storage_uri), predictor.volume_mounts, key="mountPath"),
        "securityContext": _LOCKED_DOWN,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **_probes(service.spec.rollout.progress_deadline_seconds),
    }
    container["env"] = _environment(model, on_gpu=bool(gpu.requested(container)))
    env_from = _env_from(model)
    return {**container, "envFrom": env_from} if env_from else container


def foreign(predictor: Predictor, container: dict[str, Any]) -> dict[str, Any]:
    """The user's server as given, with what serving needs filled in where it is silent."""
    port, delay = target_port(container), drain_delay_seconds(predictor)
    defaults: dict[str, Any] = {
        "name": names.CONTAINER,
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 2},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    # A foreign server seldom drains by itself: it stays up until no endpoint points to it any more.
    stay_up = {"preStop": {"sleep": {"seconds": delay}}} if delay else {}
    merged = {**defaults, **container, "ports": _named_ports(container)}
    merged["lifecycle"] = {**stay_up, **container.get("lifecycle", {})}
    merged["securityContext"] = {"allowPrivilegeEscalation": False, **container.get("securityContext", {})}
    merged["resources"] = gpu.resources(container.get("resources") or {})
    merged["volumeMounts"] = metadata.merged(
        container.get("volumeMounts", []), predictor.volume_mounts, key="mountPath"
    )
    return {key: value for key, value in merged.items() if value not in ({}, [])}


def target_port(container: dict[str, Any]) -> str:
    """Where requests go: the port named http, else the first, else 8080; by name, which each pod resolves for itself.

    A number would send requests for old pods to the new pods' port while an update changes it.
    """
    ports = container.get("ports") or []
    if not ports or any(port.get("name") == names.PORT for port in ports):
        return names.PORT
    return str(ports[0].get("name") or names.PORT)


def port_number(container: dict[str, Any]) -> int:
    """The same as a number: where one pod is asked directly."""
    ports = container.get("ports") or []
    named = [port for port in ports if port.get("name") == names.PORT]
    found: int = (named or ports or [{"containerPort": names.CONTAINER_PORT}])[0]["containerPort"]
    return found


def grace_seconds(predictor: Predictor) -> int:
    """Time to drain: the delay, the longest request, and the server's own exit."""
    if predictor.termination_grace_period_seconds is not None:
        return predictor.termination_grace_period_seconds
    return _DRAIN_DELAY_SECONDS + predictor.timeout + _EXIT_SECONDS


def drain_delay_seconds(predictor: Predictor) -> int:
    """How long a pod goes on accepting: no more than half of a short grace period, for the rest is to finish in.

    The API server refuses a preStop sleep that is longer than the grace period.
    """
    return min(_DRAIN_DELAY_SECONDS, grace_seconds(predictor) // 2)


def _named_ports(container: dict[str, Any]) -> list[dict[str, Any]]:
    ports = container.get("ports") or [{"containerPort": names.CONTAINER_PORT}]
    if target_port(container) != names.PORT or any(port.get("name") == names.PORT for port in ports):
        return [{"protocol": "TCP", **port} for port in ports]
    first, *rest = ports
    return [{"protocol": "TCP", **port} for port in ({"name": names.PORT, **first}, *rest)]


def _arguments(service: InferenceService, model: ModelSpec) -> list[str]:
    predictor = service.spec.predictor
    given = {
        "model": storage.location(model.storage_uri),
        "model-name": service.served_model_name,
        "task": model.task,
        "dtype": model.dtype,
        "port": names.CONTAINER_PORT,
        "container-concurrency": predictor.container_concurrency,
        "timeout": predictor.timeout,
        "drain-delay": drain_delay_seconds(predictor),
        "drain-timeout": predictor.timeout,
    }
    return [f"--{name}={value}" for name, value in given.items()]


def _environment(model: ModelSpec, *, on_gpu: bool) -> list[dict[str, Any]]:
    ours = {"PENSTOCK_CACHE_DIR": names.CACHE_DIR, **({"PENSTOCK_GPU_REQUESTED": "1"} if on_gpu else {})}
    return metadata.merged([{"name": name, "value": value} for name, value in ours.items()], model.env, key="name")


def _env_from(model: ModelSpec) -> list[dict[str, Any]]:
    secret = [{"secretRef": {"name": model.storage.secret_name}}] if model.storage else []
    return [*secret, *model.env_from]


def _probes(progress_deadline_seconds: int) -> dict[str, Any]:
    def probe(path: str, **timing: int) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": names.PORT}, **timing}

    # The kubelet must not kill a model that is still loading before the rollout's own deadline gives it up.
    longest = max(progress_deadline_seconds, _LONGEST_START_SECONDS)
    attempts = math.ceil(longest / _STARTUP_PERIOD_SECONDS) + 1
    return {
        "startupProbe": probe(
            "/startupz", periodSeconds=_STARTUP_PERIOD_SECONDS, timeoutSeconds=5, failureThreshold=attempts
        ),
        "readinessProbe": probe("/readyz", periodSeconds=2, timeoutSeconds=5, failureThreshold=2),
        "livenessProbe": probe("/livez", periodSeconds=10, timeoutSeconds=10, failureThreshold=6),
    }
