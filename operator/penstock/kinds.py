"""The Kubernetes kinds that Penstock reads and writes, and where the API server serves them."""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from penstock.api import group

Manifest: TypeAlias = dict[str, Any]  # A Kubernetes object as JSON.


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource of the API: its kind, its group and version, its plural in URLs."""

    name: str
    api_version: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection, of one object or of its subresource."""
        root = "/api/" if "/" not in self.api_version else "/apis/"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        parts = [part for part in (name, subresource) if part]
        return "/".join([f"{root}{self.api_version}{scope}/{self.plural}", *parts])

    def __str__(self) -> str:
        return self.name


INFERENCE_SERVICE: Final = Kind(group.KIND, group.API_VERSION, group.PLURAL)
DEPLOYMENT: Final = Kind("Deployment", "apps/v1", "deployments")
CONTROLLER_REVISION: Final = Kind("ControllerRevision", "apps/v1", "controllerrevisions")
SERVICE: Final = Kind("Service", "v1", "services")
AUTOSCALER: Final = Kind("HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers")
SCALED_OBJECT: Final = Kind("ScaledObject", "keda.sh/v1alpha1", "scaledobjects")
VERTICAL_AUTOSCALER: Final = Kind("VerticalPodAutoscaler", "autoscaling.k8s.io/v1", "verticalpodautoscalers")
DISRUPTION_BUDGET: Final = Kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets")
POD: Final = Kind("Pod", "v1", "pods")
NODE: Final = Kind("Node", "v1", "nodes", namespaced=False)
RESOURCE_QUOTA: Final = Kind("ResourceQuota", "v1", "resourcequotas")
ENDPOINT_SLICE: Final = Kind("EndpointSlice", "discovery.k8s.io/v1", "endpointslices")
HTTP_ROUTE: Final = Kind("HTTPRoute", "gateway.networking.k8s.io/v1", "httproutes")
EVENT: Final = Kind("Event", "events.k8s.io/v1", "events")
SECRET: Final = Kind("Secret", "v1", "secrets")
CONFIG_MAP: Final = Kind("ConfigMap", "v1", "configmaps")
API_SERVICE: Final = Kind("APIService", "apiregistration.k8s.io/v1", "apiservices", namespaced=False)
CLUSTER_ROLE: Final = Kind("ClusterRole", "rbac.authorization.k8s.io/v1", "clusterroles", namespaced=False)
LEASE: Final = Kind("Lease", "coordination.k8s.io/v1", "leases")
ACCESS_REVIEW: Final = Kind("SubjectAccessReview", "authorization.k8s.io/v1", "subjectaccessreviews", namespaced=False)

# A kind of its own in the store: those of the router are no service's.
ROUTER_SLICE: Final = Kind("EndpointSlice of the router", ENDPOINT_SLICE.api_version, ENDPOINT_SLICE.plural)

# What a service owns, in the order in which it is written.
CHILDREN: Final = (
    CONTROLLER_REVISION,
    DEPLOYMENT,
    SERVICE,
    AUTOSCALER,
    SCALED_OBJECT,
    VERTICAL_AUTOSCALER,
    DISRUPTION_BUDGET,
    HTTP_ROUTE,
    ENDPOINT_SLICE,
)
# Those that a cluster may well not know: others define them.
OPTIONAL: Final = frozenset({SCALED_OBJECT, VERTICAL_AUTOSCALER, HTTP_ROUTE})
# Those that only few services need, or only some plans: nothing else waits until they can be read.
NOT_WAITED_FOR: Final = OPTIONAL | {RESOURCE_QUOTA}
BY_NAME: Final = {kind.name: kind for kind in (INFERENCE_SERVICE, *CHILDREN, POD, NODE, RESOURCE_QUOTA, EVENT, LEASE)}


def kind_of(manifest: Manifest) -> Kind:
    """The kind of a manifest that we built ourselves; a KeyError means a builder without a kind."""
    return BY_NAME[manifest["kind"]]
