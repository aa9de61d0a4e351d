"""What to do about each reason that keeps a service from serving or a rollout from going on: one sentence or two.

A word in braces is a command, which explain.py writes out. Every Reason is in WAYS_OUT or in NEED_NOTHING.
"""

from collections.abc import Mapping
from typing import Final

from penstock.names import Reason

# What to do about a reason, by the reason; the kubelet's, scheduler's or server's own words stand before it.
WAYS_OUT: Final[Mapping[Reason, str]] = {
    Reason.WAITING_FOR_PODS: "Wait: pods are being created, or load the model. If that lasts, see {logs}.",
    Reason.PROGRESS_DEADLINE_EXCEEDED: (
        "Nothing moved for spec.rollout.progressDeadlineSeconds. Correct the spec and that is tried, or try "
        "the same one again with {retry}."
    ),
    Reason.ROLLED_BACK: "Correct the spec and the new revision is tried, or try the same one again with {retry}.",
    Reason.ROLLED_BACK_BY_USER: "A user asked for it. A changed spec is tried; {retry} tries the one given up.",
    Reason.ABORTED_BY_USER: "A user asked for it. A changed spec is tried; {retry} tries the one given up.",
    Reason.SMOKE_TEST_FAILED: (
        "New pods did not answer as spec.rollout.smokeTest expects. Correct the model or the test, or try the same "
        "revision again with {retry}."
    ),
    Reason.ANALYSIS_FAILED: (
        "Under real traffic the new revision broke a bound of spec.rollout.analysis. Correct the model or the bound, "
        "or try the same revision again with {retry}."
    ),
    Reason.AB_TEST_LOST: (
        "The old revision did better in the test of spec.rollout.abTest. Change the spec, or test the same revision "
        "again with {retry}."
    ),
    Reason.STOPPED_SERVING: (
        "Once it had traffic, or a canary's share of it, no pod of the new revision answered any more, so the old one "
        "took it back. See {logs}; correct the spec, or try the same revision again with {retry}."
    ),
    Reason.ROLLOUT_PAUSED: "Go on with {resume}.",
    Reason.SUSPENDED: "Set spec.suspend to false.",
    Reason.PAUSED_BY_USER: "Until {unpause} the operator changes nothing.",
    Reason.SCALED_TO_ZERO_BY_USER: "Scale it up: {scale_up}.",
    Reason.WAITING_FOR_AUTOSCALER: "Wait: Kubernetes looks at a new autoscaler within half a minute.",
    Reason.METRIC_MISSING: (
        "See what serves spec.predictor.scaleMetric: the metrics adapter for rps, concurrency and queueDepth (`kubectl "
        "get apiservice v1beta2.custom.metrics.k8s.io`), metrics-server for cpu and memory. Until then the number of "
        "pods stays as it is."
    ),
    Reason.NO_ROUTER: ("See why no pod of the router is ready: it is a Deployment beside the operator."),
    Reason.AUTOSCALER_CHANGING: (
        "Wait: the old autoscaler goes before the new one comes. If KEDA was uninstalled before its ScaledObject was "
        "deleted, remove the ScaledObject's finalizer."
    ),
    Reason.SCALED_BY_OTHERS: "Nothing, if something else writes /scale; else leave out spec.autoscaling.provider.",
    Reason.KEDA_MISSING: "Install KEDA, or set spec.autoscaling.provider to Auto. Pods run on meanwhile.",
    Reason.VPA_MISSING: (
        "Install the Vertical Pod Autoscaler, or leave out spec.autoscaling.vertical. Pods run on meanwhile."
    ),
    Reason.INVALID_SPEC: "Correct the field that the message names; nothing that runs is touched until then.",
    Reason.NAME_CONFLICT: (
        "An object of that name belongs to somebody else and is never adopted: delete it, or give the service another "
        "name."
    ),
    Reason.INTERNAL_ERROR: (
        "This is a fault of the operator, not of the service: report it with the trace in the operator's log. What "
        "runs goes on."
    ),
    Reason.GATEWAY_API_MISSING: (
        "Install the Gateway API's definitions and a gateway that goes by them, or leave out spec.networking.gateway."
    ),
    Reason.ROUTE_NOT_ALLOWED: (
        "Correct the field that the message names, or have the bounds of this installation extended (the chart's value "
        "networking). The model is served meanwhile, without its route."
    ),
    Reason.SCOPE_CONFLICT: (
        "Two releases of Penstock serve the same namespaces and one of them waits: uninstall one, or set their "
        "watchNamespaces so that they share none."
    ),
    Reason.INSUFFICIENT_GPU: "Free GPUs, add a node that has them, or ask for fewer of them or for fewer pods.",
    Reason.UNSCHEDULABLE: (
        "Compare what the pod asks for with what nodes offer: node selector, affinity, tolerations, CPU and memory "
        "requests, a claim that is not bound."
    ),
    Reason.IMAGE_PULL_FAILED: "Correct the image's name, or name the registry's credentials in imagePullSecrets.",
    Reason.CONTAINER_CONFIG_ERROR: "Create the Secret or ConfigMap that the message names, or correct its name.",
    Reason.POD_CREATION_FAILED: "An admission policy refuses the pod: satisfy it, or have it changed.",
    Reason.MODEL_DOWNLOAD_FAILED: "Correct storageUri, or the credentials in the Secret of storage.secretName.",
    Reason.MODEL_DOWNLOAD_STALLED: (
        "The storage stopped sending. The pod tries again by itself; if that does not help, see whether it reaches "
        "the storage at all."
    ),
    Reason.MODEL_LOAD_FAILED: "Correct the model: its files, architecture, task or dtype, as the message says.",
    Reason.OOM_KILLED: (
        "Raise resources.limits.memory, or serve a smaller model or dtype. The limit of a container that the message "
        "names is set where that comes from."
    ),
    Reason.CRASH_LOOPING: (
        "The container ends by itself. Its last words: {logs}, with `-c NAME` where the message names another "
        "container than the model's."
    ),
    Reason.PROBE_FAILING: "It runs and does not become ready: see {logs}, or correct its readinessProbe.",
    Reason.ROUTE_NOT_ACCEPTED: (
        "Correct spec.networking.gateway: the Gateway's name and namespace, its listener, and whether that allows "
        "routes from this namespace for these hosts."
    ),
    Reason.QUOTA_EXCEEDED: "Have the namespace's ResourceQuota raised, or ask for less.",
}
NEED_NOTHING: Final = frozenset(
    {
        Reason.READY,
        Reason.RECONCILED,
        Reason.STABLE,
        Reason.FIXED_SIZE,
        Reason.ASLEEP,
        Reason.WAKING,
        Reason.ROLLOUT_STARTED,
        Reason.ROLLOUT_IN_PROGRESS,
        Reason.ROLLOUT_COMPLETED,
    }
)
