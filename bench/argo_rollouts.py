"""The same rollouts by Argo Rollouts, for comparison (https://argo-rollouts.readthedocs.io, Apache 2.0).

Its controller is built from the module that `tools/argo-rollouts` pins, and runs as one process with as many workers as
ours and its client's limits raised to those of the controller manager. It rolls as many Rollouts of the same pods.
"""

import copy
import json
import time
from pathlib import Path
from typing import Any, Final

from penstock.kinds import AUTOSCALER, DEPLOYMENT, SERVICE, Kind, Manifest

from bench import workload
from bench.phases import Bench, at_once, measured, own_namespace, running, settle
from bench.process import Process, credentials
from bench.timing import spread
from bench.view import View
from tests.harness import crds, go_modules, ports, tools
from tests.harness.cluster import Cluster

ROLLOUT: Final = Kind("Rollout", "argoproj.io/v1alpha1", "rollouts")
REPLICA_SET: Final = Kind("ReplicaSet", "apps/v1", "replicasets")
_ACCOUNT: Final = "argo-rollouts"
_TOOL: Final = tools.TOOLS["argo-rollouts"]
_HASH: Final = "rollouts-pod-template-hash"  # the label of a ReplicaSet's pods


class Controller(Process):
    """Argo's controller, with all rights: only its work is compared."""

    client = _ACCOUNT

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster.state / "logs" / "argo-rollouts.log")
        self._program = tools.ensure(_TOOL.name)["rollouts-controller"]
        self._kubeconfig = _install(cluster)
        self._health_port = ports.free(1)[0]

    def command(self) -> list[str]:
        limits = ["--qps=500", "--burst=1000", "--rollout-threads=32"]
        listening = [f"--metricsport={self._port}", f"--healthzPort={self._health_port}"]
        return [str(self._program), f"--kubeconfig={self._kubeconfig}", "--leader-elect=false", *limits, *listening]


def _install(cluster: Cluster) -> Path:
    """Its definitions and an account for it; the account's kubeconfig."""
    for path in sorted(go_modules.folder(_TOOL, tools.ARGO_ROLLOUTS, "manifests/crds").glob("*-crd.yaml")):
        cluster.kubectl("apply", "--server-side", "--filename", str(path))
    crds.wait_until_established(cluster, f"customresourcedefinition/{ROLLOUT.plural}.argoproj.io")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": _ACCOUNT, "namespace": "default"}}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": _ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": _ACCOUNT, "namespace": "default"}],
    }
    applied = json.dumps({"apiVersion": "v1", "kind": "List", "items": [account, binding]})
    cluster.kubectl("apply", "--filename", "-", input=applied)
    return credentials(cluster, _ACCOUNT, "default", cluster.state / "argo-rollouts.kubeconfig")


async def measure(bench: Bench, *, hold_seconds: int) -> dict[str, Any]:
    """All services rolled, and the old pods taken away after the hold."""
    controller = Controller(bench.cluster)
    async with (
        own_namespace(bench, f"rollouts-{bench.services}-argo") as namespace,
        running(controller),
        View.of(bench.server, ROLLOUT, namespace) as rollouts,
    ):
        for kind in (SERVICE, AUTOSCALER, ROLLOUT):
            objects = [_manifests(name, namespace, hold_seconds)[kind.name] for name in bench.names()]
            await at_once(bench.server.create(kind, obj) for obj in objects)
        await rollouts.until_all(bench.services, _is_healthy)
        await settle(controller)
        switches, before = _Switches(), controller.cpu_seconds()
        async with (
            View.of(bench.server, REPLICA_SET, namespace, switches.replica_set) as sets,
            View.of(bench.server, SERVICE, namespace, switches.service),
            measured(bench, "rolled by Argo Rollouts", controller) as found,
        ):
            await at_once(_release(bench, name, namespace) for name in bench.names())
            await sets.until_all(bench.services, _is_new_and_available)
            await sets.until_all(bench.services, _is_old_and_empty)
        found["pods available to selector"] = spread(switches.seconds())
        found["settled after s"] = await settle(controller)
        found["operator CPU s until settled"] = round(controller.cpu_seconds() - before, 2)
    return found


def _manifests(name: str, namespace: str, hold_seconds: int, *, value: str | None = None) -> dict[str, Manifest]:
    """What the baseline creates, with a Rollout in the Deployment's place; by kind."""
    found = {obj["kind"]: copy.deepcopy(obj) for obj in workload.without_operator(name, namespace, value=value)}
    deployment = found.pop(DEPLOYMENT.name)
    spec = {key: deployment["spec"][key] for key in ("replicas", "selector", "template", "revisionHistoryLimit")}
    strategy = {"activeService": name, "autoPromotionEnabled": True, "scaleDownDelaySeconds": hold_seconds}
    metadata = {key: deployment["metadata"][key] for key in ("name", "namespace", "labels")}
    found[ROLLOUT.name] = {
        "apiVersion": ROLLOUT.api_version,
        "kind": ROLLOUT.name,
        "metadata": metadata,
        "spec": {**spec, "strategy": {"blueGreen": strategy}},
    }
    target = {"apiVersion": ROLLOUT.api_version, "kind": ROLLOUT.name, "name": metadata["name"]}
    found[AUTOSCALER.name]["spec"]["scaleTargetRef"] = target
    return found


async def _release(bench: Bench, name: str, namespace: str) -> None:
    rollout = _manifests(name, namespace, 0, value="2")[ROLLOUT.name]
    patch = {"spec": {"template": rollout["spec"]["template"]}}
    await bench.server.merge(ROLLOUT, namespace, rollout["metadata"]["name"], patch, manager="bench")


def _is_healthy(rollout: Manifest) -> bool:
    return bool(rollout.get("status", {}).get("phase") == "Healthy")


def _is_new(replica_set: Manifest) -> bool:
    container = replica_set["spec"]["template"]["spec"]["containers"][0]
    return {"name": workload.RELEASE, "value": "2"} in container.get("env", [])


def _is_new_and_available(replica_set: Manifest) -> bool:
    return _is_new(replica_set) and replica_set.get("status", {}).get("availableReplicas", 0) >= 1


def _is_old_and_empty(replica_set: Manifest) -> bool:
    return not _is_new(replica_set) and replica_set["spec"]["replicas"] == 0


class _Switches:
    """When each new ReplicaSet became available, and when its Service led there, by the watches' events."""

    def __init__(self) -> None:
        self._available: dict[tuple[str, str], float] = {}
        self._led: dict[tuple[str, str], float] = {}

    def replica_set(self, obj: Manifest) -> None:
        labels = obj["metadata"]["labels"]
        if _is_new_and_available(obj):
            self._available.setdefault((labels["app.kubernetes.io/instance"], labels[_HASH]), time.perf_counter())

    def service(self, obj: Manifest) -> None:
        led_to = obj["spec"].get("selector", {}).get(_HASH, "")
        self._led.setdefault((obj["metadata"]["name"], led_to), time.perf_counter())

    def seconds(self) -> list[float]:
        return [max(self._led[key] - at, 0) for key, at in self._available.items() if key in self._led]
