"""Builds the programs of a cluster from their Go modules, once, and keeps them by content.

Each folder of `tools/` is a Go module, whose go.mod and go.sum pin its programs and all they depend on.
"""

import hashlib
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness import builds
from tests.harness.lock import exclusive_unless
from tests.harness.progress import HarnessError

REPOSITORY = Path(__file__).parents[2]
FREE_BYTES_FOR_A_BUILD = 15 * 2**30
KUBERNETES_VERSION = "v1.35.4"


@dataclass(frozen=True)
class Tool:
    """Programs that are wanted together, built from one folder of `tools/`."""

    name: str
    programs: Mapping[str, str]  # program -> Go package; one package may be several programs, by their names
    minutes: float  # a cold build on two cores, after the tools before it in TOOLS
    folder: str = ""  # of `tools/`, when it is not the name
    variables: Mapping[str, str] = field(default_factory=dict)  # Go string variables set by the linker

    @property
    def module(self) -> Path:
        return REPOSITORY / "tools" / (self.folder or self.name)

    @property
    def ldflags(self) -> str:
        return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in self.variables.items())])


def _of_the_cluster(name: str, programs: Mapping[str, str], minutes: float) -> Tool:
    # Without a version the server says v0.0.0-master, and charts with a kubeVersion refuse it.
    variables = {
        "k8s.io/component-base/version.gitVersion": KUBERNETES_VERSION,
        "k8s.io/component-base/version.gitMajor": "1",
        "k8s.io/component-base/version.gitMinor": "35",
        "k8s.io/component-base/version.gitTreeState": "clean",
        "k8s.io/client-go/pkg/version.gitVersion": KUBERNETES_VERSION,
    }
    return Tool(name, programs, minutes, folder="cluster", variables=variables)


ARGO_ROLLOUTS = "github.com/argoproj/argo-rollouts"
# One program for all of these: five links of 100 MB would be half a minute.
KUBERNETES_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
TOOLS = {
    tool.name: tool
    for tool in (
        # One Go module, so that what they share is compiled once: most of each is Kubernetes' client.
        _of_the_cluster(
            "kubernetes",
            dict.fromkeys(KUBERNETES_PROGRAMS, "./kubernetes") | {"kubectl": "k8s.io/kubernetes/cmd/kubectl"},
            minutes=8,
        ),
        _of_the_cluster("etcd", {"etcd": "./etcd"}, minutes=0.5),
        _of_the_cluster("helm", {"helm": "helm.sh/helm/v3/cmd/helm"}, minutes=0.5),
        _of_the_cluster("coredns", {"coredns": "./coredns"}, minutes=0.5),
        _of_the_cluster("pause", {"pause": "./pause"}, minutes=0.1),
        _of_the_cluster("versitygw", {"versitygw": "./versitygw"}, minutes=1),
        # In the order in which the test tiers need them: each goes on when it has its own.
        Tool("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, minutes=2),
        # Its telemetry does not go with that of the others.
        Tool("registry", {"registry": "penstock.dev/tools/registry"}, minutes=1),
        # With the others' Kubernetes packages it finds no model of its own types, and ends at its start.
        Tool("metrics-server", {"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"}, minutes=3),
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
# What the test tiers run.
FOR_TESTS = tuple(name for name in TOOLS if name not in ("kind", "argo-rollouts"))
# What `make demo` and a node cluster run.
NODE_TOOLS = ("registry", *(tool.name for tool in TOOLS.values() if tool.folder == "cluster"))


def kubectl() -> Path:
    """The kubectl of our Kubernetes version."""
    return ensure("kubernetes")["kubectl"]


def cache_dir() -> Path:
    """Where everything that outlives a run is kept: $PENSTOCK_CACHE, or ~/.cache/penstock."""
    return Path(os.environ.get("PENSTOCK_CACHE") or Path.home() / ".cache" / "penstock")


def key(tool: Tool) -> str:
    """Changes with anything that can change the binaries; 12 hex digits."""
    recipe = hashlib.sha256()
    for file in sorted(path for path in tool.module.rglob("*") if path.is_file()):
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


def missing(*names: str) -> list[Tool]:
    """Those of these tools that are not built yet."""
    return [TOOLS[name] for name in names if not folder(TOOLS[name]).exists()]


def _build_missing(wanted: list[Tool]) -> None:
    def absent() -> list[Tool]:
        return missing(*(tool.name for tool in wanted))

    lock = cache_dir() / "tools" / "lock"
    # Who builds may have more to build than others wait for.
    with exclusive_unless(
        lambda: not absent(), lock, waiting="waiting for another program that is building tools"
    ) as is_held:
        if not is_held:
            return
        _check_disk()
        scratch = cache_dir() / "go"
        scratch.mkdir(exist_ok=True)
        try:
            for module in dict.fromkeys(tool.module for tool in absent()):
                _build([tool for tool in absent() if tool.module == module], scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _check_disk() -> None:
    free = shutil.disk_usage(cache_dir()).free
    if free < FREE_BYTES_FOR_A_BUILD:
        raise HarnessError(
            f"{cache_dir()} has {free / 2**30:.1f} GiB free and building needs {FREE_BYTES_FOR_A_BUILD >> 30} GiB: "
            "free some, or set PENSTOCK_CACHE to a folder on another disk"
        )


def _build(together: list[Tool], scratch: Path) -> None:
    """Tools of one module."""
    module, ldflags = together[0].module, together[0].ldflags
    packages = list(dict.fromkeys(package for tool in together for package in tool.programs.values()))
    built = builds.build(
        scratch,
        module,
        packages,
        ldflags=ldflags,
        log=cache_dir() / "tools" / f"{module.name}.log",
        title=" ".join(tool.name for tool in together),
    )
    for tool in together:
        builds.keep(built, tool.programs, folder(tool))
