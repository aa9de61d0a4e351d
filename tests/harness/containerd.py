"""The container runtime of the node: Debian's containerd with its own root, state and socket."""

import subprocess
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import grpc

from tests.harness import leftovers, network, static_image
from tests.harness.data import filled
from tests.harness.processes import Processes
from tests.harness.progress import HarnessError, tail
from tests.harness.tools import cache_dir

NAMESPACE = "k8s.io"  # where containerd keeps what belongs to Kubernetes


def start(state: Path, *, pause: Path) -> None:
    """Starts containerd and waits until it answers, with no pods left of an earlier life. `pause`: a static program."""
    (state / "cni").mkdir(parents=True, exist_ok=True)
    (state / "containerd.toml").write_text(
        filled(
            "containerd.toml",
            root=_root(),
            state=state,
            socket=socket(state),
            pause_image=static_image.reference(pause),
        )
    )
    (state / "cni" / "network.conflist").write_text(
        filled(
            "network.conflist",
            network=leftovers.CNI_NETWORK,
            bridge=network.BRIDGE,
            pod_cidr=network.POD_CIDR,
            service_cidr=network.SERVICE_CIDR,
            state=state,
        )
    )
    Processes(state).start("containerd", ["containerd", "--config", state / "containerd.toml"])
    _wait_until_it_answers(state)
    remove_pods(state)
    import_program(state, pause)


def stop(state: Path) -> None:
    """Takes every pod down with its network, then stops containerd; images stay in the cache."""
    if Processes(state).is_running("containerd"):
        # One that has just been killed answers no more: its pods are then among the leftovers.
        with suppress(grpc.RpcError):
            remove_pods(state)
    Processes(state).stop("containerd")


def socket(state: Path) -> Path:
    return state / "containerd.sock"


def import_program(state: Path, program: Path) -> str:
    """Makes an image of one static program; returns its reference. A no-op when the image is there."""
    reference = static_image.reference(program)
    if reference in _ctr(state, "images", "list", "--quiet").split():
        return reference
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "image.tar"
        static_image.write(program, archive)
        _ctr(state, "images", "import", str(archive))
    return reference


def keep_images(state: Path, *, wanted: set[str]) -> None:
    """Forgets every image of the registry that is not `wanted`: each build has its own tag, and disks are small."""
    _, *lines = _ctr(state, "images", "list").splitlines()
    digests = {fields[0]: fields[2] for fields in map(str.split, lines)}  # name -> digest of the manifest
    # The kubelet's side of containerd gives each image two more names, by digest: all must go for its layers to go.
    kept = {digest for name, digest in digests.items() if name in wanted or name.startswith("localhost/")}
    unwanted = [name for name, digest in digests.items() if digest not in kept]
    if unwanted:
        _ctr(state, "images", "remove", "--sync", *unwanted)


def remove_pods(state: Path) -> None:
    """Kills and removes every pod that containerd knows of."""
    messages, services = _cri()
    with grpc.insecure_channel(f"unix://{socket(state)}") as channel:
        runtime = services.RuntimeServiceStub(channel)
        for pod in runtime.ListPodSandbox(messages.ListPodSandboxRequest(), timeout=10).items:
            runtime.StopPodSandbox(messages.StopPodSandboxRequest(pod_sandbox_id=pod.id), timeout=30)
            runtime.RemovePodSandbox(messages.RemovePodSandboxRequest(pod_sandbox_id=pod.id), timeout=30)


def _wait_until_it_answers(state: Path) -> None:
    messages, services = _cri()
    deadline = time.monotonic() + 30
    while Processes(state).is_running("containerd") and time.monotonic() < deadline:
        try:
            with grpc.insecure_channel(f"unix://{socket(state)}") as channel:
                services.RuntimeServiceStub(channel).ListPodSandbox(messages.ListPodSandboxRequest(), timeout=5)
        except grpc.RpcError:
            time.sleep(0.05)
        else:
            return
    raise HarnessError(f"containerd does not answer; the end of its log:\n{tail(Processes(state).log('containerd'))}")


@cache
def _cri() -> tuple[Any, Any]:
    """(messages, services) of cri.proto, compiled when they are first needed."""
    messages, services = grpc.protos_and_services("tests/harness/data/cri.proto")
    return messages, services


def _ctr(state: Path, *arguments: str) -> str:
    command = ["ctr", "--address", str(socket(state)), "--namespace", NAMESPACE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HarnessError(f"ctr {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout


def _root() -> Path:
    """Outside the state folder: unpacking a 6 GB image takes 40 seconds, and the next cluster wants the same one."""
    return cache_dir() / "containerd"
