"""Where the figures were taken: they mean nothing without it."""

import platform
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from tests.harness import tools

_MODULES = {"kubernetes": "k8s.io/kubernetes", "etcd": "go.etcd.io/etcd/server/v3", "kwok": "sigs.k8s.io/kwok"}


def describe() -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(),
        "memory GB": round(psutil.virtual_memory().total / 1e9, 1),
        "load before": [round(load, 1) for load in psutil.getloadavg()],
        "kernel": platform.release(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("penstock", "kopf", "kubernetes", "aiohttp", "pydantic")},
            **{f"{module} (Go)": _go_version(module) for module in _MODULES},
        },
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _go_version(name: str) -> str:
    """The version that the tool's go.mod pins."""
    words = tools.TOOLS[name].module.joinpath("go.mod").read_text().split()
    return next(number for module, number in pairwise(words) if module == _MODULES[name] and number.startswith("v"))
