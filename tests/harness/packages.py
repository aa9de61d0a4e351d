"""Programs that come from the system's own packages."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.harness.lock import exclusive
from tests.harness.progress import HarnessError, last_line, step, tail
from tests.harness.tools import cache_dir

# Debian package -> a program of it that shows it is there.
NODE = {
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "iptables-restore",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "iproute2": "ip",
    "socat": "socat",
}
IMAGES = {"buildah": "buildah", "debootstrap": "debootstrap"}


def ensure(packages: dict[str, str]) -> None:
    """Installs the packages whose program is missing. Raises HarnessError, naming them, where that cannot be done."""
    missing = [package for package, program in packages.items() if not shutil.which(program)]
    if not missing:
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise HarnessError(f"these packages are missing and cannot be installed from here: {', '.join(missing)}")
    log = cache_dir() / "packages.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        exclusive(log.with_suffix(".lock"), waiting="waiting for another program that installs Debian packages"),
        step(f"installing Debian packages: {' '.join(missing)}", last_line(log)),
    ):
        _apt(log, "update")
        _apt(log, "install", "--yes", "--no-install-recommends", *missing)


def _apt(log: Path, *arguments: str) -> None:
    with log.open("wb") as output:
        done = subprocess.run(
            ["apt-get", "-q", *arguments],
            stdout=output,
            stderr=output,
            check=False,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        )
    if done.returncode:
        raise HarnessError(f"apt-get {arguments[0]} failed; the end of {log}:\n{tail(log)}")
