"""What a node leaves behind is found, and only that."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.harness import leftovers

MOUNTS = """\
proc /proc proc rw 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
shm /state/node/sandbox/shm tmpfs rw 0 0
overlay /state/node/sandbox/root\\040fs overlay rw 0 0
tmpfs /state/node-of-somebody-else tmpfs rw 0 0
"""


def test_cgroup_hierarchies_of_both_versions_are_found() -> None:
    assert leftovers.hierarchies(MOUNTS) == [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup/unified")]


def test_mounts_below_a_folder_come_last_first_and_a_neighbour_stays() -> None:
    assert leftovers.mounts_under(Path("/state/node"), MOUNTS) == [
        Path("/state/node/sandbox/root fs"),
        Path("/state/node/sandbox/shm"),
    ]


def test_a_shim_is_known_by_the_state_folder_on_its_command_line(tmp_path: Path) -> None:
    shim = tmp_path / "containerd-shim-runc-v2"
    shim.symlink_to(sys.executable)
    ours, theirs = (f"{tmp_path}/{name}/containerd.sock" for name in ("ours", "ours-too"))
    wait = "import sys; print(flush=True); sys.stdin.read()"
    processes = [
        subprocess.Popen([shim, "-c", wait, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for address in (ours, theirs)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        assert list(leftovers.shims(tmp_path / "ours")) == [processes[0].pid]
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.communicate()
