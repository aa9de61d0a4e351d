"""Builds the programs of a cluster from their Go modules, once, and keeps them by content.

Each folder of `tools/` holds the go.mod and go.sum that pin one tool and all it depends on.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness import golang
from tests.harness.lock import exclusive
from tests.harness.progress import HarnessError, progress, tail

REPOSITORY = Path(__file__).parents[2]
FREE_BYTES_FOR_A_BUILD = 15 * 2**30
HEARTBEAT_SECONDS = 30.0
KUBERNETES_VERSION = "v1.35.4"


@dataclass(frozen=True)
class Tool:
    """One folder of `tools/` and the programs built there."""

    name: str
    programs: Mapping[str, str]  # program -> Go package
    minutes: float  # a cold build on two cores
    variables: Mapping[str, str] = field(default_factory=dict)  # Go string variables set by the linker

    @property
    def module(self) -> Path:
        return REPOSITORY / "tools" / self.name

    @property
    def ldflags(self) -> str:
        return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in self.variables.items())])


ARGO_ROLLOUTS = "github.com/argoproj/argo-rollouts"
KUBERNETES_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            "kubernetes",
            {program: f"k8s.io/kubernetes/cmd/{program}" for program in KUBERNETES_PROGRAMS},
            minutes=9,
            # Without a version the server says v0.0.0-master, and charts with a kubeVersion refuse it.
            variables={
                "k8s.io/component-base/version.gitVersion": KUBERNETES_VERSION,
                "k8s.io/component-base/version.gitMajor": "1",
                "k8s.io/component-base/version.gitMinor": "35",
                "k8s.io/component-base/version.gitTreeState": "clean",
                "k8s.io/client-go/pkg/version.gitVersion": KUBERNETES_VERSION,
            },
        ),
        Tool("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}, minutes=1),
        Tool("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, minutes=2),
        Tool("helm", {"helm": "helm.sh/helm/v3/cmd/helm"}, minutes=2),
        Tool("registry", {"registry": "github.com/distribution/distribution/v3/cmd/registry"}, minutes=2),
        Tool("coredns", {"coredns": "github.com/coredns/coredns"}, minutes=3),
        Tool("metrics-server", {"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"}, minutes=3),
        Tool("pause", {"pause": "pause"}, minutes=0.5),
        Tool("versitygw", {"versitygw": "github.com/versity/versitygw/cmd/versitygw"}, minutes=2),
        Tool("envoy-gateway", {"envoy-gateway": "github.com/envoyproxy/gateway/cmd/envoy-gateway"}, minutes=4),
        # For bench/rollouts.py alone.
        Tool(
            "argo-rollouts",
            {"rollouts-controller": "github.com/argoproj/argo-rollouts/cmd/rollouts-controller"},
            minutes=5,
        ),
        Tool("kind", {"kind": "sigs.k8s.io/kind"}, minutes=1),
    )
}


def kubectl() -> Path:
    """The kubectl of our Kubernetes version."""
    return ensure("kubernetes")["kubectl"]


def cache_dir() -> Path:
    """Where everything that outlives a run is kept: $PENSTOCK_CACHE, or ~/.cache/penstock."""
    return Path(os.environ.get("PENSTOCK_CACHE") or Path.home() / ".cache" / "penstock")


def key(tool: Tool) -> str:
    """Changes with anything that can change the binaries; 12 hex digits."""
    recipe = hashlib.sha256()
    for file in sorted(tool.module.iterdir()):
        recipe.update(file.read_bytes())
    recipe.update(repr((sorted(tool.programs.items()), tool.ldflags, platform.machine())).encode())
    return recipe.hexdigest()[:12]


def folder(tool: Tool) -> Path:
    return cache_dir() / "tools" / f"{tool.name}-{key(tool)}"


def ensure(*names: str) -> dict[str, Path]:
    """Builds what is missing of the tools named; returns program name -> path for all their programs.

    Raises KeyError for an unknown tool, HarnessError when a build fails. Two callers never build at the same time.
    """
    wanted = [TOOLS[name] for name in names]
    if any(not folder(tool).exists() for tool in wanted):
        _build_missing(wanted)
    return {program: folder(tool) / program for tool in wanted for program in tool.programs}


def _build_missing(wanted: list[Tool]) -> None:
    lock = cache_dir() / "tools" / "lock"
    with exclusive(lock, waiting="waiting for another program that is building tools"):
        missing = [tool for tool in wanted if not folder(tool).exists()]
        if not missing:
            return
        _check_disk()
        scratch = cache_dir() / "go"
        try:
            for number, tool in enumerate(missing, 1):
                go = golang.toolchain(scratch, tool.module)
                _build(go, scratch, tool, f"{tool.name} ({number} of {len(missing)})")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _check_disk() -> None:
    free = shutil.disk_usage(cache_dir()).free
    if free < FREE_BYTES_FOR_A_BUILD:
        raise HarnessError(
            f"{cache_dir()} has {free / 2**30:.1f} GiB free and building needs {FREE_BYTES_FOR_A_BUILD >> 30} GiB: "
            "free some, or set PENSTOCK_CACHE to a folder on another disk"
        )


def _build(go: Path, scratch: Path, tool: Tool, title: str) -> None:
    target = folder(tool)
    log = target.parent / f"{tool.name}.log"
    progress(f"building {title}, about {tool.minutes:g} min; log: {log}")
    started = time.monotonic()
    building = Path(tempfile.mkdtemp(dir=target.parent, prefix=".building-"))
    try:
        with log.open("wb") as output:
            for program, package in tool.programs.items():
                process = subprocess.Popen(
                    ["nice", go, "build", "-o", building / program, "-ldflags", tool.ldflags, package],
                    cwd=tool.module,
                    env=golang.environment(scratch),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
                if _wait(process, f"{title}: {program}", started):
                    raise HarnessError(f"building {tool.name} failed; the end of {log}:\n{tail(log)}")
        # One rename, so that a folder that exists is complete whatever interrupts us.
        building.rename(target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    progress(f"built {title} in {time.monotonic() - started:.0f} s")


def _wait(process: subprocess.Popen[bytes], title: str, started: float) -> int:
    try:
        while True:
            try:
                return process.wait(HEARTBEAT_SECONDS)
            except subprocess.TimeoutExpired:
                progress(f"  {title}: {time.monotonic() - started:.0f} s so far")
    finally:
        process.kill()
