"""Where and in what precision a model runs."""

import math
import os
from pathlib import Path
from typing import Literal

import torch

DType = Literal["auto", "float32", "bfloat16", "float16"]

CGROUP_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
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


def threads(cpu_max: Path = CGROUP_CPU_MAX) -> int:
    """CPUs this process may use: its affinity, or less under a container's CPU limit.

    torch counts the machine's cores; more threads than the quota allows are throttled all at once.
    """
    usable = len(os.sched_getaffinity(0))
    try:
        quota, period = cpu_max.read_text().split()
    except (OSError, ValueError):
        return usable
    return usable if quota == "max" else max(1, min(usable, math.ceil(int(quota) / int(period))))
