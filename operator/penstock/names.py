"""Every string that Penstock writes on a cluster: groups, labels, annotations, object names, reasons.

One vocabulary: a reason is spelt the same in a decision, a condition, an Event and a metric label.
"""

from enum import StrEnum
from typing import Final

from penstock.api import group

GROUP: Final = group.GROUP
API_VERSION: Final = group.API_VERSION
KIND: Final = group.KIND
PLURAL: Final = group.PLURAL


PRODUCT: Final = "penstock"
FIELD_MANAGER: Final = "penstock"
ROUTER_FIELD_MANAGER: Final = "penstock-router"
# Seeding `spec.replicas` has a manager of its own, so that the autoscaler's later write is told apart from ours.
SEED_FIELD_MANAGER: Final = "penstock-seed"

LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_PART_OF: Final = "app.kubernetes.io/part-of"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_SERVICE: Final = f"{GROUP}/inferenceservice"
LABEL_SLOT: Final = f"{GROUP}/slot"
LABEL_REVISION: Final = f"{GROUP}/revision"
MANAGED_SELECTOR: Final = f"{LABEL_MANAGED_BY}={PRODUCT}"

ANNOTATION_PAUSED: Final = "penstock.dev/paused"
ANNOTATION_RESTARTED_AT: Final = "penstock.dev/restarted-at"
# `<verb>:<id>`; each id is handled once.
ANNOTATION_ACTION: Final = "penstock.dev/action"
# For which service an object was last applied, and the hash of what: a field that we no longer set would otherwise go
# unnoticed.
ANNOTATION_APPLIED: Final = "penstock.dev/applied"
# On the active Service: what a wiped status is rebuilt from.
ANNOTATION_STABLE: Final = "penstock.dev/stable-revision"
ANNOTATION_ACTIVE_SLOT: Final = "penstock.dev/active-slot"
ANNOTATION_SHARED: Final = "penstock.dev/shared"
ANNOTATION_FAILED: Final = "penstock.dev/failed-revision"
ANNOTATION_FAILED_BECAUSE: Final = "penstock.dev/failed-because"
ANNOTATION_LAST_ACTION: Final = "penstock.dev/last-action"
# On a pod template: which container serves.
ANNOTATION_DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
# On the active Service of one that may sleep: its port of the router, and whether requests are led there.
ANNOTATION_ROUTER_PORT: Final = "penstock.dev/router-port"
ANNOTATION_REDIRECTED: Final = "penstock.dev/redirected"
# On the operator's Lease, for other releases: the namespaces that it serves ("*" is all), and who writes in them.
ANNOTATION_SERVES: Final = "penstock.dev/serves"
ANNOTATION_SERVICE_ACCOUNT: Final = "penstock.dev/service-account"

CONTAINER: Final = "model"
PORT: Final = "http"
SERVICE_PORT: Final = 80
CONTAINER_PORT: Final = 8080
MODEL_DIR: Final = "/mnt/models"
CACHE_DIR: Final = "/var/cache/penstock"
GPU: Final = "nvidia.com/gpu"

# The router's own path: it says that a router, and which, answered. The header is on all that a router answers itself.
ROUTER_PATH: Final = "/.well-known/penstock-router"
ROUTER_HEADER: Final = "X-Penstock-Router"
COLD_START_HEADER: Final = "X-Penstock-Cold-Start"

# What the pods themselves export, by the name that the metrics API serves it under.
METRIC_RPS: Final = "inference_requests_per_second"
METRIC_CONCURRENCY: Final = "inference_requests_in_flight"
METRIC_QUEUE_DEPTH: Final = "inference_queue_depth"


class Slot(StrEnum):
    """One of the two places a revision can run in; each is a Deployment."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> "Slot":
        return Slot.GREEN if self is Slot.BLUE else Slot.BLUE


class Condition(StrEnum):
    READY = "Ready"
    PREDICTOR_READY = "PredictorReady"
    PROGRESSING = "Progressing"
    AUTOSCALING_ACTIVE = "AutoscalingActive"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Reason(StrEnum):
    """Why something is as it is: shared by conditions, Events, `blockedBy` and metric labels."""

    # What the service as a whole is doing.
    READY = "Ready"
    WAITING_FOR_PODS = "WaitingForPods"
    ROLLOUT_STARTED = "RolloutStarted"
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"
    ROLLOUT_COMPLETED = "RolloutCompleted"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    STABLE = "Stable"
    ROLLOUT_PAUSED = "RolloutPaused"
    ROLLED_BACK = "RolledBack"
    ROLLED_BACK_BY_USER = "RolledBackByUser"
    ABORTED_BY_USER = "AbortedByUser"
    SMOKE_TEST_FAILED = "SmokeTestFailed"
    ANALYSIS_FAILED = "AnalysisFailed"
    AB_TEST_LOST = "ABTestLost"
    STOPPED_SERVING = "StoppedServing"
    SUSPENDED = "Suspended"
    PAUSED_BY_USER = "PausedByUser"
    RECONCILED = "Reconciled"

    # Autoscaling.
    SCALED_TO_ZERO_BY_USER = "ScaledToZeroByUser"
    ASLEEP = "Asleep"
    WAKING = "Waking"
    NO_ROUTER = "NoRouter"
    FIXED_SIZE = "FixedSize"
    WAITING_FOR_AUTOSCALER = "WaitingForAutoscaler"
    METRIC_MISSING = "MetricMissing"
    AUTOSCALER_CHANGING = "AutoscalerChanging"
    SCALED_BY_OTHERS = "ScaledByOthers"

    # What the user has to mend in the object itself.
    INVALID_SPEC = "InvalidSpec"
    NAME_CONFLICT = "NameConflict"

    # What is wrong in the operator itself.
    INTERNAL_ERROR = "InternalError"

    # What the operator itself stands still for.
    SCOPE_CONFLICT = "ScopeConflict"

    # What the installation does not allow.
    ROUTE_NOT_ALLOWED = "RouteNotAllowed"

    # What somebody has to install.
    GATEWAY_API_MISSING = "GatewayAPIMissing"
    KEDA_MISSING = "KEDAMissing"
    VPA_MISSING = "VPAMissing"

    # What stops a pod, found in the kubelet's and the scheduler's own words.
    INSUFFICIENT_GPU = "InsufficientGPU"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONTAINER_CONFIG_ERROR = "ContainerConfigError"
    POD_CREATION_FAILED = "PodCreationFailed"
    MODEL_DOWNLOAD_FAILED = "ModelDownloadFailed"
    MODEL_DOWNLOAD_STALLED = "ModelDownloadStalled"
    MODEL_LOAD_FAILED = "ModelLoadFailed"
    OOM_KILLED = "OOMKilled"
    CRASH_LOOPING = "CrashLooping"
    PROBE_FAILING = "ProbeFailing"
    QUOTA_EXCEEDED = "QuotaExceeded"

    # What keeps clients from the pods.
    ROUTE_NOT_ACCEPTED = "RouteNotAccepted"


class RouterReason(StrEnum):
    """Why the router answers a request itself, besides what is in the way of the service's pods."""

    TOO_MANY_HELD_REQUESTS = "TooManyHeldRequests"
    WAKE_TIMEOUT = "WakeTimeout"
    NO_SERVICE = "NoService"
    POD_FAILED = "PodFailed"
    POD_TIMEOUT = "PodTimeout"
    NOT_PROXIED = "NotProxied"


# A kind is not there; installing it needs no word from us.
NOT_INSTALLED: Final = frozenset({Reason.GATEWAY_API_MISSING, Reason.KEDA_MISSING, Reason.VPA_MISSING})


def deployment(service: str, slot: Slot) -> str:
    return f"{service}-{slot}"


def slot_service(service: str, slot: Slot) -> str:
    return f"{service}-{slot}"


def preview(service: str) -> str:
    return f"{service}-preview"


def controller_revision(service: str, revision: str) -> str:
    return f"{service}-{revision}"


def keda_autoscaler(service: str) -> str:
    """The HorizontalPodAutoscaler that KEDA makes for our ScaledObject. Its own default, but we write it down."""
    return f"keda-hpa-{service}"


def router_slice(service: str) -> str:
    return f"{service}-router"


def url(service: str, namespace: str) -> str:
    return f"http://{service}.{namespace}.svc"


def is_extended(resource: str) -> bool:
    """True for a device plugin's resource: its domain is outside kubernetes.io. It cannot be overcommitted."""
    return "/" in resource and not resource.split("/", 1)[0].endswith("kubernetes.io")


def is_gpu(resource: str) -> bool:
    """True for an extended resource that stands for an accelerator (whole, MIG slice, any vendor)."""
    return resource.startswith("nvidia.com/") or resource.endswith("/gpu")
