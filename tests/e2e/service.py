"""One InferenceService on the node cluster, as a test sees it."""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.harness.cluster import Cluster, KubectlError

POLL_SECONDS = 0.25
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Isvc:
    """By name and namespace; every call asks the cluster anew."""

    cluster: Cluster
    namespace: str
    name: str

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - the name subprocess has for it.
        return self.cluster.kubectl(f"--namespace={self.namespace}", *arguments, input=input)

    def apply(self, spec: Manifest) -> None:
        metadata = {"name": self.name, "namespace": self.namespace}
        manifest = {"apiVersion": "serving.penstock.dev/v1alpha1", "kind": "InferenceService", "metadata": metadata}
        self.kubectl("apply", "--filename=-", input=json.dumps({**manifest, "spec": spec}))

    def object(self) -> Manifest:
        found: Manifest = json.loads(self.kubectl("get", "isvc", self.name, "--output=json"))
        return found

    def status(self) -> Manifest:
        """The status, once it is of the spec as it is now; empty before."""
        found = self.object()
        status: Manifest = found.get("status", {})
        return status if status.get("observedGeneration") == found["metadata"]["generation"] else {}

    def condition(self, kind: str) -> tuple[str, str]:
        """(status, reason) of a condition; empty words while there is none."""
        conditions = self.status().get("conditions", [])
        return next(((each["status"], each["reason"]) for each in conditions if each["type"] == kind), ("", ""))

    def blockers(self) -> dict[str, str]:
        """The messages of blockedBy, by reason."""
        return {each["reason"]: each["message"] for each in self.status().get("blockedBy", [])}

    def is_ready(self) -> bool:
        return self.condition("Ready")[0] == "True"

    def is_rolled_out(self) -> bool:
        return self.is_ready() and self.rollout().get("phase") == "Stable"

    def rollout(self) -> Manifest:
        """status.rollout, once it is of the spec as it is now; empty before."""
        found: Manifest = self.status().get("rollout", {})
        return found

    def wait_for_phase(self, phase: str, *, within: float) -> None:
        """Until the rollout has the phase: by one kubectl that watches, where polling would be load of its own.

        The phase that it has already, of an earlier spec perhaps, is not told apart: ask for one it has to come to.
        """
        wanted = f"--for=jsonpath={{.status.rollout.phase}}={phase}"
        try:
            self.kubectl("wait", f"isvc/{self.name}", wanted, f"--timeout={within}s")
        except KubectlError as error:
            raise AssertionError(f"not {phase} within {within} s:\n{self.told()}") from error

    def act(self, verb: str) -> None:
        """Ask for an action, such as promote."""
        asked = f"penstock.dev/action={verb}:{secrets.token_hex(4)}"
        self.kubectl("annotate", "isvc", self.name, asked, "--overwrite")

    def pods(self) -> list[Manifest]:
        """Its pods, without those that are leaving."""
        selector = f"--selector=serving.penstock.dev/inferenceservice={self.name}"
        found = json.loads(self.kubectl("get", "pods", selector, "--output=json"))["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def pod(self, version: str) -> Manifest:
        """The one pod of a service of our own servers that runs this version."""
        (found,) = (pod for pod in self.pods() if {"name": "VERSION", "value": version} in _environment(pod))
        return found

    def url(self) -> str:
        """By ClusterIP, which this machine reaches as a pod does."""
        address = self.kubectl("get", "service", self.name, "--output=jsonpath={.spec.clusterIP}")
        return f"http://{address}"

    def remove(self) -> None:
        """Delete it, and end its pods at once: the owner references would, but each in its own grace period.

        Whoever comes next may want its GPUs: those are free then. For pods without any nobody has to wait.
        """
        selector = f"--selector=serving.penstock.dev/inferenceservice={self.name}"
        wait = "nvidia.com/gpu" in self.kubectl("get", "deployments", selector, "--output=json")
        self.kubectl("delete", "isvc", self.name, "--ignore-not-found", "--wait=false")
        self.kubectl("delete", "deployments", selector, "--ignore-not-found", "--cascade=foreground", "--wait=false")
        self.kubectl("delete", "pods", selector, "--ignore-not-found", "--grace-period=1", f"--wait={wait}".lower())

    def told(self) -> str:
        """What a failed wait should print."""
        return json.dumps(self.object().get("status", {}), indent=1)


def eventually(check: Callable[[], bool], service: Isvc, *, within: float) -> float:
    """Wait until the check holds; the seconds it took. Fails the test, with the service's status, when it does not."""
    started = time.monotonic()
    while not check():
        assert time.monotonic() - started < within, f"not within {within} s:\n{service.told()}"
        time.sleep(POLL_SECONDS)
    return time.monotonic() - started


def apply_secret(cluster: Cluster, namespace: str, name: str, values: Mapping[str, str]) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(values)}
    cluster.kubectl(f"--namespace={namespace}", "apply", "--filename=-", input=json.dumps(secret))


def _environment(pod: Manifest) -> list[Manifest]:
    found: list[Manifest] = pod["spec"]["containers"][0].get("env", [])
    return found
