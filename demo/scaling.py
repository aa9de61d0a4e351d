"""The demo's second act: questions from eight people at once, and a second pod for as long as they ask."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from demo import watch
from tests.harness import release
from tests.harness.cluster import Cluster
from tests.harness.progress import progress

_SECONDS: Final = 240.0
_WANTED: Final[dict[str, Any]] = {"minReplicas": 1, "maxReplicas": 2, "scaleMetric": "concurrency", "scaleTarget": 3}
_SCALED: Final[dict[str, Any]] = {"spec": {"predictor": _WANTED}}
# As the sample has it; without spec.replicas, which the autoscaler has set, it is one pod again.
_FIXED: Final[dict[str, Any]] = {"spec": {"replicas": None, "predictor": dict.fromkeys(_WANTED)}}
# Runs in the operator's container, beside the pods that it asks, for as long as its input is open: a command that is
# executed in a container would outlive the kubectl that asked for it.
_ASK: Final = """
import json, os, sys, threading, urllib.request
url, model, seconds = sys.argv[1:]
body = {"model": model, "messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 128}
def ask():
    while True:
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=120).read()
for _ in range(8):
    threading.Thread(target=ask, daemon=True).start()
threading.Timer(float(seconds), os._exit, [0]).start()
sys.stdin.read()
os._exit(0)
"""


def show(cluster: Cluster, name: str) -> None:
    """Ask until a second pod answers. Raises NotServing when none does; the service is left as it was."""
    _patch(cluster, name, _SCALED)
    try:
        with _questions(cluster, name):
            for line in watch.follow(
                cluster, name, _summary, _has_two_ready, seconds=_SECONDS, else_say="it had no second pod"
            ):
                progress(f"  {line}")
    finally:
        _patch(cluster, name, _FIXED)


def _patch(cluster: Cluster, name: str, patch: dict[str, Any]) -> None:
    text = json.dumps(patch)
    progress(f"kubectl patch isvc {name} --type=merge --patch='{text}'")
    cluster.kubectl("patch", "isvc", name, "--type=merge", f"--patch={text}")


@contextmanager
def _questions(cluster: Cluster, name: str) -> Iterator[None]:
    url = cluster.kubectl("get", "isvc", name, "--output=jsonpath={.status.url}")
    in_operator = ["exec", "--stdin", f"--namespace={release.NAMESPACE}", release.OPERATOR, "--"]
    command: list[str | Path] = [cluster.kubectl_path, f"--kubeconfig={cluster.kubeconfig}", *in_operator]
    asking = ["python", "-c", _ASK, f"{url}/v1/chat/completions", name, str(_SECONDS)]
    with subprocess.Popen([*command, *asking], stdin=subprocess.PIPE) as process:
        try:
            yield
        finally:
            assert process.stdin is not None
            process.stdin.close()


def _has_two_ready(status: watch.Status) -> bool:
    return status.get("readyReplicas") == 2


def _summary(status: watch.Status) -> str:
    found = status.get("autoscaling") or {}
    pods = f"{status.get('readyReplicas', 0)} of {status.get('replicas', 0)} pods ready"
    if "current" not in found:
        return f"{pods}; the autoscaler has seen nothing yet"
    return f"{pods}; {found['current']} requests under way per pod, aim {found['target']}; wants {found.get('desired')}"
