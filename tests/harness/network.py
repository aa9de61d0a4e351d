"""The node's network: its bridge, the route of the Service addresses, and what others add to it while pods run."""

import json
import shlex
import subprocess
from pathlib import Path

from tests.harness.progress import HarnessError

NODE_IP = "10.88.0.1"  # the bridge's own address; the API server and host programs that pods call listen here
NODE_CIDR = f"{NODE_IP}/16"
POD_CIDR = "10.88.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
DNS_IP = "10.96.0.10"
BRIDGE = "penstock0"

# What kubelet, kube-proxy and the bridge plugin write, and nobody puts back.
SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv6/conf/all/forwarding",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
)
CHAINS = "KUBE-"


def up(state: Path) -> None:
    """Makes the bridge and the route where they are missing. Raises HarnessError when somebody has the addresses."""
    _remember_sysctls(state / "sysctl.json")
    if not _exists():
        _refuse_taken_addresses()
        _run(f"ip link add {BRIDGE} type bridge")
    # The alias says whose bridge it is to the person who finds it after a crash.
    _run(f"ip link set {BRIDGE} up alias", str(state))
    _run(f"ip address replace {NODE_CIDR} dev {BRIDGE}")
    # A packet to a ClusterIP that kube-proxy has not programmed yet must never leave the machine.
    _run(f"ip route replace {SERVICE_CIDR} dev {BRIDGE}")


def is_changed(state: Path) -> bool:
    """Whether `up` has begun, and no `down` has ended since."""
    return (state / "sysctl.json").exists()


def down(state: Path) -> None:
    """Takes away the bridge, its route, and every chain and rule of kubelet and kube-proxy."""
    for family in ("iptables", "ip6tables"):
        rules = subprocess.run([f"{family}-save"], capture_output=True, text=True, check=False).stdout
        if script := removal(rules):
            subprocess.run([f"{family}-restore", "--noflush"], input=script, text=True, check=True)
    if _exists():
        _run(f"ip link delete {BRIDGE}")
    _restore_sysctls(state / "sysctl.json")


def removal(saved: str) -> str:
    """From `iptables-save` output, the `iptables-restore --noflush` input that removes our chains and jumps to them."""
    tables: dict[str, list[str]] = {}
    for line in saved.splitlines():
        if line.startswith("*"):
            tables[line] = table = []
        elif line.startswith((":", "-A ")):
            table.append(line)
    scripts = [_removal_from_table(name, lines) for name, lines in tables.items()]
    return "".join(scripts)


def _removal_from_table(name: str, lines: list[str]) -> str:
    chains = [line[1:].split()[0] for line in lines if line.startswith(":")]
    ours = [chain for chain in chains if chain.startswith(CHAINS)]
    if not ours:
        return ""
    jumps = [f"-D{line[2:]}" for line in lines if line.startswith("-A ") and _is_foreign_jump(line)]
    return "\n".join(
        [name, *jumps, *(f"-F {chain}" for chain in ours), *(f"-X {chain}" for chain in ours), "COMMIT", ""]
    )


def _is_foreign_jump(rule: str) -> bool:
    """A rule of a chain that stays, into a chain that goes."""
    words = shlex.split(rule)
    target = words[words.index("-j") + 1] if "-j" in words else ""
    return target.startswith(CHAINS) and not words[1].startswith(CHAINS)


def _exists() -> bool:
    return Path(f"/sys/class/net/{BRIDGE}").exists()


def _refuse_taken_addresses() -> None:
    for cidr in (POD_CIDR, SERVICE_CIDR):
        routes = json.loads(_run(f"ip -json route show root {cidr}") or "[]")
        if routes:
            raise HarnessError(
                f"the addresses {cidr} are routed to {routes[0].get('dev')} already: another cluster or container "
                "network on this machine has them, and the local cluster needs them"
            )


def _remember_sysctls(file: Path) -> None:
    if not file.exists():
        file.write_text(json.dumps({name: _sysctl(name).read_text() for name in SYSCTLS if _sysctl(name).exists()}))


def _restore_sysctls(file: Path) -> None:
    for name, value in json.loads(file.read_text()).items():
        if _sysctl(name).read_text() != value:
            _sysctl(name).write_text(value)
    file.unlink()


def _sysctl(name: str) -> Path:
    return Path("/proc/sys") / name


def _run(command: str, *more: str) -> str:
    done = subprocess.run([*command.split(), *more], capture_output=True, text=True, check=False)
    if done.returncode:
        raise HarnessError(f"{command} failed: {done.stderr.strip()}")
    return done.stdout
