"""A vLLM, of its own makers, that is scaled on the requests that wait in it; the preset names its series.

Only where PENSTOCK_VLLM names a virtual environment with vLLM for CPUs, which no image here has: the pods mount it from
this machine. docs/reference/test-clusters.md says how to make one.
"""

import json
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from penstock import names
from penstock.observed import exposition
from penstock.pod_metrics import PRESETS

from tests import models
from tests.e2e import sharing, specs
from tests.e2e.service import Isvc, Manifest, eventually
from tests.e2e.test_models_answer import ask
from tests.e2e.test_request_rate import QUICK_DOWN, wanted
from tests.e2e.traffic import Traffic
from tests.harness.release import Penstock

PORT = 8000
MODEL = "/model"
PYTHON = "/python"
PACKAGES = "/packages"
LIBRARIES = "/libraries"
SCRATCH = "/scratch"
# vLLM's extension is linked with it, and the images have none.
LIBNUMA = next(Path("/usr/lib").glob("*/libnuma.so.1"), None)
LOADED_WITHIN = 240.0


def packages() -> Path | None:
    """The packages of the virtual environment that somebody names, if vLLM is among them."""
    named = os.environ.get("PENSTOCK_VLLM")
    found = Path(named).absolute().glob("lib/python3.*/site-packages/vllm") if named else ()
    return next((folder.parent for folder in found), None)


def interpreter(packages: Path) -> Path:
    """The folder of the Python that their virtual environment was made with."""
    lines = (packages.parents[2] / "pyvenv.cfg").read_text().splitlines()
    settings = dict(line.split(" = ", 1) for line in lines if " = " in line)
    return Path(settings["home"]).parent


def missing() -> str:
    """Why the test cannot run; empty if it can."""
    if packages() is None:
        return "PENSTOCK_VLLM names no virtual environment with vLLM"
    return "" if LIBNUMA else "vLLM for CPUs needs libnuma.so.1, of the package libnuma1"


pytestmark = [sharing.models, pytest.mark.timeout(600), pytest.mark.skipif(bool(missing()), reason=missing())]


def vllm(image: str, packages: Path, model: Path) -> specs.Spec:
    """Of the image, a pod has only the system's libraries: vLLM, its Python and the model are this machine's."""
    assert LIBNUMA is not None
    given = {
        PYTHON: interpreter(packages),
        PACKAGES: packages,
        f"{LIBRARIES}/libnuma.so.1": LIBNUMA,
        MODEL: model,
    }
    volumes: list[Manifest] = [{"hostPath": {"path": str(path.resolve())}} for path in given.values()]
    mounts: list[Manifest] = [{"mountPath": place, "readOnly": True} for place in given]
    volumes += [{"emptyDir": {}}, {"emptyDir": {"medium": "Memory"}}]
    mounts += [{"mountPath": SCRATCH}, {"mountPath": "/dev/shm"}]
    version = packages.parent.name  # such as python3.11
    predictor = {
        "timeout": 60,
        "terminationGracePeriodSeconds": 4,
        "metrics": {"preset": "vLLM"},
        "securityContext": {"runAsNonRoot": True},
        "containers": [{**container(image, f"{PYTHON}/bin/{version}"), "volumeMounts": _named(mounts)}],
        "volumes": _named(volumes),
    }
    return {"predictor": predictor}


def _named(manifests: list[Manifest]) -> list[Manifest]:
    return [{"name": f"volume-{number}", **each} for number, each in enumerate(manifests)]


def container(image: str, python: str) -> Manifest:
    return {
        "name": "vllm",
        "image": image,
        "command": [python, "-m", "vllm.entrypoints.openai.api_server"],
        "args": arguments(),
        "env": [{"name": name, "value": value} for name, value in variables().items()],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "6Gi"}},
        "securityContext": {"capabilities": {"drop": ["ALL"]}},
    }


def arguments() -> list[str]:
    """One request at a time, so that the others wait."""
    options = {"model": MODEL, "served-model-name": "chat", "dtype": "float32", "max-model-len": 512, "port": PORT}
    return [*(f"--{name}={value}" for name, value in options.items()), "--max-num-seqs=1", "--enforce-eager"]


def variables() -> dict[str, str]:
    return {
        "PYTHONPATH": PACKAGES,
        "LD_LIBRARY_PATH": f"{PYTHON}/lib:{LIBRARIES}",
        "HOME": SCRATCH,
        "TMPDIR": SCRATCH,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
        # Two pods share this machine's cores: neither binds itself to one, or spins while it waits for its threads.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
    }


def waiting(service: Isvc) -> list[float]:
    """Of each pod that answers, as its own exposition says."""
    preset, found = PRESETS["vLLM"], []
    for pod in service.pods():
        try:
            with urllib.request.urlopen(f"http://{pod['status']['podIP']}:{PORT}/metrics", timeout=5) as answer:
                series = exposition.by_metric(answer.read(), preset)[names.METRIC_QUEUE_DEPTH]
        except (KeyError, OSError):
            continue
        found.append(sum(series.values()))
    return found


def test_requests_that_wait_in_a_vllm_bring_it_a_second_pod_which_goes_with_them(
    service: Callable[[str], Isvc], penstock: Penstock
) -> None:
    installed = packages()
    assert installed is not None
    chat = service("vllm")
    spec = vllm(penstock.operator_image, installed, models.smollm2())
    spec["predictor"] |= {"minReplicas": 1, "maxReplicas": 2, "scaleMetric": "queueDepth", "scaleTarget": 2}
    chat.apply({**spec, "autoscaling": {"behavior": QUICK_DOWN}})
    ready = eventually(chat.is_ready, chat, within=LOADED_WITHIN)
    url = f"{chat.url()}/v1/chat/completions"
    question = [{"role": "user", "content": "What is the capital of France?"}]
    answer = ask(url, {"model": "chat", "messages": question, "max_tokens": 20, "temperature": 0})
    assert "Paris" in answer["choices"][0]["message"]["content"]
    # Before a request has had to wait the metric is there already: 0.
    eventually(lambda: chat.condition("AutoscalingActive")[0] == "True", chat, within=60)
    assert wanted(chat) == 1

    body = {"model": "chat", "messages": question, "max_tokens": 48, "temperature": 0, "ignore_eos": True}
    with Traffic(url, body, clients=0, fresh=6) as load:
        up = eventually(lambda: wanted(chat) == 2, chat, within=90)
        eventually(lambda: chat.status().get("autoscaling", {}).get("desired") == 2, chat, within=30)
        autoscaling = chat.status()["autoscaling"]
        print(f"\nready after {ready:.0f} s; a second pod wanted {up:.1f} s after six requests at a time")
        print(f"waiting: {waiting(chat)}; status.autoscaling: {json.dumps(autoscaling)}")
        print(chat.kubectl("get", "hpa", chat.name))
    assert (autoscaling["metric"], autoscaling["target"]) == ("queueDepth", 2)
    assert 2 < float(autoscaling["current"]) < 6
    down = eventually(lambda: wanted(chat) == 1, chat, within=120)
    print(f"{load.answered} answered; one pod wanted {down:.1f} s after the last request")
    assert load.failures == []
