"""A device plugin that offers GPUs that are not there, so that the real kubelet and scheduler count and place them.

Speaks the kubelet's device plugin API, v1beta1. A file `gpu-1.sick` in its state folder makes device gpu-1 unhealthy.
"""

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc

from tests.harness.leftovers import DEVICE_PLUGINS
from tests.harness.processes import Processes
from tests.harness.tools import REPOSITORY

RESOURCE = "nvidia.com/gpu"
COUNT = 2
POLL_SECONDS = 0.2
KUBELET = DEVICE_PLUGINS / "kubelet.sock"
OURS = DEVICE_PLUGINS / "penstock-gpu.sock"


def start(state: Path) -> None:
    """Starts the plugin beside a kubelet; it registers as soon as the kubelet listens."""
    devices(state).mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.harness.device_plugin", str(devices(state))]
    Processes(state).start("device-plugin", command, cwd=REPOSITORY)


def devices(state: Path) -> Path:
    """The folder in which devices are made sick."""
    return state / "devices"


def make_sick(state: Path, device: str) -> None:
    """Makes a device ("gpu-0" or "gpu-1") unhealthy; the node offers one less within seconds."""
    (devices(state) / f"{device}.sick").touch()


def heal(state: Path, device: str) -> None:
    """Undoes make_sick."""
    (devices(state) / f"{device}.sick").unlink(missing_ok=True)


def health(folder: Path) -> dict[str, str]:
    """Device -> what the kubelet is told of it."""
    names = [f"gpu-{number}" for number in range(COUNT)]
    return {name: "Unhealthy" if (folder / f"{name}.sick").exists() else "Healthy" for name in names}


class Plugin:
    """Answers the kubelet for one of the kubelet's lives."""

    def __init__(self, messages: Any, folder: Path) -> None:
        self.messages = messages
        self.folder = folder
        self.done = threading.Event()

    def GetDevicePluginOptions(self, _request: Any, _context: Any) -> Any:
        return self.messages.DevicePluginOptions()

    def ListAndWatch(self, _request: Any, context: Any) -> Iterator[Any]:
        told: dict[str, str] = {}
        while context.is_active() and not self.done.is_set():
            now = health(self.folder)
            if now != told:
                print(f"devices: {now}", flush=True)
                told = now
                yield self.messages.ListAndWatchResponse(
                    devices=[self.messages.Device(ID=name, health=word) for name, word in now.items()]
                )
            self.done.wait(POLL_SECONDS)

    def Allocate(self, request: Any, _context: Any) -> Any:
        answers = [
            self.messages.ContainerAllocateResponse(envs={"NVIDIA_VISIBLE_DEVICES": ",".join(each.devices_ids)})
            for each in request.container_requests
        ]
        return self.messages.AllocateResponse(container_responses=answers)


def serve(folder: Path, stop: threading.Event) -> None:
    """Registers with every kubelet that comes to live here, until `stop`: a new one empties the socket folder."""
    messages, services = grpc.protos_and_services("tests/harness/data/deviceplugin.proto")
    while not stop.is_set():
        OURS.unlink(missing_ok=True)
        life = _inode(KUBELET)
        if not life:
            stop.wait(POLL_SECONDS)
            continue
        plugin = Plugin(messages, folder)
        server = grpc.server(futures.ThreadPoolExecutor(4))
        services.add_DevicePluginServicer_to_server(plugin, server)
        server.add_insecure_port(f"unix://{OURS}")
        server.start()
        if _register(messages, services):
            print(f"registered {COUNT} {RESOURCE}", flush=True)
            _wait_for_change(life, stop)
        plugin.done.set()
        server.stop(1).wait()
    OURS.unlink(missing_ok=True)


def _register(messages: Any, services: Any) -> bool:
    request = messages.RegisterRequest(version="v1beta1", endpoint=OURS.name, resource_name=RESOURCE)
    try:
        with grpc.insecure_channel(f"unix://{KUBELET}") as channel:
            services.RegistrationStub(channel).Register(request, timeout=5)
    except grpc.RpcError as error:
        print(f"the kubelet does not take the registration yet: {error}", flush=True)
        return False
    return True


def _wait_for_change(life: int, stop: threading.Event) -> None:
    while _inode(KUBELET) == life and OURS.exists():
        if stop.wait(POLL_SECONDS):
            return


def _inode(path: Path) -> int:
    """0 when there is no such file."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where devices are made sick")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    serve(parser.parse_args().folder, stop)


if __name__ == "__main__":
    main()
