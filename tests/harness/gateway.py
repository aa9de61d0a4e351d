"""A real Gateway on the node cluster: Envoy Gateway from its own chart, and one Gateway that takes everybody's routes.

It is started only when somebody asks for it, stays with the cluster, and goes with it.
"""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.harness import gateway_api, go_modules, images, tools
from tests.harness.data import FOLDER, filled
from tests.harness.gateway_api import TOOL
from tests.harness.handle import Cluster, KubectlError
from tests.harness.progress import HarnessError, progress

MODULE = "github.com/envoyproxy/gateway"
CHART = "charts/gateway-helm"
SYSTEM_NAMESPACE = "envoy-gateway-system"
NAME = "penstock"
NAMESPACE = "gateway"
READY_SECONDS = 120


@dataclass(frozen=True)
class Gateway:
    """What a route names as its parent, and where this machine and pods find it, by HTTP on port 80."""

    address: str
    name: str = NAME
    namespace: str = NAMESPACE

    @property
    def url(self) -> str:
        return f"http://{self.address}"


def ensure(cluster: Cluster) -> Gateway:
    """The Gateway, started where it is missing: in a minute, and in some more when its program was never built.

    Raises HarnessError when it does not come up.
    """
    if not _is_programmed(cluster):
        _start(cluster)
    query = "--output=jsonpath={.status.addresses[0].value}"
    return Gateway(cluster.kubectl(f"--namespace={NAMESPACE}", "get", "gateway", NAME, query))


def _is_programmed(cluster: Cluster) -> bool:
    query = '--output=jsonpath={.status.conditions[?(@.type=="Programmed")].status}'
    try:
        return cluster.kubectl(f"--namespace={NAMESPACE}", "get", "gateway", NAME, query) == "True"
    except KubectlError:
        # Neither the Gateway nor its kind has to be there.
        return False


def _start(cluster: Cluster) -> None:
    program = tools.ensure(TOOL.name)["envoy-gateway"]
    image = images.load(images.build(FOLDER / "Dockerfile.gateway", "penstock/gateway", context=program.parent))
    chart = go_modules.folder(TOOL, MODULE, CHART)
    started = time.monotonic()
    gateway_api.install_crds(cluster)
    gateway_api.apply_crds(cluster, sorted((chart / "charts/crds/crds/generated").glob("*.yaml")))
    _install(cluster, chart, image)
    manifests = filled("gateway.yaml", gateway=NAME, namespace=NAMESPACE, image=image)
    cluster.kubectl("apply", "--server-side", "--filename=-", input=manifests)
    _wait_until_programmed(cluster)
    progress(f"gateway ready in {time.monotonic() - started:.1f} s")


def _install(cluster: Cluster, chart: Path, image: str) -> None:
    command: list[str | Path] = [
        *(tools.ensure("helm")["helm"], "upgrade", "--install", "envoy-gateway", chart),
        # The module has the values only as a template, without the image of the release.
        f"--values={chart / 'values.tmpl.yaml'}",
        *(f"--set=global.images.envoyGateway.{key}" for key in (f"image={image}", "pullPolicy=IfNotPresent")),
        # Ours are there already, of the standard channel; the chart's are experimental.
        *("--skip-crds", "--set=crds.enabled=false", "--set=topologyInjector.enabled=false"),
        *(f"--kubeconfig={cluster.kubeconfig}", f"--namespace={SYSTEM_NAMESPACE}", "--create-namespace"),
        *("--wait", f"--timeout={READY_SECONDS}s"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HarnessError(f"helm could not install Envoy Gateway: {done.stderr.strip()}\n{_pods(cluster)}")


def _wait_until_programmed(cluster: Cluster) -> None:
    wait = ("wait", f"gateway/{NAME}", "--for=condition=Programmed", f"--timeout={READY_SECONDS}s")
    try:
        cluster.kubectl(f"--namespace={NAMESPACE}", *wait)
    except KubectlError as error:
        raise HarnessError(f"the Gateway does not come up: {error}\n{_pods(cluster)}") from error


def _pods(cluster: Cluster) -> str:
    return cluster.kubectl("get", "pods", f"--namespace={SYSTEM_NAMESPACE}", "--output=wide")
