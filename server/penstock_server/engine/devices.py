"""Where and in what precision a model runs."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import torch

DType = Literal["auto", "float32", "bfloat16", "float16"]

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dtype(wanted: DType, on: torch.device) -> torch.dtype:
    """`auto` is bfloat16 on a GPU and float32 on a CPU.

    Plain linear layers in bfloat16 repack their weights at every call on a CPU: measured on one with AMX, a decode
    step took ten times as long as in float32.
    """
    if wanted != "auto":
        return DTYPES[wanted]
    return torch.bfloat16 if on.type == "cuda" else torch.float32


def threads(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """CPUs this process may use: its affinity, or less under the lowest CPU limit of its control groups.

    torch counts the machine's cores, but threads above the quota are throttled, and the others with them.
    """
    limits = [math.ceil(limit) for limit in (_limit(group) for group in _groups(root, membership)) if limit]
    return max(1, min([len(os.sched_getaffinity(0)), *limits]))


def _groups(root: Path, membership: Path) -> Iterator[Path]:
    """The process's groups that may limit CPU, of cgroup v2 and v1, from its own up to the root.

    A container usually sees its own group as the root; where it does not, the paths of /proc lead to it.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    mounts = {"": root, "cpu": root / "cpu", "cpu,cpuacct": root / "cpu"}
    yield from (root, root / "cpu")
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers in mounts:
            own = PurePosixPath(path.lstrip("/"))
            yield from (mounts[controllers] / part for part in (own, *own.parents))


def _limit(group: Path) -> float | None:
    """CPUs; None without a limit."""
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # No such file, or "max".
        return None
