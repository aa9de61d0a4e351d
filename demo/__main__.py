"""The steps of the demo. Each one is safe to run again, and quick when there is nothing left to do."""

import json
import os
import sys
import time
from pathlib import Path

from demo import scaling, watch
from tests import models
from tests.harness import cluster as clusters
from tests.harness import images, object_store, release
from tests.harness.cluster import Cluster, HarnessError
from tests.harness.progress import progress

REPOSITORY = Path(__file__).parents[1]
SAMPLE = "manifests/samples/smollm2.yaml"
SERVICE = "smollm2"
BUCKET, PREFIX = "models", "smollm2-135m-instruct"
READY_SECONDS = 600.0
QUESTION = "What is the capital of France?"
# Runs in the operator's container: from there the Service is reached as from any other pod.
ASK = """
import json, sys, urllib.request
url, model, question = sys.argv[1:]
body = {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": 64, "temperature": 0}
request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
with urllib.request.urlopen(request, timeout=120) as answer:
    print(json.load(answer)["choices"][0]["message"]["content"])
"""


def main() -> int:
    """Returns the exit status; every failure is explained before."""
    started = time.monotonic()
    try:
        cluster = clusters.up("node")
        _serve(cluster)
        answer = _ask(cluster)
        _show(cluster, answer, time.monotonic() - started)
        if os.environ.get("SCALING") != "no":
            progress("\nEight people ask at once now (make demo SCALING=no leaves this out):")
            scaling.show(cluster, SERVICE)
    except HarnessError as error:
        progress(f"\nThe demo stopped: {error}")
        return 1
    except watch.NotServing as error:
        progress(f"\n{SERVICE} does not serve: {error}\n\n{watch.explanation(cluster, SERVICE)}")
        return 1
    _tell(cluster)
    return 0


def _serve(cluster: Cluster) -> None:
    progress("container images")
    operator, server = images.ensure(cluster)
    progress("the model's bucket")
    credentials = object_store.serve(cluster, BUCKET, {PREFIX: models.smollm2()})
    release.install(cluster, operator, server)
    progress(f"kubectl apply --filename={SAMPLE}")
    _apply_secret(cluster, credentials)
    cluster.kubectl("apply", f"--filename={REPOSITORY / SAMPLE}")
    generation = int(cluster.kubectl("get", "isvc", SERVICE, "--output=jsonpath={.metadata.generation}"))
    for line in watch.wait_until_ready(cluster, SERVICE, generation=generation, seconds=READY_SECONDS):
        progress(f"  {line}")


def _apply_secret(cluster: Cluster, credentials: dict[str, str]) -> None:
    metadata = {"name": "model-bucket"}  # the name in the sample
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": credentials}
    cluster.kubectl("apply", "--filename=-", input=json.dumps(secret))


def _ask(cluster: Cluster) -> str:
    url = cluster.kubectl("get", "isvc", SERVICE, "--output=jsonpath={.status.url}")
    python = ("python", "-c", ASK, f"{url}/v1/chat/completions", SERVICE, QUESTION)
    return cluster.kubectl("exec", release.OPERATOR, f"--namespace={release.NAMESPACE}", "--", *python).strip()


def _show(cluster: Cluster, answer: str, seconds: float) -> None:
    print(
        f"""
  You:     {QUESTION}
  SmolLM2: {answer}

$ kubectl get isvc
{cluster.kubectl("get", "isvc")}
Answered after {seconds:.0f} s.""",
        flush=True,
    )


def _tell(cluster: Cluster) -> None:
    print(
        f"""
Go on with:

  export KUBECONFIG={cluster.kubeconfig} PATH={cluster.kubectl_path.parent}:$PATH
  kubectl describe isvc {SERVICE}                      # what it is doing, and why
  kubectl port-forward service/{SERVICE} 8000:80       # then: curl localhost:8000/v1/models
  kubectl annotate isvc {SERVICE} penstock.dev/restarted-at="$(date)" --overwrite
  kubectl get isvc {SERVICE} --watch                   # a rollout without a failed request
  kubectl apply --filename=manifests/samples/gpu.yaml  # another sample: it runs on one of the two pretended GPUs
  kubectl delete isvc {SERVICE}
  make cluster-down
"""
    )


if __name__ == "__main__":
    sys.exit(main())
