"""Programs that come from the system's own packages."""

import os
import shutil
import subprocess

from tests.harness.progress import HarnessError, progress

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
    progress(f"installing Debian packages: {', '.join(missing)}")
    _apt("update")
    _apt("install", "--yes", "--no-install-recommends", *missing)


def _apt(*arguments: str) -> None:
    done = subprocess.run(
        ["apt-get", "-q", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
    )
    if done.returncode:
        raise HarnessError(f"apt-get {arguments[0]} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
