"""docs/reference/metrics-adapter.md, from the adapter's settings and metrics."""

from penstock import names, pod_metrics
from penstock.adapter import answers
from penstock.adapter.settings import Settings
from penstock.pod_metrics import METRICS, PodMetrics

from tests.generated import settings
from tests.generated.tables import code, table

PAGE = """\
<!-- Generated from penstock.adapter and penstock.pod_metrics; run `make generate` after a change. -->
# The metrics adapter

`penstock metrics-adapter` serves what pods have counted as custom metrics of the Kubernetes API: autoscaling on `rps`,
`concurrency` and `queueDepth` rests on it. The [chart](chart.md) runs two replicas; each can answer all questions.

## What it serves

`custom.metrics.k8s.io`, in the versions {versions}:

    kubectl get --raw '/apis/custom.metrics.k8s.io/v1beta2/namespaces/NS/pods/*/METRIC?labelSelector={label}%3DNAME'
    kubectl get --raw '/apis/custom.metrics.k8s.io/v1beta2/namespaces/NS/{services}/NAME/METRIC'

The first answers for each ready pod of a service that scales on one of these metrics, the second with the sum over its
pods. An unready pod, and one that did not answer for seven seconds, is left out; an empty list makes the autoscaler
leave the number of pods as it is.

{metrics}
A rate is the increase of the counter over the last 15 seconds, divided by the time between the first and the last
scrape in them; a series that fell was reset, and has counted all of its value since. A value is the mean of the
scrapes in these 15 seconds.

Pods are scraped every two seconds (every four where there are 5,000 of them), on connections that stay open, and only
while somebody asks: the first question
begins it and waits up to three seconds, 180 seconds without one end it. NetworkPolicies on the models must let the
adapter's pods in.

## Who may ask

The API server alone, by the client certificate of its aggregation layer. For the user whom it names, a
SubjectAccessReview is asked for `get` on `pods/METRIC`, or on `METRIC` of a service, in `{group}`.
The autoscaler of Kubernetes has this right. Without the certificate the answer is 401, without the right 403.

The adapter issues its certificates itself, keeps them in a Secret, and renews them four months before their end; a new
authority is trusted for an hour before it signs. It registers the two versions as APIServices unless somebody else has
registered one: then it takes its own away, says so in its log, and `penstock_adapter_registered` is 0. The APIServices
belong to its ClusterRole, so that uninstalling removes them.

## Other servers' metrics

`spec.predictor.metrics` names what a custom container's server counts; without it, the names are those of Penstock's
own server. A preset tells a rollout's [analysis](rollouts.md#analysis), too, how requests end and how long they take.

{presets}
The names are those of the spec as it is now, for all pods of the service. While a rollout changes the server, name one
that both have, or expect the number of pods to stand still until it is over.

Several series of one name, such as one for each model or engine, are summed; so are the names of one field here. Triton
serves its metrics on port 8002. SGLang needs `--enable-metrics`; with its priority scheduling it counts each waiting
request twice. TGI, TEI and SGLang have a series only once it was used: until then it counts as 0. The preset of vLLM
was run on vLLM 0.32.0 for CPUs. The sources, each at the version that was read:

{sources}
## Settings

A flag wins over its variable.

{settings}
## HTTP

Port `--port` serves the API, over TLS. Port `--metrics-port` serves `/healthz`, `/readyz` and
[`/metrics`](metrics.md#metrics-adapter).
"""

_GITHUB = "https://github.com"
_SOURCES = {
    "vLLM": "vllm-project/vllm/blob/54ce10e5ac83b86ff116ad533fcdabf2caeac01a/vllm/v1/metrics/loggers.py",
    "SGLang": (
        "sgl-project/sglang/blob/44cedc2b9c7dd31d9acae4498ea4fa0d3665feed/"
        "python/sglang/srt/observability/metrics_collector.py"
    ),
    "TGI": ("huggingface/text-generation-inference/blob/dfb3fbe78e0d1d69251bd33065591c61bafdfaa8/router/src/server.rs"),
    "Triton": "triton-inference-server/core/blob/73aad7c3348d040c7087d57837d75822c488495e/src/metrics.cc",
    "TEI": (
        "huggingface/text-embeddings-inference/blob/06670157fb6c1523482219bdb2d1660277d38088/router/src/http/server.rs"
    ),
}
_MEANINGS = {
    names.METRIC_RPS: ("rps", "Finished requests per second."),
    names.METRIC_CONCURRENCY: ("concurrency", "Requests under way, waiting ones included."),
    names.METRIC_QUEUE_DEPTH: ("queueDepth", "Requests that wait."),
}


def render() -> str:
    """The page, byte for byte."""
    return PAGE.format(
        group=answers.GROUP,
        versions=" and ".join(code(version) for version in answers.VERSIONS),
        label=names.LABEL_SERVICE,
        services=answers.SERVICES,
        metrics=table(
            ("metric", "`scaleMetric`", "kind", "meaning"),
            (
                (code(metric), code(_MEANINGS[metric][0]), kind, _MEANINGS[metric][1])
                for metric, kind in METRICS.items()
            ),
        ),
        presets=table(
            ("`preset`", "`requests`", "`inFlight`", "`queueDepth`"),
            [_names("", PodMetrics()), *(_names(preset, found) for preset, found in pod_metrics.PRESETS.items())],
        ),
        sources="".join(f"* [{preset}]({_GITHUB}/{path})\n" for preset, path in _SOURCES.items()),
        settings=settings.table_of(Settings),
    )


def _names(preset: str, found: PodMetrics) -> tuple[str, ...]:
    series = (found.requests, found.in_flight, found.queue_depth)
    return (code(preset) if preset else "none", *(" + ".join(map(code, each)) or "none" for each in series))
