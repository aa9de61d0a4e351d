"""Takes away what outlives its program: container processes, cgroups, mounts and files outside the state folder."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.harness.progress import HarnessError

CGROUPS = Path("/sys/fs/cgroup")
CGROUP = "penstock"  # the kubelet's root in every hierarchy, so that no other kubelet's pods can be meant
DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")  # a constant in the kubelet, whatever its --root-dir
CNI_RESULTS = Path("/var/lib/cni/results")  # a constant in containerd
CONTAINER_LOGS = Path("/var/log/containers")  # a constant in the kubelet
SHIM_SOCKETS = Path("/run/containerd/s")  # a constant in containerd
CNI_NETWORK = "penstock"


def remove(state: Path) -> None:
    """Removes all that a node with this state folder can leave behind; its programs must have been stopped.

    Raises HarnessError when a container's processes survive SIGKILL for 10 seconds.
    """
    _kill_until_gone(state)
    for cgroup in _cgroups():
        cgroup.rmdir()
    unmount_under(state)
    for file in _files(state):
        file.unlink(missing_ok=True)
    shutil.rmtree(DEVICE_PLUGINS, ignore_errors=True)
    for folder in (DEVICE_PLUGINS, CNI_RESULTS, CONTAINER_LOGS, SHIM_SOCKETS):
        _remove_if_empty(folder, folder.parent)


def make_cgroups() -> None:
    """Makes the kubelet's root cgroup in every hierarchy: the kubelet itself refuses to start without it."""
    for root in hierarchies(Path("/proc/self/mounts").read_text()):
        (root / CGROUP).mkdir(exist_ok=True)


def hierarchies(mounts: str) -> list[Path]:
    """The mount points of the cgroup file systems in the text of /proc/mounts."""
    return [Path(fields[1]) for line in mounts.splitlines() if (fields := line.split())[2] in ("cgroup", "cgroup2")]


def mounts_under(folder: Path, mounts: str) -> list[Path]:
    """The mount points below `folder` in the text of /proc/mounts, the last mounted first."""
    points = [Path(_unescape(line.split()[1])) for line in mounts.splitlines()]
    return [point for point in reversed(points) if point.is_relative_to(folder)]


def _unescape(field: str) -> str:
    """The kernel writes a space as \\040, and so on."""
    return re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), field)


def _kill_until_gone(state: Path) -> None:
    deadline = time.monotonic() + 10
    while pids := {*shims(state), *contained()}:
        if time.monotonic() > deadline:
            raise HarnessError(f"processes {sorted(pids)} of the cluster's containers do not end")
        for pid in pids:
            _kill(pid)
        time.sleep(0.02)


def shims(state: Path) -> Iterator[int]:
    """containerd's shims carry the address of their containerd on the command line."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"containerd-shim" in words[0] and any(word.startswith(os.fsencode(state) + b"/") for word in words):
            yield int(process.name)


def contained() -> Iterator[int]:
    """Every process in a container of the node."""
    for cgroup in _cgroups():
        yield from map(int, (cgroup / "cgroup.procs").read_text().split())


def _cgroups() -> list[Path]:
    """Ours in every hierarchy, children before their parents."""
    roots = [root / CGROUP for root in hierarchies(Path("/proc/self/mounts").read_text())]
    found = [path for root in roots for path in (root, *root.rglob("*")) if path.is_dir()]
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def unmount_under(folder: Path) -> None:
    """Unmounts all that is mounted below `folder`. Raises HarnessError when something stays."""
    for point in mounts_under(folder, Path("/proc/self/mounts").read_text()):
        # Lazily: a container's root may be busy for as long as the kernel takes its last process apart.
        done = subprocess.run(["umount", "--lazy", point], capture_output=True, text=True, check=False)
        if done.returncode:
            raise HarnessError(f"{point} could not be unmounted: {done.stderr.strip()}")


def _files(state: Path) -> Iterator[Path]:
    for address in (state / "containerd").rglob("address"):
        yield SHIM_SOCKETS / Path(address.read_text().strip()).name
    for result in CNI_RESULTS.glob(f"{CNI_NETWORK}-*"):
        # NETWORK-CONTAINER-INTERFACE: each container has one for loopback, too.
        container = result.name.removeprefix(f"{CNI_NETWORK}-").split("-")[0]
        yield from CNI_RESULTS.glob(f"*-{container}-*")
    for link in CONTAINER_LOGS.glob("*"):
        if link.is_symlink() and link.readlink().is_relative_to(state):
            yield link


def _remove_if_empty(*folders: Path) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return
